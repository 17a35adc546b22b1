"""The commands that change what a word means, on the embedded models, on two images of two steps."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli, show
from backend.command.support_sheet import draw_support_sheet
from ovdiff.bank.support import SupportSet
from tests.backend.command.conftest import run_prototypes


def test_a_word_is_changed_shown_and_changed_back(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[tuple[SupportSet, list[str]]] = []

    def draw(support: SupportSet, title: str, captions: list[str]) -> Image.Image:
        sheets.append((support, [title.splitlines()[0], *captions]))
        return draw_support_sheet(support, title, captions)

    monkeypatch.setattr(show, "draw_support_sheet", draw)
    plain = (here / "data/bank").glob("*.safetensors")
    before = {path.name: path.read_bytes() for path in plain}
    assert run_prototypes(capsys, "curation", "boat") == ["boat: nothing is changed"]
    said = run_prototypes(capsys, "reject", "boat", "1", "--why", "blurred")
    assert said == [
        "boat: 1 rejected",
        "its prototypes are made anew when they are next used, or by `ovdiff prototypes build`; nothing is drawn",
    ]
    assert run_prototypes(capsys, "add-exemplar", "boat", "photo.jpg", "mask.png")[0] == "boat: 1 rejected, 1 exemplar"
    shown = run_prototypes(capsys, "curation", "boat")
    assert shown[0] == "boat: 1 rejected, 1 exemplar"
    assert shown[1].startswith("  image 1 rejected on 20") and shown[1].endswith(": blurred")
    assert shown[2].startswith("  exemplar photo.jpg (")

    run_prototypes(capsys, "show", "boat")  # before it is built again
    run_prototypes(capsys, "build", "boat")
    listed = run_prototypes(capsys, "list")
    assert [line.split("  ")[1:3] for line in listed[1:3]] == [["boat", "   2/2"]] * 2 or len(listed) >= 3
    assert any(line.endswith("(boat) is curated: 1 rejected, 1 exemplar") for line in listed)
    run_prototypes(capsys, "show", "boat")
    for support, captions in sheets:
        assert len(support.images) == 2 and captions[0].endswith("refused, 1 rejected")
        assert captions[1].startswith("0: prompt 1, seed") and captions[2:] == [
            "1: rejected\nblurred",
            "2: exemplar\nphoto.jpg",
        ]
    assert run_prototypes(capsys, "remove-exemplar", "boat", "photo.jpg")[0] == "boat: 1 rejected"
    assert run_prototypes(capsys, "restore", "boat", "1")[0] == "boat: nothing is changed any more"
    assert run_prototypes(capsys, "build", "boat")[0].startswith("boat: ready, ")
    assert all((here / "data/bank" / name).read_bytes() == data for name, data in before.items())


def test_a_rejected_image_is_pale(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_prototypes(capsys, "show", "boat", "--out", "before.png")
    run_prototypes(capsys, "reject", "boat", "1")
    run_prototypes(capsys, "show", "boat", "--out", "after.png")
    before, after = (np.asarray(Image.open(name)).astype(int) for name in ("before.png", "after.png"))
    height = min(len(before), len(after))
    second = np.s_[height - 600 : height, 84 + 148 : 84 + 148 + 140]
    assert after[second].mean() > before[second].mean() + 20
    assert (np.ptp(after[second], axis=2) <= 1).mean() > 0.95


def test_a_word_of_exemplars_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_prototypes(capsys, "add-exemplar", "grebe", "photo.jpg", "mask.png", "--alone")
    assert run_prototypes(capsys, "curation", "grebe")[:2] == [
        "grebe: 1 exemplar, nothing drawn",
        "  nothing is drawn; the category is made of its exemplars alone",
    ]
    run_prototypes(capsys, "build", "grebe")
    assert not any("grebe" in line and "doubtful" in line for line in run_prototypes(capsys, "list"))
    assert run_prototypes(capsys, "restore", "grebe", "--drawn")[0] == "grebe: 1 exemplar"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["reject", "boat", "7"], 1, "'boat' has no drawn image 7; there are 0, 1"),
        (["reject", "boat", "-1"], 2, ""),
        (["restore", "boat"], 2, "Nothing to restore: give the numbers of rejected images, or --drawn."),
        (["restore", "boat", "1"], 1, "Image 1 of 'boat' is not rejected; none are"),
        (["add-exemplar", "boat", "photo.jpg", "photo.jpg"], 1, "The mask 'photo.jpg' cannot be read as a PNG"),
        (["add-exemplar", "boat", "mask.png", "half.png"], 1, "The image has 120 x 90 px and the mask 60 x 45 px"),
        (["add-exemplar", "boat", "photo.jpg", "empty.png"], 1, "The mask has no foreground"),
        (["add-exemplar", "boat, fish", "photo.jpg", "mask.png"], 2, "names 2 categories; name one"),
        (["remove-exemplar", "boat", "x"], 1, "'boat' has no exemplar 'x'; there are: none"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], status: int, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = Image.open("mask.png")
    mask.resize((60, 45), Image.Resampling.NEAREST).save("half.png")
    Image.new("L", mask.size).save("empty.png")
    try:
        found = cli.main(["prototypes", *arguments])
    except SystemExit as error:  # argparse
        found = error.code  # type: ignore[assignment]
    assert found == status and said in capsys.readouterr().err
    assert not list((here / "data/bank").glob("curations/*.toml"))
