import base64
import json
from collections.abc import Callable

import pytest

from backend.doctor.asking import Asker, Reply
from backend.errors import NoAnswerError
from backend.settings import ServerSettings
from tests.fakes.hostile_server import Victim, hostile_server
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.scripted_server import ScriptedServer


def test_refusals_are_answers_too(server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/x"] = (401, {"detail": "Token has expired"})
    reply = asker.ask("/api/x", {"a": 1})
    assert (reply.status, reply.is_success, reply.detail) == (401, False, "Token has expired")
    assert server.requests[0].line == "GET /api/x?a=1"
    assert server.requests[0].headers["Authorization"] == f"Token {LEGACY_TOKEN}"


def test_the_token_is_shown_only_where_it_is_meant(server: ScriptedServer, asker: Asker) -> None:
    asker.ask("/health", token=False)
    settings = ServerSettings(basic_user="ann", basic_password="secret")
    asker.ask_service(f"{server.url}/ready", settings)
    asker.ask_service(f"{server.url}/ready", ServerSettings())
    sent = [request.headers.get("Authorization") for request in server.requests]
    assert sent == [None, f"Basic {base64.b64encode(b'ann:secret').decode()}", None]


def test_a_body_is_posted(server: ScriptedServer, asker: Asker) -> None:
    server.answers["POST /api/ml"] = (400, {"timeout": ["A valid integer is required."]})
    assert asker.ask("/api/ml", body={"project": 3}).status == 400
    assert json.loads(server.requests[0].body) == {"project": 3}


@pytest.mark.parametrize("rubbish", [b"<html>", b"", b"[" * 100_000, b"\xff\xfe", b'"text"', b"[1, null]"])
def test_rubbish_holds_no_objects(rubbish: bytes, server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/x"] = (200, rubbish)
    reply = asker.ask("/api/x")
    assert reply.objects() == [] and reply.detail == ""


@pytest.mark.parametrize("body", [[{"id": 1}, 2], {"results": [{"id": 1}]}, {"tasks": [{"id": 1}, None]}])
def test_lists_and_pages_hold_objects(body: object) -> None:
    assert Reply(200, body).objects() == [{"id": 1}]


@pytest.mark.timeout(60)  # without the deadline it would wait for ever
def test_a_server_that_drips_or_is_silent_is_given_up(asker_of: Callable[..., Asker]) -> None:
    def drip(victim: Victim) -> None:
        victim.drip(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000)

    def silent(victim: Victim) -> None:
        victim.over.wait(50)

    for behave in (drip, silent):
        with hostile_server(behave) as hostile:
            slow = asker_of(f"http://{hostile.host_and_port}", within_s=0.3)
            with pytest.raises(NoAnswerError, match=r"/health did not answer \(no time was left\)"):
                slow.ask("/health", token=False)


def test_nobody_there_is_said_with_the_address(asker_of: Callable[..., Asker]) -> None:
    with pytest.raises(NoAnswerError, match=r"http://127.0.0.1:9/health did not answer \(ConnectionRefusedError\)"):
        asker_of("http://127.0.0.1:9").ask("/health", token=False)
