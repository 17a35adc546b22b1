"""The result of an evaluation as a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ovdiff import Bank
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.errors import EvaluationError
from ovdiff.evaluation.datasets.drawn import USUAL
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.result import RESULT, Result, machine, read_result, result_of, weights_of
from ovdiff.evaluation.run import Failure, Protocol
from ovdiff.evaluation.sums import totals_of
from tests.fakes.engine import FakePreset


@pytest.fixture
def result(tmp_path: Path) -> Result:
    engine = make_engine(load_any_preset("tinyworld"), Bank(tmp_path / "bank"), "cpu")
    dataset = USUAL.open(Path())
    images = [ImageFigures("test-0", (2, 2), ((0, 0, 2), (3, 3, 2)), (), ((3, 0.5),))]
    totals = totals_of(images, dataset.vocabulary.categories)
    failed = (Failure("test-1", "damaged"),)
    return result_of(engine, dataset, Protocol((4,)), ("test-0",), failed, totals, device="cpu", workers=2)


def test_a_result_says_how_its_figures_were_found(result: Result) -> None:
    assert result.measures["miou"] == 1.0
    assert result.categories[0] == {"name": "ball", "prompts": ["ball"], "kind": "thing"}
    assert result.preset["name"] == "tinyworld"
    assert result.preset["needs"] == "words, whose support images are drawn once"
    assert result.preset["fields"]["matching"]["background"] == "prototypes"
    assert set(result.preset["weights"]) >= {"stable_diffusion", "clip"}
    assert all(len(identity) > 10 for identity in result.preset["weights"].values())
    assert result.machine["versions"]["torch"]
    assert result.machine["workers"] == 2
    assert result.protocol == {"sizes": (4,)}
    assert result.failed == ({"image": "test-1", "why": "damaged"},)


def test_a_result_survives_its_file(result: Result, tmp_path: Path) -> None:
    result.write(tmp_path)
    read = read_result(tmp_path)
    assert json.loads(json.dumps(vars(read))) == json.loads(json.dumps(vars(result)))
    assert read.measures == result.measures


def test_what_is_no_result_is_refused_with_what_to_do(result: Result, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"holds no finished evaluation .* `ovdiff evaluate` makes one"):
        read_result(tmp_path)
    path = tmp_path / RESULT
    for text, says in (("{", "is damaged"), ("[]", "is damaged"), ('{"schema": 99}', "is of schema 99")):
        path.write_text(text)
        with pytest.raises(EvaluationError, match=says):
            read_result(tmp_path)
    result.write(tmp_path)
    mapping = json.loads(path.read_text())
    del mapping["images"]
    path.write_text(json.dumps(mapping))
    with pytest.raises(EvaluationError, match="is damaged: 'images'"):
        read_result(tmp_path)


def test_weights_are_named_by_what_identifies_them_even_where_they_are_not_at_hand() -> None:
    assert weights_of(load_any_preset("paper"))["dino"].startswith("facebook/dino-vitb8@")


def test_a_preset_without_models_has_no_weights() -> None:
    assert weights_of(FakePreset("fake")) == {}


def test_a_gpu_whose_name_has_options_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch knows no such name, and an evaluation asks for it when all images are done."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: f"the GPU {torch.device(name)}")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda name: torch.device(name).index << 20)
    found = machine("cuda:1+compile-resident", 1)
    assert found["device"] == "the GPU cuda:1" and found["peak_mib"] == 1.0


def test_the_machine_is_named() -> None:
    named = machine("cpu", 1)
    assert named["device"] == "cpu"
    assert named["threads"] >= 1
    assert 50 < named["peak_mib"] < 100_000


def test_the_peak_is_the_most_that_was_ever_held() -> None:
    before = machine("cpu", 1)["peak_mib"]
    held = np.ones(300 << 17)  # 300 MiB
    during = machine("cpu", 1)["peak_mib"]
    assert during >= 300 * held[0]
    del held
    assert machine("cpu", 1)["peak_mib"] >= during >= before
