"""What the segmenting half keeps of an image between runs; the rest is tested by test_halves.py and test_engine.py."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
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
