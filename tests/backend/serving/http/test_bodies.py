from typing import Any

import pytest
from flask import Flask

from backend.errors import RequestError
from backend.serving.events import EVENT_BYTES
from backend.serving.http import bodies
from backend.settings import ServerSettings

AS_JSON = {"content_type": "application/json"}


def read(data: bytes, **options: Any) -> dict[str, Any]:
    with Flask("reader").test_request_context("/", method="POST", data=data, **AS_JSON | options):
        return bodies.json_object()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON that can be read: Expecting value"),
        (b"{", "not JSON that can be read: Expecting property name"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON that can be read: Exceeds the limit"),
        (b"\xff\xfe\x00", "not JSON that can be read"),
        (b'"text"', "The body is str, expected a JSON object."),
        (b"[" * 200_000 + b"]" * 200_000, "nested too deep to be read"),
        (b"[" + b"[]," * 1_000_000 + b"[]]", "holds 1000002 lists and objects, more than 1000000"),
    ],
)
def test_what_is_no_object_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_is_read_in_the_encodings_that_it_may_have(encoding: str) -> None:
    assert read('{"a": "œ"}'.encode(encoding)) == {"a": "œ"}


def test_a_text_must_be_one() -> None:
    assert bodies.text({"a": "œ😀"}, "a") == "œ😀"
    with pytest.raises(RequestError, match=r"The body has None for 'b', expected a text\."):
        bodies.text({}, "b")
    with pytest.raises(RequestError, match=r"'a' holds half of a surrogate pair, which is no character: 'x\\ud800'"):
        bodies.text({"a": "x\ud800"}, "a")


def test_a_project_has_a_short_name() -> None:
    longest = "1." + "é" * (bodies.PROJECT_CHARACTERS - 2)
    assert bodies.project({"project": longest}) == longest
    with pytest.raises(
        RequestError, match=r"'project' has 201 characters, more than 200: '1\.é+\.\.\.é+'\. Send the name"
    ):
        bodies.project({"project": longest + "é"})
    with pytest.raises(RequestError, match=r"The body has 7 for 'project', expected a text\."):
        bodies.project({"project": 7})


def test_a_deep_value_is_shown_without_its_depth() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RequestError, match=r"The body has \[\[\[\.\.\.\]\]\] for 'a'"):
        bodies.text({"a": deep}, "a")
    assert len(bodies.shown({"a" * 1000: ["b" * 1000] * 1000})) < 250


def test_the_rule_of_what_is_kept() -> None:
    guarded = bodies.kept_bytes(ServerSettings(basic_user="ann", basic_password="secret"))
    open_to_all = bodies.kept_bytes(ServerSettings())
    assert (guarded("/webhook", {}), open_to_all("/webhook", {})) == (EVENT_BYTES, EVENT_BYTES)
    assert (guarded("/predict", {}), open_to_all("/predict", {})) == (0, None)
    assert (guarded("/setup", {"AUTHORIZATION": "Basic YW5uOnNlY3JldA=="}), open_to_all("/setup", {})) == (None, None)
    assert (guarded("/status", {}), open_to_all("/status", {})) == (0, 0)
    assert (guarded("/page/category", {}), open_to_all("/page/category", {})) == (0, None)
