"""What ODISE computes on a CUDA device is what the CPU computes, and nothing of an image stays on the device.

Command: ``pytest -m gpu tests/gpu``; about a minute. Where there is no CUDA device the same tests run on the CPU alone,
so that they do not rot: each then compares two engines whose models were loaded apart.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank import Bank
from ovdiff.engines import load_any_preset
from ovdiff.models.loaded import LoadedModels
from ovdiff.odise.captioner import ImplicitCaptioner
from ovdiff.odise.encoding import WindowEncoder, WindowGrid
from ovdiff.odise.engine import EncodedMasks, OdiseEngine, make_engine
from ovdiff.odise.head_file import HeadCard, architecture, write_head
from ovdiff.odise.naming import Label
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.feature_store import FeatureStore, View
from ovdiff.odise.training.trainer import Trainer
from ovdiff.tinyworld.world import NAMES, render, sample_scene
from ovdiff.vocabulary import Category, Vocabulary

WORDS = Vocabulary([Category("car", kind="thing"), Category("sky", kind="stuff"), Category("fish", kind="thing")])
LABELS = [Label(name, (name,), False) for name in NAMES[:4]]
Image = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def parts(odise_preset: OdisePreset, device: str) -> OdiseParts:
    """The models of the random preset on the device, loaded for this module alone."""
    made = OdiseParts(odise_preset, LoadedModels(device))
    _ = made.encoder  # Weights that an engine loads while it infers cannot be trained through.
    return made


@pytest.fixture(scope="module")
def on_device(odise_engine: OdiseEngine, parts: OdiseParts) -> OdiseEngine:
    """The engine of the CPU's preset and head on the device."""
    return OdiseEngine(odise_engine.preset, models=parts.models)


@pytest.fixture(scope="module")
def scene(windows: Image) -> Image:
    return np.ascontiguousarray(windows[0][:50])


def close(found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().mean())
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2 * scale)


def test_an_encoding_is_the_cpu_s_and_is_kept_on_the_cpu(
    odise_engine: OdiseEngine, on_device: OdiseEngine, scene: Image
) -> None:
    expected, found = odise_engine.encode(scene), on_device.encode(scene)
    assert found is not expected and found is on_device.encode(scene) and found.size_hw == expected.size_hw
    for name in ("logits", "embeddings", "regions"):
        assert getattr(found, name).device.type == "cpu"
        close(getattr(found, name), getattr(expected, name))


def test_labels_are_the_cpu_s(odise_engine: OdiseEngine, on_device: OdiseEngine, scene: Image) -> None:
    expected, found = odise_engine.segment(scene, WORDS), on_device.segment(scene, WORDS)
    np.testing.assert_allclose(found.scores, expected.scores, atol=5e-3)
    assert (found.label_map == expected.label_map)[expected.margins > 1e-2].all()


@pytest.fixture
def crowded(odise_engine: OdiseEngine) -> EncodedMasks:
    """Encoded masks that a random head does not find: four squares, whose embeddings differ clearly."""
    logits = torch.full((4, 16, 16), -8.0)
    for number in range(4):
        row, column = divmod(number, 2)
        logits[number, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 8.0 - number
    preset, random = odise_engine.preset, torch.Generator().manual_seed(3)
    embeddings = torch.randn(4, preset.classifier.embedding, generator=random)
    return EncodedMasks((40, 56), logits, embeddings, None, None)


def test_segments_are_the_cpu_s(odise_engine: OdiseEngine, on_device: OdiseEngine, crowded: EncodedMasks) -> None:
    expected, found = (engine.panoptic(crowded, WORDS) for engine in (odise_engine, on_device))
    assert expected.segments and torch.equal(found.ids, expected.ids)
    assert [each.label for each in found.segments] == [each.label for each in expected.segments]
    assert [each.score for each in found.segments] == pytest.approx([each.score for each in expected.segments], 1e-3)


def test_instances_are_the_cpu_s(odise_engine: OdiseEngine, on_device: OdiseEngine, crowded: EncodedMasks) -> None:
    expected, found = (engine.instances(crowded, WORDS) for engine in (odise_engine, on_device))
    assert {each.device.type for each in found} == {"cpu"} and len(expected.labels) == 8  # four masks, two things
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-3, atol=1e-5)
    assert torch.equal(found.labels, expected.labels) and torch.equal(found.masks, expected.masks)


def test_objects_are_the_cpu_s(odise_engine: OdiseEngine, on_device: OdiseEngine, scene: Image) -> None:
    found = on_device.with_instances(scene, on_device.segment(scene, WORDS), WORDS)
    expected = odise_engine.with_instances(scene, odise_engine.segment(scene, WORDS), WORDS)
    assert found.instance_map is not None and expected.instance_map is not None
    assert (found.instance_map == expected.instance_map).mean() > 0.98
    assert (found.label_map == expected.label_map).mean() > 0.98


class SmallMemory:
    """Encodes as the real encoder does; more than so many windows at once ask the device for memory it lacks."""

    def __init__(self, encoder: WindowEncoder, room: int, device: str) -> None:
        self.taps, self.asked = encoder.taps, list[int]()
        self._encoder, self._room, self._device = encoder, room, device

    def encode(self, windows: Image, captioner: ImplicitCaptioner | None) -> list[Tensor]:
        self.asked.append(len(windows))
        if len(windows) > self._room:
            if self._device == "cpu":  # A CPU's allocator raises a plain RuntimeError.
                raise torch.OutOfMemoryError("fake")
            torch.empty(1 << 50, dtype=torch.uint8, device=self._device)
        return self._encoder.encode(windows, captioner)


def test_a_batch_of_windows_that_does_not_fit_is_halved(parts: OdiseParts, device: str, tmp_path: Path) -> None:
    before, head = parts.preset, parts.head[0]
    preset = replace(
        before,
        models=replace(before.models, head=replace(before.models.head, source=str(tmp_path))),
        taps=replace(before.taps, windows="sliding", window_px=64, short_side_px=128, batch_size=4),
    )
    write_head(tmp_path, head.state_dict(), HeadCard(parts.head[1].labels, architecture(preset), {}))
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    found: list[Tensor] = []
    asked: list[list[int]] = []
    for room in (4, 1):
        engine = OdiseEngine(preset, models=parts.models)
        memory = SmallMemory(engine._parts.encoder, room, device)
        engine._parts.__dict__["encoder"] = memory
        found.append(engine.encode(image).logits)
        asked.append(memory.asked)
    assert asked == [[4], [4, 2, 1, 1, 2, 1, 1]]
    close(found[1], found[0])


def _view(number: int) -> View:
    segments = np.zeros((32, 32), np.uint8)
    segments[:16], segments[16:, :20] = 1, 2
    return View(
        render(sample_scene(number), 64).image[None], segments, [number % 4, (number + 1) % 4], [], image=number
    )


Cast = Literal["none", "bfloat16", "float16"]


def _figures(
    parts: OdiseParts, store: FeatureStore, cast: Cast, steps: int, checkpoint: Path
) -> Sequence[dict[str, float]]:
    # Every step sees all views unmirrored, and losses of whole masks, so that steps differ by the weights alone.
    plan = replace(parts.preset.training, autocast=cast, batch=2, mirror=False, warmup=1, steps=steps, ema=0.0)
    torch.manual_seed(0)
    head = parts.new_head().to(parts.models.device)
    texts = parts.label_texts(LABELS, ("a {category}",))
    preset, grid, found = replace(parts.preset, training=plan), WindowGrid((64, 64), 1, 1, 64), list[dict[str, float]]()
    learns = Trainer(preset, head, parts.encoder, store, grid, texts, None, checkpoint)
    learns.run(steps, lambda _, figures: found.append(figures))
    return found


def test_a_step_in_half_precision_with_a_scaled_gradient_is_one_in_float32(
    parts: OdiseParts, device: str, tmp_path: Path
) -> None:
    store = FeatureStore(tmp_path / "features")
    store.fill(_view, 2, parts.encoder, lambda _: None)
    whole = _figures(parts, store, "none", 3, tmp_path / "whole.pt")
    # A CPU needs no scaler, and has float16 only in slow emulation.
    cast: Cast = "float16" if device == "cuda" else "bfloat16"
    half = _figures(parts, store, cast, 20 if device == "cuda" else 3, tmp_path / "half.pt")
    # The scaler begins high and leaves out steps whose gradient is too large for float16; no weight moves meanwhile.
    begun = next(index for index, each in enumerate(half) if math.isfinite(each["gradient"]))
    assert begun < 17
    assert half[begun]["loss"] == pytest.approx(whole[0]["loss"], rel=0.02)
    assert half[begun]["gradient"] == pytest.approx(whole[0]["gradient"], rel=0.1)
    assert half[begun + 2]["loss"] == pytest.approx(whole[2]["loss"], rel=0.1)
    assert half[begun]["loss"] != whole[0]["loss"]


def test_the_embedded_head_segments_a_scene(device: str, tmp_path: Path) -> None:
    preset, drawn = load_any_preset("odise_tinyworld"), render(sample_scene(3, "test"), 128)
    assert isinstance(preset, OdisePreset)
    vocabulary = Vocabulary(list(NAMES))
    ours, theirs = (make_engine(preset, Bank(tmp_path), where) for where in (device, "cpu"))
    found, expected = (engine.segment(drawn.image, vocabulary) for engine in (ours, theirs))
    assert (found.label_map == expected.label_map).mean() > 0.95  # The frozen models are bfloat16.
    assert len(np.unique(found.label_map)) > 2
    objects = ours.with_instances(drawn.image, found, vocabulary)
    assert objects.instance_map is not None and objects.instance_map.max() >= 2
