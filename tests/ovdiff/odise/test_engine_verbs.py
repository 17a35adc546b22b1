"""What OdiseEngine promises beside the stages: kept encodings, heads that change, objects, memory, several threads."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.engines.segmenting import FindsInstances
from ovdiff.errors import DeviceMemoryError, ImageError, VocabularyError, WeightsError
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.head_file import WEIGHTS
from ovdiff.odise.preset import OdisePreset
from ovdiff.vocabulary import Category, Vocabulary

WORDS = Vocabulary([Category("boat", kind="thing"), Category("sky", kind="stuff")])


@pytest.fixture
def scene(windows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(windows[0][:40])


def with_folder(preset: OdisePreset, folder: Path) -> OdisePreset:
    return replace(preset, models=replace(preset.models, head=replace(preset.models.head, source=str(folder))))


def beside(engine: OdiseEngine, **tables: dict[str, Any]) -> OdiseEngine:
    changed = {name: replace(getattr(engine.preset, name), **values) for name, values in tables.items()}
    return engine.beside(replace(engine.preset, **changed), Bank(Path("unused")))


def test_new_words_encode_nothing_again_and_the_oldest_image_is_forgotten(
    odise_engine: OdiseEngine, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, encoded = beside(odise_engine, cache={"images": 2}), []
    monkeypatch.setattr(engine, "_encode", lambda image: encoded.append(1) or OdiseEngine._encode(engine, image))
    engine.segment(scene, WORDS)
    engine.segment(scene, Vocabulary(["house", "fish"]))
    engine.with_instances(scene, engine.segment(scene, WORDS), WORDS)
    assert len(encoded) == 1
    for shift in (1, 2):
        engine.encode(np.roll(scene, shift, axis=1))
    engine.encode(scene)
    assert len(encoded) == 4


def test_a_head_that_is_trained_meanwhile_is_loaded_and_changes_every_name_of_what_it_made(
    odise_engine: OdiseEngine, scene: NDArray[np.uint8], tmp_path: Path
) -> None:
    source = Path(odise_engine.preset.models.head.source)
    shutil.copytree(source, tmp_path / "head")
    preset = with_folder(odise_engine.preset, tmp_path / "head")
    engine = odise_engine.beside(preset, Bank(tmp_path))
    before, names = engine.segment(scene, WORDS), (engine.fingerprint(), engine.encoding_key())
    weights = bytearray((tmp_path / "head" / WEIGHTS).read_bytes())
    tail = np.frombuffer(bytes(weights[-4000:]), np.float16)
    weights[-4000:] = (-tail).tobytes()
    (tmp_path / "head" / WEIGHTS).write_bytes(bytes(weights))
    after = engine.segment(scene, WORDS)
    assert not np.array_equal(before.margins, after.margins)
    assert all(new != old for new, old in zip((engine.fingerprint(), engine.encoding_key()), names, strict=True))
    assert engine.category_key(WORDS.categories[0]) != odise_engine.category_key(WORDS.categories[0])


def test_without_a_head_there_is_a_fingerprint_and_the_error_says_what_to_do(
    odise_engine: OdiseEngine, scene: NDArray[np.uint8], tmp_path: Path
) -> None:
    engine = odise_engine.beside(with_folder(odise_engine.preset, tmp_path / "none"), Bank(tmp_path))
    assert engine.fingerprint() != odise_engine.fingerprint()
    with pytest.raises(WeightsError, match="does not exist"):
        engine.segment(scene, WORDS)


def test_objects_have_ids_labels_and_the_probability_of_their_name(
    odise_engine: OdiseEngine, scene: NDArray[np.uint8]
) -> None:
    assert isinstance(odise_engine, FindsInstances)
    engine = beside(odise_engine, outputs={"overlap": 0.0})
    panoptic = engine.panoptic(engine.encode(scene), WORDS)
    found = engine.with_instances(scene, engine.segment(scene, WORDS), WORDS)
    assert found.instance_map is not None and np.array_equal(found.instance_map, panoptic.ids.numpy())
    assert len(panoptic.segments) > 0
    for number, segment in enumerate(panoptic.segments, 1):
        at = found.instance_map == number
        assert (found.label_map[at] == segment.label + 1).all()
        assert found.scores[at] == pytest.approx(segment.score)
    with pytest.raises(ImageError, match="its own segmentation"):
        engine.with_instances(scene[:20], found, WORDS)


def test_other_words_of_the_training_win_as_background(odise_engine: OdiseEngine, scene: NDArray[np.uint8]) -> None:
    one = Vocabulary([Category("house", kind="thing")])
    alone, beside_others = odise_engine, beside(odise_engine, fusion={"others": "training"})
    encoded = alone.encode(scene)
    free, pressed = alone.named(encoded, one), beside_others.named(encoded, one)
    assert pressed.names.mean() < free.names.mean() and pressed.void.max() > free.void.min()
    assert torch.allclose(pressed.names.sum(dim=1) + pressed.void, torch.ones(len(pressed.void)), atol=1e-5)


def test_each_branch_can_be_left_out(odise_engine: OdiseEngine, scene: NDArray[np.uint8]) -> None:
    encoded = odise_engine.encode(scene)
    without = beside(odise_engine, clip_branch={"enabled": False})
    assert without.encode(scene).regions is None
    diffusion = beside(odise_engine, fusion={"alpha": 0.0, "beta": 0.0})
    assert torch.allclose(without.named(without.encode(scene), WORDS).names, diffusion.named(encoded, WORDS).names)


@pytest.mark.parametrize("verb", ["encode", "label", "panoptic", "instances"])
def test_too_little_memory_is_said_in_words(
    verb: str, odise_engine: OdiseEngine, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = beside(odise_engine)
    encoded = engine.encode(scene)

    def fail(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine, "_encode" if verb == "encode" else "_named", fail)
    arguments = (np.roll(scene, 3, axis=0),) if verb == "encode" else (encoded, WORDS)
    with pytest.raises(
        DeviceMemoryError, match=r"64 x 40 px does not fit .* (End other programs|Give a smaller image)"
    ):
        getattr(engine, verb)(*arguments)


def test_a_prompt_that_is_too_long_is_quoted(odise_engine: OdiseEngine, scene: NDArray[np.uint8]) -> None:
    with pytest.raises(VocabularyError, match="longer than the text encoder reads"):
        odise_engine.segment(scene, Vocabulary(["a very long prompt " * 30]))


def test_threads_share_an_engine(odise_engine: OdiseEngine, windows: NDArray[np.uint8]) -> None:
    engine = beside(odise_engine, cache={"images": 1})
    images = [np.roll(windows[0], shift, axis=1) for shift in range(6)]
    alone = [engine.segment(image, WORDS) for image in images]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda image: engine.segment(image, WORDS), images))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.label_map, other.label_map) and np.array_equal(one.scores, other.scores)
