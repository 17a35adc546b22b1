from pathlib import Path

import pytest

from backend.settings import settings_table
from docs.hooks import generated
from ovdiff.presets import preset_names

ROOT = Path(__file__).parents[3]


def test_every_command_s_help_is_shown_whatever_the_terminal_s_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = generated.command_line()
    for command in ("ovdiff", "ovdiff segment", "ovdiff prototypes show", "ovdiff convert semantic-png"):
        assert f"## {command}\n\n```text\nusage: {command} [-h]" in text
    assert "\n  --indexed             write NAME.indexed.png: " in text
    monkeypatch.setenv("COLUMNS", "200")
    assert generated.command_line() == text


def test_every_preset_is_shown_with_units_and_reasons() -> None:
    text = generated.presets()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(preset_names())
    assert "# GiB, weights included" in text and "NOT for commercial use" in text


def test_the_settings_are_the_command_s_table() -> None:
    assert generated.settings().strip() == settings_table()


def test_the_notebook_is_shown_with_its_pictures_and_its_words() -> None:
    pictures: dict[str, bytes] = {}
    text = generated.notebook(ROOT / "examples/quickstart.ipynb", pictures)
    assert text.startswith("# Masks from words") and "```python\nresult = ovdiff.segment(" in text
    assert "```text\nball: " in text
    assert len(pictures) == 4
    for name, data in pictures.items():
        assert f"]({name})" in text and data.startswith(b"\xff\xd8")  # a JPEG


def test_every_module_is_in_the_reference_once() -> None:
    pages = generated.reference(ROOT)
    listed = [line[4:] for page in pages.values() for line in page.splitlines() if line.startswith("::: ")]
    assert len(listed) == len(set(listed))
    assert {"ovdiff", "ovdiff.api", "converters.encodings.brush", "backend.serving.http.app"} <= set(listed)
    assert "::: ovdiff.bank.files\n" in pages["reference/ovdiff.bank.md"]
