"""What docs/datasets.md tells is so: its table is that of the datasets, its package is evaluated on."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from ovdiff.evaluation.catalogue import BUILT_IN, dataset_kind
from ovdiff.evaluation.result import read_result
from ovdiff.tinyworld.world import render, sample_scene, segments_of
from tests.fakes.installing import install_here

PAGE = (Path(__file__).parents[1] / "docs/datasets.md").read_text("utf-8")
_BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_WORDS = ("boat", "sky", "water")
_MEASURES = {"semantic": "mIoU", "panoptic": "PQ", "instances": "AP"}


def _table(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the table with a heading."""
    lines = PAGE[PAGE.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_is_that_of_the_datasets() -> None:
    rows = [
        [
            f"`{kind.name}`",
            kind.title,
            str(len(kind.categories)),
            "counted" if kind.counts_background else "not counted",
            str(kind.image_count),
            ", ".join(said for measure, said in _MEASURES.items() if measure in kind.measures),
        ]
        for kind in map(dataset_kind, BUILT_IN)
        if kind.needs_folder
    ]
    assert sorted(_table("| name | dataset |")) == sorted(rows)


def test_every_dataset_has_its_folder_and_origin() -> None:
    named = {name for row in _table("| name | below") for name in row[0].replace("`", "").split(", ")}
    assert named == {name for name in BUILT_IN if dataset_kind(name).needs_folder}


@pytest.fixture
def harbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the package of the page, and return a folder of its dataset: two drawn scenes."""
    project = tmp_path / "project"
    for name, text in _BLOCK.findall(PAGE):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    install_here(project, tmp_path / "site", monkeypatch)
    folder = tmp_path / "harbour"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(2):
        drawn = render(sample_scene(number, "test"), 128)
        ids, names = segments_of(drawn)
        labels = np.array([0, *(_WORDS.index(name) + 1 if name in _WORDS else 0 for name in names)], dtype=np.uint8)[
            ids
        ]
        Image.fromarray(drawn.image).save(folder / f"images/{number}.png")
        Image.fromarray(labels).save(folder / f"labels/{number}.png")
    return folder


@pytest.mark.slow
def test_a_dataset_of_another_package_is_one_file(
    harbour: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    assert cli.main(["evaluate", "--list"]) == 0
    assert "The harbour, test" in capsys.readouterr().out
    command = ["evaluate", "harbour", "--root", str(harbour), "--preset", "odise_tinyworld", "--out", str(out)]
    assert cli.main(command) == 0
    assert "2 images of harbour" in capsys.readouterr().out
    result = read_result(out)
    assert [each["name"] for each in result.categories] == list(_WORDS)
    assert result.measures["pixel_accuracy"] > 0.8
    (harbour / "labels/1.png").unlink()
    assert cli.main([*command[:-1], str(tmp_path / "again")]) != 0
    assert "1 of 2 files are missing" in capsys.readouterr().err
