import json
from pathlib import Path

import pytest

from backend.command.settings import show_settings
from backend.settings import settings_table
from converters.console import answering


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVDIFF_PORT", "9191")
    monkeypatch.setenv("OVDIFF_DEVICE", "cpu")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "hush-token")


def test_the_values_in_force_are_shown_with_their_origin(capsys: pytest.CaptureFixture[str]) -> None:
    """The table showed the defaults, whatever the environment said."""
    show_settings()
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["setting", "value", "from", "unit"]
    cells = {row.split()[0]: row for row in rows}
    assert cells["OVDIFF_PORT"].split()[1:3] == ["9191", "environment"]
    assert cells["OVDIFF_DEVICE"].split()[1:3] == ["cpu", "environment"]  # the default's value, but somebody chose it
    assert cells["OVDIFF_PRESET"].split()[1:3] == ["tinyworld", "default"]
    assert cells["OVDIFF_PARTIAL_PREDICTIONS"].split()[1:4] == ["no", "default", "yes/no"]  # as a person writes it
    assert all(variable in settings_table() for variable in cells)
    assert len(rows) == len(settings_table().splitlines()) - 2


def test_no_secret_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        with answering(as_json=as_json):
            show_settings()
        said = capsys.readouterr().out
        assert "(set, not shown)" in said
        assert "hush" not in said


def test_the_same_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(as_json=True):
        show_settings()
    shown = {item["variable"]: item for item in json.loads(capsys.readouterr().out)}
    assert shown["OVDIFF_PORT"]["value"] == "9191"
    assert shown["OVDIFF_BASIC_PASSWORD"]["value"] == ""
    assert shown["LABEL_STUDIO_API_KEY"]["value"] == "(set, not shown)"


def test_a_secret_of_a_file_is_told_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "token"
    secret.write_text("hush-token")
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY_FILE", str(secret))
    with answering(as_json=True):
        show_settings()
    said = capsys.readouterr().out
    shown = {item["variable"]: item for item in json.loads(said)}
    assert shown["LABEL_STUDIO_API_KEY"]["value"] == "(set, not shown)"
    assert shown["LABEL_STUDIO_API_KEY"]["origin"] == "file" and "hush" not in said
