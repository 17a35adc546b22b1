"""What the segmenting half keeps of an image between runs; the rest is tested by test_halves.py and test_engine.py."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ovdiff.bank import Bank
from ovdiff.bank.recipe import Recipes
from ovdiff.engine import Engine
from ovdiff.errors import DeviceMemoryError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.segmenting import image_segmenter
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.encoding_store import EncodingStore
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.vocabulary import Vocabulary

WORDS = Vocabulary(("boat", "water"))


@pytest.fixture(scope="module")
def bank(preset: Preset, models: LoadedModels, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    for category in WORDS.categories:
        Engine(preset, bank, models=models).build(category)
    return bank


def _engine(preset: Preset, bank: Bank, models: LoadedModels, *, disk_mib: int = 64, **sections: Any) -> Engine:
    changed = {name: replace(getattr(preset, name), **fields) for name, fields in sections.items()}
    return Engine(replace(preset, cache=replace(preset.cache, disk_mib=disk_mib), **changed), bank, models=models)


@pytest.fixture
def fresh(bank: Bank, tmp_path: Path) -> Bank:
    """The same prototypes in a folder without encodings."""
    for path in bank.folder.glob("*.*"):
        (tmp_path / path.name).symlink_to(path)
    return Bank(tmp_path)


def test_a_later_engine_reads_what_an_earlier_one_encoded_and_gives_the_same_masks(
    preset: Preset, fresh: Bank, models: LoadedModels, image: np.ndarray, encoded_images: list[Any]
) -> None:
    anew = _engine(preset, fresh, models, disk_mib=0).segment(image, WORDS)
    assert not (fresh.folder / "encodings").exists()
    _engine(preset, fresh, models).segment(image, WORDS)
    assert len(encoded_images) == 2
    loaded = _engine(preset, fresh, models).segment(image, WORDS)
    assert len(encoded_images) == 2
    for field in ("label_map", "scores", "margins"):
        assert getattr(loaded, field).tobytes() == getattr(anew, field).tobytes()


def test_the_level_in_memory_stays_in_front(
    preset: Preset, fresh: Bank, models: LoadedModels, image: np.ndarray, encoded_images: list[Any]
) -> None:
    engine = _engine(preset, fresh, models)
    first = engine.encode(image)
    for path in (fresh.folder / "encodings").iterdir():
        path.unlink()
    assert engine.encode(image) is first and len(encoded_images) == 1


def test_others_use_the_models_while_an_encoding_is_written(
    preset: Preset, fresh: Bank, models: LoadedModels, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = list[bool]()

    def use() -> None:
        with models.lock:
            pass

    def write(store: EncodingStore, key: str, encoded: EncodedImage) -> None:
        other = threading.Thread(target=use)
        other.start()
        other.join(5)
        used.append(not other.is_alive())

    monkeypatch.setattr(EncodingStore, "put", write)
    _engine(preset, fresh, models).segment(image, WORDS)
    _engine(preset, fresh, models).encode(image)
    assert used == [True, True]


@pytest.mark.parametrize(("error", "stored"), [(KeyboardInterrupt(), 0), (DeviceMemoryError("full"), 1)])
def test_an_encoding_whose_matching_fails_is_stored_but_not_after_ctrl_c(
    preset: Preset,
    fresh: Bank,
    models: LoadedModels,
    image: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    stored: int,
) -> None:
    def match(*_: object) -> None:
        raise error

    monkeypatch.setattr(ImageSegmenter, "_match", match)
    with pytest.raises(type(error)):
        _engine(preset, fresh, models).segment(image, WORDS)
    assert len(list((fresh.folder / "encodings").glob("*.safetensors"))) == stored


@pytest.mark.parametrize(
    ("sections", "shared"),
    [
        ({"matching": {"kinds": ("class",)}, "refine": {"pamr": True}}, True),
        ({"prefilter": {"template": "one {category}"}}, True),
        ({"windows": {"crops_px": ()}}, False),
        ({"windows": {"features_dtype": "float16"}}, False),
        ({"matching": {"extractors": ("clip",)}}, False),
        ({"prefilter": {"statistics": "half"}}, False),
    ],
)
def test_engines_share_encodings_only_if_nothing_that_shapes_them_differs(
    preset: Preset,
    fresh: Bank,
    models: LoadedModels,
    image: np.ndarray,
    encoded_images: list[Any],
    sections: dict[str, Any],
    shared: bool,
) -> None:
    engine, other = _engine(preset, fresh, models), _engine(preset, fresh, models, **sections)
    engine.encode(image)
    other.encode(image)
    assert len(encoded_images) == (1 if shared else 2)
    assert (engine.encoding_key() == other.encoding_key()) == shared


def test_features_can_be_kept_in_half_precision_whether_they_are_fresh_or_stored(
    preset: Preset, fresh: Bank, models: LoadedModels, image: np.ndarray
) -> None:
    half = {"windows": {"features_dtype": "float16"}}
    anew = _engine(preset, fresh, models, **half).encode(image)
    stored = _engine(preset, fresh, models, **half).encode(image)
    for encoded in (anew, stored):
        assert {batch.features.dtype for batches in encoded.features.values() for batch in batches} == {torch.float16}
    assert all(
        torch.equal(one.features, other.features)
        for name in anew.features
        for one, other in zip(anew.features[name], stored.features[name], strict=True)
    )


def test_a_store_that_cannot_be_written_fails_no_segmentation(
    preset: Preset, fresh: Bank, models: LoadedModels, image: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    (fresh.folder / "encodings").write_text("a file in the way")
    found = _engine(preset, fresh, models).segment(image, WORDS)
    assert found.label_map.shape == image.shape[:2]
    assert sum("segmented all the same" in record.message for record in caplog.records) == 1


class Card:
    """A device's memory of which so much is used."""

    def __init__(self, used_mib: float) -> None:
        self._used_mib = used_mib

    def free_mib(self) -> float:
        return 80_000.0

    def used_mib(self) -> float:
        return self._used_mib


@pytest.mark.parametrize(("used_mib", "expected"), [(1024, [1, 4]), (3072, [1, 2, 2]), (4000, [1, 1, 1, 1, 1])])
def test_as_many_images_are_taken_at_once_as_the_device_has_room_for(
    used_mib: float,
    expected: list[int],
    preset: Preset,
    image: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The budget is 4 GiB and half a GiB of it a reserve; an image's features take, as is pretended, 100 MiB."""
    preset = replace(preset, memory=replace(preset.memory, segment_gib=4.0))
    segmenter = ImageSegmenter(SegmentingParts(preset, LoadedModels("cpu+resident")), Bank(tmp_path), Recipes(preset))
    groups: list[int] = []

    def encode(_parts: Any, images: Any, _prepared: Any) -> list[Any]:
        groups.append(len(images))
        return [SimpleNamespace(size_bytes=lambda: 100 << 20) for _ in images]

    monkeypatch.setattr("ovdiff.models.memory.memory_of", lambda _device: Card(used_mib))
    monkeypatch.setattr(image_segmenter, "encode_images", encode)
    monkeypatch.setattr(segmenter, "_match", lambda encoded, _vocabulary: encoded)
    monkeypatch.setattr(segmenter.tables, "require", lambda _vocabulary: None)
    assert len(segmenter.segment_together([image] * 5, Vocabulary(["boat"]))) == 5
    assert groups == expected


@pytest.mark.timeout(30, func_only=True)
def test_images_together_wait_for_a_slow_disk_without_the_models_lock(
    preset: Preset, models: LoadedModels, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More encodings than may wait to be written; the disk takes none before the models' lock was had elsewhere."""
    preset = replace(preset, cache=replace(preset.cache, disk_mib=64))
    segmenter = ImageSegmenter(SegmentingParts(preset, models), Bank(tmp_path), Recipes(preset))
    written: list[str] = []

    def write(key: str, _encoded: Any) -> None:
        with models.lock:
            written.append(key)

    encoded = SimpleNamespace(size_bytes=lambda: 1, on_the_cpu=lambda: None)
    monkeypatch.setattr(segmenter._stored_encodings, "put", write)
    monkeypatch.setattr(segmenter._encodings, "put", lambda *_: None)
    monkeypatch.setattr(image_segmenter, "encode_images", lambda _parts, images, _prepared: [encoded] * len(images))
    monkeypatch.setattr(segmenter, "_match", lambda encoded, _vocabulary: encoded)
    monkeypatch.setattr(segmenter.tables, "require", lambda _vocabulary: None)
    for first in (0, 9):
        images = [image + first + number for number in range(9)]
        prepared = [segmenter.prepared(each, keep=True) for each in images]
        assert len(segmenter.segment_together(images, Vocabulary(["boat"]), prepared)) == 9
    segmenter._stored_encodings._writing.shutdown()
    assert len(written) == 18
