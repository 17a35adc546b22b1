"""What runs on a CUDA device gives what the CPU gives, and leaves no features on it.

Command: ``pytest -m gpu tests/gpu``; about a minute. Where there is no CUDA device the same tests run on a CPU with the
options of a GPU, so that neither they nor the paths that a GPU takes rot.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from ovdiff.bank import Bank
from ovdiff.bank.prototypes import FeatureSpacePrototypes
from ovdiff.building.clustering import k_means
from ovdiff.building.generation.diffusion import DrawingBatch
from ovdiff.building.parts import BuildingParts
from ovdiff.engine import Engine
from ovdiff.models.devices import ON_A_GPU, OPTIONS, device_name
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.memory import RESERVE_MIB, CudaMemory, Work, batch_size
from ovdiff.presets import Preset
from ovdiff.presets.part_settings import MaskCutSettings
from ovdiff.proposals import Thresholder, make_source
from ovdiff.segmenting import image_segmenter
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.tinyworld.world import render, sample_scene
from ovdiff.vocabulary import Category, Vocabulary

CATEGORIES = (Category("boat"), Category("water"), Category("red fish"))
VOCABULARY = Vocabulary(CATEGORIES)
REFINED: dict[str, Any] = {"pamr": True, "pamr_iterations": 2}


LIKE_A_GPU = "cpu" + "".join(f"+{name}" for name in OPTIONS if getattr(ON_A_GPU, name))


@pytest.fixture(scope="module", params=[LIKE_A_GPU, pytest.param("cuda", marks=pytest.mark.gpu)], ids=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return str(request.param)


@pytest.fixture(scope="module")
def on_cpu(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = Engine(preset, Bank(tmp_path_factory.mktemp("cpu")))
    for category in CATEGORIES:
        engine.build(category)
    return engine


@pytest.fixture(scope="module")
def on_device(preset: Preset, device: str, on_cpu: Engine) -> Engine:
    """On the CPU's bank, so that segmenting is compared alone."""
    return Engine(preset, on_cpu.bank, device=device)


@pytest.fixture(autouse=True)
def exact_products(device: str) -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_features_are_the_cpu_s_and_do_not_stay_on_the_device(
    on_cpu: Engine, on_device: Engine, image: np.ndarray
) -> None:
    expected, found = on_cpu.encode(image), on_device.encode(image)
    for name, batches in expected.features.items():
        for theirs, ours in zip(batches, found.features[name], strict=True):
            assert ours.windows == theirs.windows and ours.features.device.type == "cpu"
            scale = float(theirs.features.abs().mean())
            torch.testing.assert_close(ours.features, theirs.features, rtol=1e-2, atol=1e-2 * scale)


@pytest.mark.parametrize("background", ["prototypes", "threshold", "none"])
@pytest.mark.parametrize("refine", [{}, REFINED], ids=["plain", "pamr"])
def test_masks_are_the_cpu_s(
    background: Literal["prototypes", "threshold", "none"],
    refine: dict[str, Any],
    on_cpu: Engine,
    device: str,
    image: np.ndarray,
) -> None:
    preset = on_cpu.preset
    chosen = replace(
        preset, matching=replace(preset.matching, background=background), refine=replace(preset.refine, **refine)
    )
    theirs, ours = (Engine(chosen, on_cpu.bank, device=where).segment(image, VOCABULARY) for where in ("cpu", device))
    assert (ours.label_map == theirs.label_map).mean() > 0.98
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=5e-3)


def test_the_same_features_give_the_same_labels(on_cpu: Engine, on_device: Engine, image: np.ndarray) -> None:
    encoded = replace(on_cpu.encode(image), embedding=None)  # no prefilter: its texts would come from two devices
    theirs, ours = on_cpu.label(encoded, VOCABULARY), on_device.label(encoded, VOCABULARY)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
    clear = theirs.margins > 1e-4
    np.testing.assert_array_equal(ours.label_map[clear], theirs.label_map[clear])


@pytest.mark.parametrize("clustering", ["scikit-learn", "torch"])
def test_a_category_is_built(clustering: str, preset: Preset, on_cpu: Engine, device: str, tmp_path: Path) -> None:
    chosen = replace(preset, prototypes=replace(preset.prototypes, clustering=clustering))  # type: ignore[arg-type]
    engine = Engine(chosen, Bank(tmp_path), device=device)
    engine.build(CATEGORIES[0])
    ours = engine.bank.load(engine.category_key(CATEGORIES[0])).spaces
    theirs = on_cpu.bank.load(on_cpu.category_key(CATEGORIES[0])).spaces
    for name, space in ours.items():
        assert _cosine_of_class(space, theirs[name]) > 0.98


def test_categories_whose_images_were_drawn_together_are_those_that_were_drawn_alone(
    preset: Preset, on_cpu: Engine, device: str, tmp_path: Path
) -> None:
    engine, stages = Engine(preset, Bank(tmp_path), device=device), list[str]()
    assert engine.categories_together > 1
    engine.draw_ahead(CATEGORIES, lambda category, stage, _done: stages.append(f"{category.name} {stage}"))
    assert set(stages) == {f"{category.name} generating" for category in CATEGORIES}
    for category in CATEGORIES:
        assert not engine.has(category) and engine.category_key(category) == on_cpu.category_key(category)
        told: list[float] = []
        engine.build(category, lambda stage, done, told=told: told.append(done if stage == "generating" else 0.0))  # type: ignore[misc]
        assert max(told) == 0.0  # Nothing was left to be drawn.
        ours, theirs = engine.support_set(category).images, on_cpu.support_set(category).images
        assert [item.seed for item in ours] == [item.seed for item in theirs]
        levels = [np.abs(a.image.astype(int) - b.image.astype(int)) for a, b in zip(ours, theirs, strict=True)]
        assert np.mean(levels) < 0.5 and np.max(levels) <= 8
        spaces = (each.bank.load(each.category_key(category)).spaces for each in (engine, on_cpu))
        found, expected = spaces
        assert all(_cosine_of_class(space, expected[name]) > 0.98 for name, space in found.items())


def test_recorded_steps_draw_the_same_images_with_the_same_attribution(preset: Preset, device: str) -> None:
    if device != "cuda":
        pytest.skip("there are CUDA graphs on a CUDA device alone; tests/ovdiff/building/generation has a stand-in")
    plain, recorded = (BuildingParts(preset, LoadedModels(name)).generator for name in (device, f"{device}+graphs"))
    for phrases in (("boat",), ("water",), ("red fish",), ("boat", "red fish"), ("water", "boat"), ("boat", "water")):
        batches = [DrawingBatch(phrase, (0, 1)) for phrase in phrases]
        for ours, theirs in zip(*(each.generate_together(batches) for each in (recorded, plain)), strict=True):
            levels = np.abs(ours.images.astype(int) - theirs.images.astype(int))
            assert levels.mean() < 0.5 and levels.max() <= 8
            np.testing.assert_allclose(ours.maps, theirs.maps, rtol=1e-2, atol=1e-4)
    graphs = recorded._graphs
    assert graphs is not None and len(graphs._recorded) == 2 and graphs.held_mib() > 0
    graphs.let_go()
    assert graphs.held_mib() == 0


def _cosine_of_class(first: FeatureSpacePrototypes, second: FeatureSpacePrototypes) -> float:
    one, other = (space.foreground.of_kinds(("class",)).vectors[0] for space in (first, second))
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_builds_and_segments(
    dtype: Any, preset: Preset, device: str, tmp_path: Path, image: np.ndarray
) -> None:
    if (device_name(device), dtype) == ("cpu", "float16"):
        pytest.skip("a CPU has float16 only in slow emulation")
    models = preset.models
    halves = {name: replace(getattr(models, name), dtype=dtype) for name in ("generator", "clip", "dino")}
    halves["stable_diffusion"] = halves["generator"]
    engine = Engine(replace(preset, models=replace(models, **halves)), Bank(tmp_path), device=device)
    engine.build(CATEGORIES[0])
    found = engine.segment(image, Vocabulary(CATEGORIES[:1]))
    stored = torch.float16 if dtype == "float16" else torch.float32
    assert all(b.features.dtype == stored for batches in engine.encode(image).features.values() for b in batches)
    assert np.isfinite(found.scores).all() and np.isfinite(found.margins).all()


def test_images_that_are_segmented_together_are_those_that_are_segmented_alone(
    on_cpu: Engine, on_device: Engine, image: np.ndarray
) -> None:
    images = [image, np.ascontiguousarray(image[:60]), np.ascontiguousarray(image[::-1])]
    prepared = [on_device.prepared(each) for each in images]
    expected = [on_cpu.segment(each, VOCABULARY) for each in images]
    for found in (
        on_device.segment_together(images, VOCABULARY),
        on_device.segment_together(images, VOCABULARY, prepared),
    ):
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours.label_map == theirs.label_map).mean() > 0.98
            np.testing.assert_allclose(ours.scores, theirs.scores, atol=5e-3)


def test_encodings_of_images_that_are_segmented_together_are_kept_where_that_is_asked_for(
    on_cpu: Engine, device: str, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(on_cpu.preset, on_cpu.bank, device=device)
    images = [np.ascontiguousarray(image[::-1, ::-1]), np.ascontiguousarray(image[:, ::-1])]
    encoded: list[int] = []
    encode = image_segmenter.encode_images
    monkeypatch.setattr(
        image_segmenter, "encode_images", lambda *given: encoded.append(len(given[1])) or encode(*given)
    )
    monkeypatch.setattr(image_segmenter, "encode_image", lambda *_: pytest.fail("encoded again"))
    for keep, times in ((False, 2), (True, 4), (True, 4)):
        found = engine.segment_together(images, VOCABULARY, [engine.prepared(each, keep=keep) for each in images])
        assert sum(encoded) == times
    again = engine.segment(images[1], VOCABULARY)
    np.testing.assert_array_equal(again.label_map, found[1].label_map)
    assert all(each.features.device.type == "cpu" for each in engine.encode(images[0]).features["clip"])


def test_images_are_prepared_on_the_device_to_the_bytes_of_the_cpu(on_cpu: Engine, on_device: Engine) -> None:
    """By several threads at once, which share a stream on CUDA."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size_hw, 3), dtype=np.uint8) for size_hw in ((80, 100), (300, 40), (700, 900))]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(on_device.prepared, images * 4))
    for ours, theirs in zip(found, [on_cpu.prepared(image) for image in images] * 4, strict=True):
        np.testing.assert_array_equal(ours.working, theirs.working)
        assert theirs.there is None and ours.there is not None
        np.testing.assert_array_equal(ours.there.cpu().numpy(), theirs.working)


class Leaving(TorchFunctionMode):
    """Notes the shapes of feature maps that are brought to the CPU from another device."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.Tensor.cpu, torch.Tensor.to, torch.Tensor.numpy) and args[0].device.type != "cpu":
            here = not isinstance(result, torch.Tensor) or result.device.type == "cpu"
            if here and args[0].ndim == 4:
                self.shapes.append(tuple(args[0].shape))
        return result


def test_features_leave_the_device_only_where_they_are_kept(
    on_cpu: Engine, device: str, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = on_cpu.preset
    engine = Engine(
        replace(preset, cache=replace(preset.cache, features_mib=0, disk_mib=0)), on_cpu.bank, device=device
    )
    engine.segment(image, VOCABULARY)  # everything is loaded
    left: list[EncodedImage] = []
    leave = EncodedImage.on_the_cpu
    monkeypatch.setattr(EncodedImage, "on_the_cpu", lambda encoded: left.append(encoded) or leave(encoded))
    with Leaving() as leaving:
        engine.segment(image, VOCABULARY)
        engine.segment_together([image] * 2, VOCABULARY)
    assert not left and not leaving.shapes
    with Leaving() as leaving:
        engine.segment_together([image], VOCABULARY, [engine.prepared(image, keep=True)])
    assert len(left) == 1 and bool(leaving.shapes) == (device == "cuda")


def test_masks_of_maskcut_are_the_cpu_s(preset: Preset, device: str) -> None:
    scene = render(sample_scene(3, "test"), 64).image
    chosen = replace(
        preset, proposals=replace(preset.proposals, source="maskcut", maskcut=MaskCutSettings(input_px=64, tau=0.3))
    )
    theirs, ours = (make_source(chosen, LoadedModels(where)) for where in ("cpu", device))
    assert not isinstance(theirs, Thresholder) and not isinstance(ours, Thresholder)
    expected, found = theirs.propose(scene), ours.propose(scene)
    assert len(expected) and found.shape == expected.shape
    assert (found == expected).mean() > 0.99


def test_k_means_is_the_cpu_s_and_repeats_itself(device: str) -> None:
    features = torch.randn(3000, 64, generator=torch.Generator().manual_seed(0))
    runs = [k_means(features, 8, seed=0, iterations=300, device=torch.device(device_name(device))) for _ in range(2)]
    theirs = k_means(features, 8, seed=0, iterations=300, device=torch.device("cpu"))
    assert torch.equal(*runs)
    inertias = [float(torch.cdist(features, centres).min(dim=1).values.square().sum()) for centres in (runs[0], theirs)]
    assert inertias[0] == pytest.approx(inertias[1], rel=0.02)


def test_encoding_leaves_only_weights_on_the_device(on_device: Engine, device: str, image: np.ndarray) -> None:
    if device != "cuda":
        pytest.skip("a CPU does not count what is on it")
    on_device.segment(image, VOCABULARY)  # everything is loaded
    before = torch.cuda.memory_allocated()
    for seed in range(4):
        on_device.segment(np.random.default_rng(seed).integers(0, 256, (60, 90, 3), dtype=np.uint8), VOCABULARY)
    assert torch.cuda.memory_allocated() - before < 1 << 20


def test_the_device_s_memory_is_known(device: str) -> None:
    where = torch.device(device_name(device))
    assert batch_size(where, Work("a test", wanted=4, mib_per_item=1, budget_gib=64.0)) == 4
    if device == "cuda":
        memory = CudaMemory(where)
        assert memory.free_mib() > 0 and memory.used_mib() >= 0
        room = (memory.used_mib() + RESERVE_MIB + 2.5) / 1024
        assert batch_size(where, Work("a test", wanted=4, mib_per_item=1, budget_gib=room)) == 2
