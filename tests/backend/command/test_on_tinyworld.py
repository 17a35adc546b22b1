"""The commands on the embedded models: a real folder in, real masks out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from backend.command import cli
from ovdiff.tinyworld.world import Rendering, render, sample_scene

SCENES = {"first.png": 1, "deep/second.png": 5}  # of the test split: both have sky
PRESET = 'base = "tinyworld"\nname = "quick"\n[generation]\nimages = 2\nsteps = 6\n'


@pytest.fixture
def scenes(tmp_path: Path) -> dict[str, Rendering]:
    """Two scenes, drawn into the folder `scenes`."""
    drawn = {name: render(sample_scene(index, "test", things=2), 128) for name, index in SCENES.items()}
    for name, rendering in drawn.items():
        path = tmp_path / "scenes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rendering.image).save(path)
    return drawn


def test_a_folder_of_scenes(
    scenes: dict[str, Rendering], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "quick.toml").write_text(PRESET)
    options = ["--preset", "quick.toml", "--bank", "bank"]
    segment = ["segment", "scenes", "--categories", "balloon, sky", "--out", "out", "--indexed", "--coco", "masks.json"]
    assert cli.main([*segment, *options]) == 0
    coco = COCO("masks.json")
    for image in coco.loadImgs(coco.getImgIds()):
        name = image["file_name"]
        labels = np.asarray(Image.open((Path("out") / name).with_suffix(".indexed.png")))
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), labels == annotation["category_id"])
        # Two quick drawings of the sky need not tell it from all else, whatever the weights; they do find the sky.
        sky = scenes[name].mask("sky")
        assert (labels[sky] == 2).mean() > max(0.6, 0.2 + (labels[~sky] == 2).mean())
    capsys.readouterr()
    assert cli.main(["prototypes", "show", "balloon", "--out", "sheet.png", *options]) == 0
    assert Image.open("sheet.png").height > 600
    capsys.readouterr()
    assert cli.main(["prototypes", "list", "--bank", "bank", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(item["category"], item["preset"], item["images"]) for item in listed] == [
        ("balloon", "quick", 2), ("sky", "quick", 2)
    ]  # fmt: skip
    assert listed[0]["models"]["clip"] == "tinyworld:clip"
    assert cli.main(["prototypes", "remove", "balloon", "sky", "--bank", "bank", "--yes"]) == 0
    left = {path for path in Path("bank").rglob("*") if path.is_file()}
    assert left == set(Path("bank/encodings").iterdir())  # these are of the images, and of no word
