"""The commands on background, and their picture. The bank is that of the tests of `backend.command.curation`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from backend.command.backgrounds import draw_background_sheet
from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.support import SupportImage, SupportSet
from tests.backend.command.conftest import run_prototypes


def test_background_is_listed_banned_and_promoted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = run_prototypes(capsys, "backgrounds", "boat", "--out", "behind.png")
    assert listed[0].split() == ["number", "extractor", "kind", "share", "in", "images"] and listed[-1] == (
        "sheet: behind.png"
    )
    rows = [line.split() for line in listed[1:-1]]
    assert {(row[1], row[2]) for row in rows} == {("clip", "part")}
    assert 98 <= sum(int(row[3].rstrip("%")) for row in rows) <= 102
    assert Image.open("behind.png").height == len(rows) * 148
    assert {line.split()[2] for line in run_prototypes(capsys, "backgrounds", "boat", "--all")[1:]} == {
        "class",
        "instance",
        "part",
    }

    number = max(rows, key=lambda row: int(row[3].rstrip("%")))[0]
    assert run_prototypes(capsys, "ban", "boat", number, "--why", "that is the mast")[0] == "boat: 1 ban"
    said = run_prototypes(capsys, "curation", "boat")[1]
    assert said.startswith("  ban 0 (clip part, ") and said.endswith(": that is the mast")
    assert run_prototypes(capsys, "unban", "boat", "0")[0] == "boat: nothing is changed any more"
    said = run_prototypes(capsys, "promote", "boat", number, "water")
    assert said[0] == "boat: 1 ban" and said[2].startswith("water: ") and said[2].endswith("nothing drawn")
    assert "now part of 'water'" in run_prototypes(capsys, "curation", "boat")[1]
    run_prototypes(capsys, "build", "water, boat")
    assert run_prototypes(capsys, "show", "water")[-1] == "sheet: water.support.png"


def test_a_sheet_shows_the_places(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), np.bool_)
    image = np.full((8, 8, 3), 50, np.uint8)
    support = SupportSet((SupportImage(image, mask.astype(np.float32), mask, ~mask, number=3),))
    left = mask.copy()
    left[:, :4] = True
    sheet = np.asarray(draw_background_sheet(support, [BackgroundPrototype(5, "clip", "part", 0.5, {3: left})]))
    tile = sheet[20:140, 170 : 170 + 144]
    assert tile[:, :60].mean() < 60
    assert tile[:, 90:].mean() > 200


def test_what_cannot_be_done_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prototypes", "ban", "boat", "999"]) == 1
    assert "'boat' has no background prototype 999; there are 0 to" in capsys.readouterr().err
    assert cli.main(["prototypes", "backgrounds", "boat", "--out", "behind.jpg"]) == 2
    assert "expected the name of a file that ends in .png" in capsys.readouterr().err
