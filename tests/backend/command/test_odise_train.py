import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from backend.command.odise_train import Plan, preset_of
from ovdiff.engines import load_any_preset
from ovdiff.odise.head_file import read_card
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.drawn import segments_of
from ovdiff.tinyworld.world import STUFF, THINGS, render, sample_scene
from tests.backend.command.test_odise_images import write_panoptic

SMALL = """base = "odise_tinyworld"
name = "small"
[mask_generator]
level_channels = 32
hidden = 32
mask_channels = 32
encoder_layers = 1
decoder_layers = 1
[training]
batch = 2
views = 2
checkpoint_every = 2
validate_every = 2
"""
NEW = ("floor", "mountain")
"""What the embedded head has never been told the name of."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def train(*options: str, labels: str = "panoptic.json", preset: str = "small.toml") -> int:
    given = ["--labels", labels, "--images", "images", "--preset", preset, "--out", "head"]
    return cli.main(["odise", "train", *given, *options])


def test_a_head_is_trained_said_to_be_so_and_can_be_used(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_panoptic(here, 4)
    (here / "captions.jsonl").write_text('{"image": "1.png", "caption": "two cars under the sky"}\n')
    assert train("--steps", "4", "--captions", "captions.jsonl", "--validate", "0.25") == 0
    said = capsys.readouterr().out
    assert "images: 4 in, 3 to learn from, 1 to validate with" in said
    assert re.search(r"features: 3 images x 2 views take \d+ MiB in head.training/features", said)
    assert re.search(r"step 2: PQ [0-9.]+, mIoU [0-9.]+ on 1 images", said) and "step 4: PQ" in said
    assert sorted(path.name for path in (here / "head").iterdir()) == [
        "head.json", "head.safetensors", "training.jsonl", "training.png"
    ]  # fmt: skip
    log = [json.loads(line) for line in (here / "head/training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == [1, 2, 3, 4]
    assert [line["step"] for line in log if "pq" in line] == [2, 4] and "caption" in log[0] and "name" in log[0]
    card = read_card(here / "head")
    assert [(label.name, label.synonyms, label.stuff) for label in card.labels] == [
        ("car", ("car",), False), ("sky-other-merged", ("sky",), True)
    ]  # fmt: skip
    facts = card.training
    assert (facts["steps"], facts["seed"], facts["images"], facts["views"], facts["validation_images"]) == (
        4,
        0,
        3,
        6,
        1,
    )
    assert facts["pq"] == pytest.approx(log[-1]["pq"], abs=1e-3) and "miou" in facts

    # The lines that it said are a preset with which a picture can be segmented.
    lines = said.split("a preset that uses it:\n", 1)[1]
    (here / "mine.toml").write_text("\n".join(line.strip() for line in lines.splitlines()))
    preset = load_any_preset(here / "mine.toml")
    assert isinstance(preset, OdisePreset) and preset.name == "head"
    assert cli.main(["segment", "images/0.png", "--categories", "car", "--preset", "mine.toml", "--out", "m.png"]) == 0

    # A second call has nothing to do; another seed is refused, and nothing is overwritten.
    capsys.readouterr()
    before = (here / "head/head.safetensors").read_bytes()
    assert train("--steps", "4", "--captions", "captions.jsonl", "--validate", "0.25") == 0
    assert "continuing after step 4" in capsys.readouterr().out
    assert train("--steps", "4", "--captions", "captions.jsonl", "--validate", "0.25", "--seed", "1") == 1
    assert "another training: the seed differ. Delete it" in capsys.readouterr().err
    assert (here / "head/head.safetensors").read_bytes() == before


def test_what_cannot_be_used_is_said_before_a_model_loads(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_panoptic(here, 1, file_name="absent.png")
    for options, status, words in (
        ({"preset": "tinyworld"}, 2, "'tinyworld' is of the engine 'ovdiff', which has no head"),
        ({"labels": "absent.json"}, 1, "absent.json"),
        ({}, 1, "No image can be learned from"),
    ):
        assert train("--steps", "2", **options) == status
        assert words in capsys.readouterr().err
    assert train("--steps", "0") == 2 and "training.steps is 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train("--validate", "1.5")
    assert "expected a share from 0 to below 1" in capsys.readouterr().err


def write_scenes(folder: Path, numbers: range, config: Path) -> None:
    """Write an export of drawn scenes of 64 px, in which floor and mountain are annotated, too."""
    from converters.encodings.brush import mask_to_brush_rle

    (folder / "images").mkdir(exist_ok=True)
    tasks = []
    for number in numbers:
        rendering = render(sample_scene(number, "train", 1), 64)
        ids, names = segments_of(rendering)
        masks = [(name, ids == place) for place, name in enumerate(names, 1)]
        masks += [(name, rendering.mask(name)) for name in NEW if rendering.mask(name).any()]
        Image.fromarray(np.asarray(rendering.image)).save(folder / f"images/{number}.png")
        shape = {
            "from_name": "b",
            "to_name": "image",
            "type": "brushlabels",
            "original_width": 64,
            "original_height": 64,
        }
        result = [
            {
                "id": f"{place}",
                **shape,
                "value": {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": [name]},
            }
            for place, (name, mask) in enumerate(masks)
        ]
        data = {"image": f"/data/upload/1/{number}.png"}
        tasks.append({"id": number, "data": data, "annotations": [{"id": number, "result": result}]})
    (folder / f"{numbers.start}.json").write_text(json.dumps(tasks))
    stuff = (*STUFF, *NEW)
    tags = "".join(f'<Label value="{n}" kind="{"stuff" if n in stuff else "thing"}"/>' for n in (*THINGS, *stuff))
    brush = f'<BrushLabels name="b" toName="image">{tags}</BrushLabels>'
    config.write_text(f'<View><Image name="image" value="$image"/>{brush}</View>')


def scene_numbers(first: int, count: int) -> range:
    return range(first, first + count)


def test_the_captioner_of_a_head_that_is_begun_from_rests_unless_the_preset_lets_it_learn(here: Path) -> None:
    plan = Plan("small.toml", "cpu", here / "head", steps=50)
    assert preset_of(plan).training.captioner_rate == 5.0 and preset_of(plan).training.warmup == 5
    assert preset_of(replace(plan, start="tinyworld:odise")).training.captioner_rate == 0
    (here / "learns.toml").write_text('base = "small.toml"\nname = "l"\n[training]\ncaptioner_steps = 20\n')
    assert preset_of(replace(plan, preset="learns.toml", start="a")).training.captioner_rate == 5.0


@pytest.mark.slow
def test_two_dozen_tasks_teach_an_existing_head_two_new_labels(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(here, scene_numbers(700_000, 24), here / "config.xml")
    write_scenes(here, scene_numbers(710_000, 12), here / "config.xml")
    (here / "warm.toml").write_text('base = "odise_tinyworld"\nname = "warm"\n[training]\nviews = 2\n')
    figures = []
    for steps in ("1", "40"):
        options = ("--label-config", "config.xml", "--validate", "710000.json", "--from", "tinyworld:odise")
        more = ("--steps", steps, "--batch", "8", "--out", f"head{steps}", "--cache", "features")
        assert train(*options, *more, labels="700000.json", preset="warm.toml") == 0
        figures.append(read_card(here / f"head{steps}").training)
    assert figures[1]["pq"] > figures[0]["pq"] + 0.03 and figures[1]["miou"] > figures[0]["miou"] + 0.03
    assert "of other images" not in capsys.readouterr().out  # the features of the first training served the second
