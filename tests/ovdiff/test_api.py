import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ovdiff
from backend.settings import Settings
from ovdiff import api
from ovdiff.errors import BankError, DeviceError, ImageError, PresetError, VocabularyError
from tests.fakes.engine import FakeEngine
from tests.fakes.installing import install_here
from tests.fakes.pictures import red_and_blue

RED, BLUE = ((red_and_blue() == colour).all(axis=2) for colour in ((255, 0, 0), (0, 0, 255)))


class Made:
    """The engines that were made, in place of real ones."""

    def __init__(self) -> None:
        self.engines: list[FakeEngine] = []

    def __call__(self, preset: ovdiff.Preset, bank: Path, device: str) -> FakeEngine:
        self.engines.append(FakeEngine(bank, f"{preset.fingerprint()} {device}", build_seconds=0.05))
        return self.engines[-1]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    ovdiff.unload_models()
    made = Made()
    monkeypatch.setattr(api, "_make_engine", made)
    yield made
    ovdiff.unload_models()


def test_masks_and_scores_go_by_name(made: Made, tmp_path: Path) -> None:
    result = ovdiff.segment(red_and_blue(), ["red", "green", "blue"], preset="tinyworld", bank=tmp_path)
    assert result.names == tuple(result.masks) == tuple(result.scores) == ("red", "green", "blue")
    np.testing.assert_array_equal(result.masks["red"], RED)
    np.testing.assert_array_equal(result.masks["blue"], BLUE)
    assert not result.masks["green"].any() and result.scores["green"] == 0
    assert result.scores["red"] == pytest.approx(0.75)
    assert result.found == ("red", "blue")
    np.testing.assert_array_equal(result.label_map, RED + 3 * BLUE)
    np.testing.assert_array_equal(result.image, red_and_blue())
    assert result.segmentation.scores.shape == result.label_map.shape


def test_an_image_comes_from_a_file_too_and_a_vocabulary_may_hold_categories(made: Made, tmp_path: Path) -> None:
    Image.fromarray(red_and_blue()).save(tmp_path / "a.png")
    sea = ovdiff.Category("sea", ("blue",))
    for categories in ([sea, "red"], ovdiff.Vocabulary((sea, "red"))):
        found = ovdiff.segment(tmp_path / "a.png", categories, preset="tinyworld", bank=tmp_path / "bank")
        np.testing.assert_array_equal(found.masks["sea"], BLUE)


def test_a_second_call_builds_and_loads_nothing(made: Made, tmp_path: Path) -> None:
    for categories in (["red"], ["red", "blue"], ("blue",)):
        ovdiff.segment(red_and_blue(), categories, preset="tinyworld", bank=tmp_path)
    assert [engine.built for engine in made.engines] == [["red", "blue"]]


def test_threads_share_an_engine_and_build_each_category_once(made: Made, tmp_path: Path) -> None:
    def call(_number: int) -> tuple[str, ...]:
        return ovdiff.segment(red_and_blue(), ["red", "blue"], preset="tinyworld", bank=tmp_path).found

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(call, range(4))) == {("red", "blue")}
    assert [engine.built for engine in made.engines] == [["red", "blue"]]


def test_whoever_needs_no_build_waits_for_none(made: Made, tmp_path: Path) -> None:
    def call(name: str) -> tuple[str, ...]:
        return ovdiff.segment(red_and_blue(), [name], preset="tinyworld", bank=tmp_path).found

    call("red")
    made.engines[0].gate = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        try:
            building = threads.submit(call, "blue")
            assert threads.submit(call, "red").result(timeout=30.0) == ("red",)
            assert not building.done()
        finally:
            made.engines[0].gate.set()
        assert building.result(timeout=60.0) == ("blue",)


def test_preset_bank_and_device_are_told_apart_and_the_oldest_is_let_go(made: Made, tmp_path: Path) -> None:
    def call(**options: Any) -> int:
        ovdiff.segment(red_and_blue(), ["red"], **({"preset": "tinyworld", "bank": tmp_path / "a"} | options))
        return len(made.engines)

    assert [call(), call(bank=tmp_path / "b"), call()] == [1, 2, 2]
    assert [call(device="cuda"), call(), call(bank=str(tmp_path / "b"))] == [3, 3, 4]
    assert [call(preset="fast"), call(preset=ovdiff.load_preset("fast"))] == [5, 5]


def test_a_bank_is_known_by_where_it_is(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for bank in ("bank", tmp_path / "bank", "./bank"):
        ovdiff.segment(red_and_blue(), ["red"], preset="tinyworld", bank=bank)
    assert [engine.folder for engine in made.engines] == [tmp_path / "bank"]


def test_models_can_be_let_go(made: Made, tmp_path: Path) -> None:
    for _ in range(2):
        ovdiff.segment(red_and_blue(), ["red"], preset="tinyworld", bank=tmp_path)
        ovdiff.unload_models()
    assert [engine.built for engine in made.engines] == [["red"], []]  # the prototypes stayed


def test_the_bank_is_the_command_s(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ovdiff.segment(red_and_blue(), ["red"], preset="tinyworld")
    assert made.engines[0].folder == tmp_path / Settings().bank_dir
    assert list(made.engines[0].folder.glob("*.safetensors"))


def test_without_a_preset_it_is_said_once_what_the_embedded_models_know(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api._warn_of_default.cache_clear()
    for _ in range(2):
        ovdiff.segment(red_and_blue(), ["red"], bank=tmp_path)
    ovdiff.segment(red_and_blue(), ["red"], bank=tmp_path, preset="tinyworld")
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "know only drawn scenes and 19 words" in warned[0] and 'preset="fast"' in warned[0]
    assert len(made.engines) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"categories": []}, VocabularyError, "The vocabulary is empty"),
        ({"categories": "red"}, VocabularyError, r"got 'red' alone. Write \['red'\]"),
        ({"categories": ["red", ovdiff.Category("red")]}, VocabularyError, "Duplicate category: 'red'"),
        ({"categories": ["red", None]}, VocabularyError, "got None"),
        ({"preset": "fsat"}, PresetError, "No preset 'fsat'. Known: fast, odise, odise_tinyworld, paper, tinyworld"),
        ({"preset": 7}, PresetError, r"Expected a preset, its name or its file, got 7. Write preset=\"tinyworld\""),
        ({"image": "missing.png"}, ImageError, "'missing.png' does not exist"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(
    made: Made, tmp_path: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    usual = {"image": red_and_blue(), "categories": ["red"], "preset": "tinyworld", "bank": tmp_path / "bank"}
    with pytest.raises(error, match=message):
        ovdiff.segment(**(usual | arguments))
    assert made.engines == [] and not (tmp_path / "bank").exists()


@pytest.mark.slow
def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"Device 'nonsense' cannot be used: .*'cpu' works on every machine"):
        ovdiff.segment(red_and_blue(), ["red"], preset="tinyworld", device="nonsense", bank=tmp_path)


def test_the_preset_says_which_engine_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Path(__file__).parents[1] / "fakes/second_engine"
    install_here(project, tmp_path / "site", monkeypatch)
    result = ovdiff.segment(red_and_blue(), ["blue"], preset=project / "words.toml", bank=tmp_path / "bank")
    np.testing.assert_array_equal(result.masks["blue"], BLUE)
    ovdiff.unload_models()


def test_a_bank_that_is_no_folder_and_a_path_that_no_file_can_have_are_named(made: Made, tmp_path: Path) -> None:
    with pytest.raises(BankError, match="The bank '~nobody-has-this-name/b' is no folder that can be used"):
        ovdiff.segment(red_and_blue(), ["red"], preset="tinyworld", bank="~nobody-has-this-name/b")
    with pytest.raises(ImageError, match=r"cannot be read: .*too long"):
        ovdiff.segment(tmp_path / ("a" * 300), ["red"], preset="tinyworld", bank=tmp_path)
