"""Who may ask; the routes themselves are asked in tests/backend/serving/http/test_app.py."""

import base64

import pytest

from backend.serving.http.authentication import may_ask
from backend.settings import ServerSettings

GUARDED = ServerSettings(basic_user="ann", basic_password="pässword")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_the_user_with_the_password_may_ask() -> None:
    assert may_ask(GUARDED, basic("ann:pässword"))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic ?",
        "Basic /w==",
        basic("ann"),
        basic("ann:"),
        basic(":pässword"),
        basic(":"),
        basic("ann:pässword").replace("Basic", "Bearer"),
        basic("ANN:pässword"),
        basic("ann:password"),
        "Basic \xff\xfe",
    ],
)
def test_nobody_else_may(header: str | None) -> None:
    assert not may_ask(GUARDED, header)


def test_without_a_password_everybody_may() -> None:
    assert may_ask(ServerSettings(), None)
    assert may_ask(ServerSettings(), basic("who:ever"))
