import pytest

from backend.doctor.asking import Asker
from backend.doctor.service import check_service, own_address
from backend.settings import ServerSettings
from tests.fakes.scripted_server import ScriptedServer


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:9090"),
        ("0.0.0.0", "http://127.0.0.1:9090"),
        ("::", "http://[::1]:9090"),
        ("::1", "http://[::1]:9090"),
        ("ovdiff.local", "http://ovdiff.local:9090"),
    ],
)
def test_where_this_machine_reaches_the_service(host: str, address: str) -> None:
    assert own_address(ServerSettings(host=host, allow_anonymous=True)) == address


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ((200, {"status": "READY", "missing": {}}), "ok", "is ready"),
        ((503, {"missing": {"models": "no weights"}}), "failed", "models: no weights"),
        ((503, {"missing": {"models": "being loaded"}}), "warning", "its models are being loaded"),
        ((503, {"missing": {"models": "being loaded", "bank": "disk full"}}), "failed", "bank: disk full"),
        ((200, b"<html>"), "failed", "not as this service does"),
        ((404, {"missing": []}), "failed", "answers 404"),
    ],
)
def test_what_the_service_says(
    answer: tuple[int, object], state: str, said: str, server: ScriptedServer, asker: Asker
) -> None:
    server.answers["GET /ready"] = answer
    found = check_service(asker, ServerSettings(port=int(server.url.rpartition(":")[2])))
    assert found.state == state and said in found.found


def test_a_service_that_does_not_run_is_a_warning(asker: Asker) -> None:
    found = check_service(asker, ServerSettings(port=9))
    assert found.state == "warning" and "ovdiff serve" in found.advice
