import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from backend.command import cli
from backend.command.odise_train import Plan, preset_of
from ovdiff.engines import load_any_preset
from ovdiff.odise.head_file import read_card
from ovdiff.odise.preset import OdisePreset
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
    rows = [{"image": f"{number}.png", "caption": "two cars under the sky"} for number in range(4)]
    (here / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
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
    assert train("--steps", "4", "--captions", "captions.jsonl", "--validate", "0.25", "--json") == 0
    printed = capsys.readouterr()
    assert "continuing after step 4" in printed.err
    told = json.loads(printed.out)
    assert (told["head"], told["steps"], told["images"], told["images_validated"]) == ("head", 4, 3, 1)
    assert told["curve"] == "head/training.png" and 0 <= told["pq"] <= 1
    assert train("--steps", "4", "--captions", "captions.jsonl", "--validate", "0.25", "--seed", "1") == 1
    assert "another training: the seed differ. Delete it" in capsys.readouterr().err
    shutil.rmtree(here / "head.training")
    assert train("--steps", "4", "--validate", "0.5") == 2
    assert "--out head holds a head that was made from something else" in capsys.readouterr().err
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


def test_folders_that_would_lose_something_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_panoptic(here, 1)
    (here / "link").symlink_to("head")
    (here / "head").mkdir()
    (here / "head/head.safetensors").write_bytes(b"weights")
    for start in ("head", "link", str(here / "head")):
        assert train("--from", start) == 2
        assert "the new head would replace the one that it begins from" in capsys.readouterr().err
    assert [path.name for path in (here / "head").iterdir()] == ["head.safetensors"]
    assert train("--out", "/") == 2 and "--out / is the root of the disk" in capsys.readouterr().err


def test_the_captioner_of_a_head_that_is_begun_from_rests_unless_the_preset_lets_it_learn(here: Path) -> None:
    plan = Plan("small.toml", "cpu", here / "head", steps=50)
    assert preset_of(plan).training.captioner_rate == 5.0 and preset_of(plan).training.warmup == 5
    assert preset_of(replace(plan, start="tinyworld:odise")).training.captioner_rate == 0
    (here / "learns.toml").write_text('base = "small.toml"\nname = "l"\n[training]\ncaptioner_steps = 20\n')
    assert preset_of(replace(plan, preset="learns.toml", start="a")).training.captioner_rate == 5.0
