import json
from typing import Any

import pytest

from backend.doctor.asking import Asker
from backend.doctor.connection import NO_NUMBER, check_connection, check_webhook, find_ours, shown
from backend.doctor.findings import Finding
from backend.settings import ServerSettings
from tests.fakes.scripted_server import ScriptedServer

OURS = "http://127.0.0.1:9090"
BLOCKED = {"detail": "URL resolves to a reserved network address (block: 127.0.0.0/8)"}


def row(**values: Any) -> dict[str, Any]:
    return {"url": OURS, "state": "CO", "readable_state": "Connected", "model_version": "ovdiff-0.1+ab", **values}


def connection(asker: Asker, *, is_wanted: bool = True, server: ServerSettings | None = None) -> Finding:
    return check_connection(asker, 3, OURS, server or ServerSettings(), is_wanted=is_wanted)[0]


def test_a_connected_backend(server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/ml"] = (200, [row()])
    found, url = check_connection(asker, 3, OURS, ServerSettings(), is_wanted=True)
    assert found.state == "ok" and "ovdiff-0.1+ab" in found.found and url == OURS
    assert server.requests[0].line == "GET /api/ml?project=3"


def test_behind_another_backend_it_is_asked_for_nothing(server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/ml"] = (200, [row(url="http://sam:8000", model_version="sam"), row()])
    found = connection(asker)
    assert found.state == "warning" and "not the project's first" in found.found and "first backend" in found.advice


def test_a_backend_that_label_studio_cannot_reach(server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/ml"] = (
        200,
        [row(state="DI", readable_state="Disconnected", error_message="no\n  route")],
    )
    found = connection(asker)
    assert (
        found.state == "failed"
        and f"of {OURS}: Disconnected. no route" in found.found
        and "ovdiff serve" in found.advice
    )
    locked = connection(asker, server=ServerSettings(basic_user="a", basic_password="secret"))
    assert "OVDIFF_BASIC_USER" in locked.advice and "secret" not in str(locked)


@pytest.mark.parametrize(("answer", "refused"), [((403, BLOCKED), True), ((400, {"timeout": ["no"]}), False)])
def test_a_backend_that_is_not_connected(
    answer: tuple[int, object], refused: bool, server: ScriptedServer, asker: Asker
) -> None:
    server.answers |= {"GET /api/ml": (200, []), "POST /api/ml": answer}
    found = connection(asker)
    assert found.state == "failed" and ("refuses http://127.0.0.1:9090" in found.found) == refused
    assert ("ML_BLOCK_LOCAL_IP=false" if refused else "Connect model") in found.advice
    asked = json.loads(server.requests[-1].body)
    assert asked == {"url": OURS, "project": 3, "timeout": NO_NUMBER}  # no integer, so nothing can be created


def test_a_refusal_for_another_reason_blames_no_setting(server: ScriptedServer, asker: Asker) -> None:
    server.answers |= {"GET /api/ml": (200, []), "POST /api/ml": (403, {"detail": "You do not have permission"})}
    assert "ML_BLOCK_LOCAL_IP" not in connection(asker).advice


def test_another_backend_on_the_same_port_is_not_ours(server: ScriptedServer, asker: Asker) -> None:
    sam = row(url="http://sam:9090", model_version="sam2.1")
    server.answers |= {"GET /api/ml": (200, [sam]), "POST /api/ml": (400, {"timeout": ["no"]})}
    found = connection(asker)
    assert found.state == "failed" and "another backend has its port: http://sam:9090, version sam2.1" in found.found
    own = row(url="http://ovdiff:9090")
    ours = find_ours([sam, own], OURS)
    assert ours is not None and ours.url == "http://ovdiff:9090"


def test_other_projects_are_left_alone(server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/ml"] = (200, [])
    assert connection(asker, is_wanted=False).state == "skipped"
    assert [request.line for request in server.requests] == ["GET /api/ml?project=3"]  # nothing was tried


@pytest.mark.parametrize("answer", [(200, b"<html>"), (500, b""), (404, {"detail": "Not found."}), (200, {"a": 1})])
def test_rubbish_is_a_finding(answer: tuple[int, object], server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/ml"] = answer
    assert connection(asker).state == "failed"
    server.answers["GET /api/webhooks/"] = (500, b"")
    assert check_webhook(asker, 3, OURS).state == "failed"


def test_the_own_row_is_found_by_address_then_port_then_version() -> None:
    sam, proxy = row(url="http://sam:8000", model_version="sam"), row(url="https://labels.example.org/ovdiff")
    named, exact = row(url="http://ovdiff:9090", model_version=""), row(url=f"{OURS}/")
    for rows, url in (
        ([sam, proxy, named, exact], OURS),
        ([sam, proxy, named], "http://ovdiff:9090"),
        ([sam, proxy], "https://labels.example.org/ovdiff"),
    ):
        ours = find_ours(rows, OURS)
        assert ours is not None and ours.url == url and not ours.is_first
    assert find_ours([sam, {"url": None}, {}], OURS) is None


def test_a_password_in_an_address_is_not_shown() -> None:
    assert "secret" not in shown("http://ann:secret@host:9090/?key=secret")
    assert shown("http://host:9090/ml/?key=secret") == "http://host:9090/ml"


@pytest.mark.parametrize(
    ("rows", "state", "said"),
    [
        ([{"url": f"{OURS}/webhook", "is_active": True}], "ok", "is told"),
        ([{"url": f"{OURS}/webhook", "is_active": False}], "warning", "is switched off"),
        ([{"url": "http://elsewhere/webhook", "is_active": True}, {}], "warning", "is missing"),
        ([], "warning", "is missing"),
    ],
)
def test_the_webhook(rows: list[dict[str, Any]], state: str, said: str, server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/webhooks/"] = (200, rows)
    found = check_webhook(asker, 3, f"{OURS}/")
    assert found.state == state and said in found.found
    assert (f"{OURS}/webhook" in found.advice) == (state != "ok")


@pytest.mark.parametrize("url", ["http://ovdiff:9090", "http://ovdiff.internal:9090", "http://[fd00::1]:9090"])
def test_a_name_without_a_dot_is_why_there_is_no_webhook(url: str, server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/webhooks/"] = (200, [])
    found = check_webhook(asker, 3, url)
    assert found.state == "warning" and ("such as ovdiff.internal" in found.advice) == (url == "http://ovdiff:9090")
