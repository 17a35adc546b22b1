import json

import pytest

from backend.command import cli
from backend.command.doctor import line, summary
from backend.doctor.findings import Finding
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.scripted_server import scripted_server

PASSWORD = "a-password-of-the-service"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> pytest.MonkeyPatch:
    """An environment with secrets, and a Label Studio that is not there."""
    for name, value in {
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": LEGACY_TOKEN,
        "OVDIFF_BASIC_USER": "ann",
        "OVDIFF_BASIC_PASSWORD": PASSWORD,
        "OVDIFF_PORT": "9",
        "OVDIFF_DATA_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_failure_is_status_1_with_what_to_do_and_no_secret(
    settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "FAILED   Label Studio: http://127.0.0.1:9/health did not answer" in out
    assert "         -> Start Label Studio, or set LABEL_STUDIO_URL" in out
    assert "1 failed, 2 skipped" in out.splitlines()[-1]
    assert LEGACY_TOKEN not in out and PASSWORD not in out and "Traceback" not in out


def test_quiet_leaves_out_what_is_as_it_should_be(
    settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--quiet"]) == 1
    states = [text.split()[0] for text in capsys.readouterr().out.splitlines() if not text.startswith(" ")]
    assert states == ["warning", "warning", "FAILED"]  # the default preset, no service, no Label Studio


def test_settings_that_cannot_be_read_are_the_finding(
    settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.setenv("OVDIFF_PROT", "9090")
    assert cli.main(["doctor", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    (finding,) = said["findings"]
    assert said["ok"] is False and finding["name"] == "settings" and "Did you mean OVDIFF_PORT" in finding["found"]


def test_warnings_do_not_fail(settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_server() as server:
        server.answers |= {
            "GET /health": (200, {"status": "UP"}),
            "GET /api/current-user/whoami": (200, {"email": "ann@example.org"}),
            "GET /api/projects/": (200, {"results": []}),
        }
        settings.setenv("LABEL_STUDIO_URL", server.url)
        assert cli.main(["doctor", "--json"]) == 0
    out = capsys.readouterr().out
    said = json.loads(out)
    assert said["ok"] is True and {each["state"] for each in said["findings"]} == {"ok", "warning"}
    assert LEGACY_TOKEN not in out and PASSWORD not in out


def test_wrong_arguments_are_status_2(settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--address", "ovdiff:9090"]) == 2
    assert "Give a URL such as http://ovdiff:9090" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        cli.main(["doctor", "--project", "three"])
    assert stopped.value.code == 2


def test_a_line_and_the_sum() -> None:
    findings = [Finding("disk", "ok", "fine"), Finding("token", "failed", "none", "Set it."), Finding("x", "ok", "y")]
    assert line(findings[0]) == "ok       disk: fine"
    assert line(findings[1]) == "FAILED   token: none\n         -> Set it."
    assert summary(findings) == "2 ok, 1 failed"
