from flask import Response

from backend.pages.headers import HEADERS, with_headers


def test_a_page_loads_and_runs_nothing_from_elsewhere_and_is_not_kept() -> None:
    answer = with_headers(Response("x"))
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}, "no host, no unsafe-inline, no data:"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert HEADERS.items() <= dict(answer.headers).items()


def test_what_says_how_long_it_is_kept_may() -> None:
    assert with_headers(Response(headers={"Cache-Control": "no-cache"})).headers["Cache-Control"] == "no-cache"
