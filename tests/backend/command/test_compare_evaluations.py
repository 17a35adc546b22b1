"""`ovdiff compare-evaluations`: folders in, a comparison out."""

import json
from pathlib import Path

import pytest

from backend.command import cli
from tests.fakes.coloured_dataset import Squares
from tests.fakes.engine import FakeEngine
from tests.fakes.evaluations import HalfBlind, evaluated


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two evaluations of a few squares."""
    evaluated(tmp_path / "a", FakeEngine(tmp_path / "bank", "sees"), Squares(4)())
    evaluated(tmp_path / "b", HalfBlind(tmp_path / "bank"), Squares(4)())
    return [str(tmp_path / "a"), str(tmp_path / "b")]


@pytest.mark.parametrize(("name", "begins"), [("page.html", "<!DOCTYPE html>"), ("table.md", "# sees and half blind")])
def test_it_is_printed_and_written(
    folders: list[str], tmp_path: Path, name: str, begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare-evaluations", *folders, "--out", str(tmp_path / "new" / name)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("sees and half blind on 4 images of squares") and f"written: {tmp_path}" in said
    assert (tmp_path / "new" / name).read_text().startswith(begins)


def test_programs_get_every_figure(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare-evaluations", *folders, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 4 and [each["name"] for each in told["categories"]] == [
        "background",
        "red",
        "green",
        "blue",
    ]
    assert told["miou_differences"][0]["value"] < 0 and told["miou_differences"][0]["interval"] is None


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        (["--out", "page.pdf"], 2, "--out page.pdf: expected a name that ends in .html or .md."),
        (["nowhere"], 1, "'nowhere' holds no finished evaluation"),
    ],
)
def test_what_cannot_be_done_is_said(
    folders: list[str], more: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare-evaluations", *folders, *more]) == status
    assert says in capsys.readouterr().err


def test_one_folder_is_refused(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare-evaluations", folders[0]]) == 2
    assert "Name the folders of two or more." in capsys.readouterr().err
