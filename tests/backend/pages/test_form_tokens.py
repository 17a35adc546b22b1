from http import HTTPStatus

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from backend.errors import RequestError
from backend.pages.form_tokens import COOKIE, FIELD, FormTokens

CHANGE = "/page/change"


def site(tokens: FormTokens) -> FlaskClient:
    """A site of one form, which answers with its token; a change answers 204, or 400 if it is refused."""
    app = Flask("form")
    app.after_request(tokens.keep_cookie)

    @app.get("/page/form")
    def form() -> str:
        return tokens.token() + " " + tokens.token()

    @app.get("/page/plain")
    def plain() -> str:
        return "no form"

    @app.post(CHANGE)
    def change() -> Response:
        tokens.require()
        return Response(status=HTTPStatus.NO_CONTENT)

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> tuple[str, int]:
        return str(error), HTTPStatus.BAD_REQUEST

    return app.test_client()


def token_of(client: FlaskClient) -> str:
    one, other = client.get("/page/form").text.split()
    assert one == other, "all forms of a page share a token"
    return one


def status(client: FlaskClient, token: str | None) -> int:
    return client.post(CHANGE, data={} if token is None else {FIELD: token}).status_code


def test_our_own_form_may_change_something_also_from_an_older_tab() -> None:
    client = site(FormTokens())
    older, newer = token_of(client), token_of(client)
    assert status(client, newer) == status(client, older) == HTTPStatus.NO_CONTENT


@pytest.mark.parametrize("token", [None, "", "x", "Ym9hdA.c2ln"])
def test_without_a_token_nothing_is_changed(token: str | None) -> None:
    client = site(FormTokens())
    token_of(client)
    assert status(client, token) == HTTPStatus.BAD_REQUEST


def test_a_token_of_somebody_else_is_of_no_use() -> None:
    """An attacker may open our page himself; the victim's browser sends another cookie, or none."""
    tokens = FormTokens()
    stolen = token_of(site(tokens))
    victim = site(tokens)
    assert status(victim, stolen) == HTTPStatus.BAD_REQUEST, "without a cookie"
    token_of(victim)
    assert status(victim, stolen) == HTTPStatus.BAD_REQUEST, "with another cookie"


def test_a_form_from_before_a_restart_is_refused_with_what_to_do() -> None:
    client = site(FormTokens())
    token_of(client)
    nonce = client.get_cookie(COOKIE, path="/page/")
    assert nonce is not None
    started_anew = site(FormTokens())
    started_anew.set_cookie(COOKIE, nonce.value, path="/page/")
    answer = started_anew.post(CHANGE, data={FIELD: token_of(client)})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert answer.text.endswith("Open the page again and repeat the change.")


def test_the_cookie_is_for_our_own_pages_alone_and_only_where_there_is_a_form() -> None:
    client = site(FormTokens())
    assert "Set-Cookie" not in client.get("/page/plain").headers
    attributes = set(client.get("/page/form").headers["Set-Cookie"].split("; ")[1:])
    assert attributes == {"HttpOnly", "Path=/page/", "SameSite=Strict"}
    assert "Set-Cookie" not in client.get("/page/form").headers, "once is enough"
    assert "Secure" in site(FormTokens()).get("/page/form", base_url="https://x").headers["Set-Cookie"]
