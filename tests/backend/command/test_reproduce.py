"""`ovdiff reproduce`: what is missing is said and nothing fetched; what is here is evaluated and compared by stages."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from ovdiff.tinyworld.world import NAMES, render, sample_scene

QUICK = """
base = "tinyworld"
name = "quick"
[generation]
images = 1
steps = 1
[anchors]
words = []
prototypes = []
[part_check]
enabled = false
[prefilter]
enabled = true
[refine]
pamr = false
[prototypes]
parts = 1
[extractors]
use = ["clip"]
[matching]
extractors = ["clip"]
"""
LABELS = {"bird": 3, "boat": 4, "car": 7}


@pytest.fixture
def devkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two drawn scenes in VOC's layout: birds, boats and cars are VOC's, and all else is background."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "quick.toml").write_text(QUICK)
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    names = []
    for number in (1, 2):
        drawn, name = render(sample_scene(number, "test", 3), 128), f"2007_00000{number}"
        table = np.array([LABELS.get(each, 0) for each in NAMES], dtype=np.uint8)
        Image.fromarray(drawn.image).save(root / "JPEGImages" / f"{name}.jpg")
        labels = Image.fromarray(table[drawn.label_map], mode="P")
        labels.putpalette([value for level in range(256) for value in (level, level, level)])
        labels.save(root / "SegmentationClass" / f"{name}.png")
        names.append(name)
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(names) + "\n")
    return tmp_path / "VOCdevkit"


def test_what_is_missing_is_said_and_nothing_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    assert cli.main(["reproduce", "voc21"]) == 1
    captured = capsys.readouterr()
    assert "miou 67.1 (v1), miou 66.3 (ECCV, quoted), miou 65.7 (released code run again)" in captured.out
    assert "VOCtrainval_11-May-2012.tar" in captured.err
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in captured.err
    assert "MB)" in captured.err
    assert "CC-BY-NC-SA-4.0" in captured.err
    assert (
        "The dataset and the weights of 5 models are missing, and nothing was fetched. Get the dataset by hand, and "
        "give its folder with --root. `ovdiff presets fetch paper` fetches the weights, on the terms above."
    ) in captured.err
    assert not (tmp_path / "reproductions").exists()


def test_only_what_is_missing_is_asked_for(
    devkit: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(devkit / "hub"))
    assert cli.main(["reproduce", "voc21", "--root", str(devkit)]) == 1
    said = capsys.readouterr().err
    assert "The weights of 5 models are missing, and nothing was fetched. `ovdiff presets fetch paper` " in said
    assert "by hand" not in said
    (devkit / "VOC2012/SegmentationClass/2007_000002.png").unlink()
    assert cli.main(["reproduce", "voc21", "--root", str(devkit), "--preset", "quick.toml"]) == 1
    said = capsys.readouterr().err
    assert "1 of 2 files are missing in " in said and "the first is 2007_000002.png" in said
    assert "The dataset is missing, and nothing was fetched. Get the dataset by hand" in said
    assert "presets fetch" not in said


@pytest.mark.slow
def test_a_stand_in_departs_and_each_stage_says_why(devkit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["reproduce", "voc21", "--root", str(devkit), "--preset", "quick.toml", "--out", "out"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "departs," in said
    assert "published: 67.1 (v1), 66.3 (ECCV, quoted), 65.7 (released code run again)" in said
    assert "preset: departs." in said
    assert "fields differ from 'paper'" in said
    assert "images: departs. 2 images were evaluated; the published split has 1449" in said
    assert "of the support images have a foreground" in said
    assert "of 2 images every true class passes it" in said
    assert "published 64.6 (released code run again)" in said
    report = json.loads(Path("out/reproduction.json").read_text())
    assert report["reproduced"] is False
    assert [stage["name"] for stage in report["stages"]] == [
        "preset", "images", "support images", "prefilter", "categories"
    ]  # fmt: skip
    assert len(report["sheets"]) == 3
    assert all(Image.open(sheet).height > 300 for sheet in report["sheets"])
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report
    for stored in (devkit.parent / "data").rglob("support"):
        shutil.rmtree(stored)
    assert cli.main(arguments) == 0, "support images that are not kept are told, after the comparison"
    compared, told = capsys.readouterr().out.split("preset: departs.")
    assert "departs," in compared
    assert told.count("no support sheet of") == 3
    assert json.loads(Path("out/reproduction.json").read_text())["sheets"] == []
