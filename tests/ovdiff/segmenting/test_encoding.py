from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ovdiff.errors import WeightsError
from ovdiff.images import image_key
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.needs import feature_dtype
from ovdiff.segmenting.encoding import (
    EncodedImage,
    EncodingCache,
    WindowFeatures,
    encode_image,
    encode_images,
    group_by_size,
)
from ovdiff.segmenting.encoding_store import encoding_to_bytes
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.prepared import prepare
from ovdiff.segmenting.windows import Window, plan_windows, working_size_hw


def _encoded(kib: int) -> EncodedImage:
    features = WindowFeatures((Window(0, 0, 1, 1, 1),), torch.zeros(1, 1, 1, kib * 256))
    return EncodedImage((30, 40), np.zeros((0, 0, 3), np.uint8), {"clip": (features,)}, None)


def test_windows_of_one_size_go_together() -> None:
    small = [Window(0, left, 4, 4, 1) for left in range(5)]
    large = Window(0, 0, 8, 8, 2)
    assert group_by_size([small[0], large, *small[1:]]) == [tuple(small), (large,)]


def test_every_window_has_features_of_every_voter(preset: Preset, image: np.ndarray) -> None:
    encoded = encode_image(SegmentingParts(preset, LoadedModels()), image)
    windows = plan_windows(encoded.working.shape[:2], preset.windows)
    assert encoded.working.shape == (128, 160, 3)
    assert set(encoded.features) == {"stable_diffusion", "clip", "dino"}
    for batches in encoded.features.values():
        assert sorted(window for batch in batches for window in batch.windows) == sorted(windows)
        assert all(len(batch.features) == len(batch.windows) for batch in batches)
    assert encoded.embedding is not None


def test_windows_of_several_images_share_batches_and_each_image_gets_its_own(
    preset: Preset, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = SegmentingParts(preset, LoadedModels())
    images = [image, np.ascontiguousarray(image[::-1]), np.ascontiguousarray(image[:60])]
    alone = [encode_image(parts, each) for each in images]
    sizes: list[int] = []
    extract = parts.extractors.extract

    def counted(name: str, crops: np.ndarray, purpose: Any) -> torch.Tensor:
        sizes.append(len(crops))
        return extract(name, crops, purpose)

    monkeypatch.setattr(parts.extractors, "extract", counted)
    together = encode_images(parts, images)
    windows = sum(len(plan_windows(each.working.shape[:2], preset.windows)) for each in alone)
    assert sum(sizes) == 3 * windows and max(sizes) > 6  # an image has six windows of its most frequent size
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.size_hw == theirs.size_hw and np.array_equal(ours.working, theirs.working)
        for name, batches in theirs.features.items():
            expected = {window: rows for b in batches for window, rows in zip(b.windows, b.features, strict=True)}
            found = {
                window: rows for b in ours.features[name] for window, rows in zip(b.windows, b.features, strict=True)
            }
            assert found.keys() == expected.keys()
            for window, rows in found.items():
                torch.testing.assert_close(rows, expected[window], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size_hw", [(80, 100), (128, 160), (300, 40)])
def test_images_that_are_resized_and_cut_on_the_device_have_the_same_features_to_the_byte(
    size_hw: tuple[int, int], preset: Preset
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    here, there = (SegmentingParts(preset, LoadedModels(device)) for device in ("cpu", "cpu+device_images"))
    assert prepare(here, image).there is None
    prepared = prepare(there, image, keep=True)
    assert prepared.there is not None and np.array_equal(prepared.there.numpy(), prepared.working)
    assert prepared.key == image_key(image)
    expected, found = encode_image(here, image), encode_images(there, [image], [prepared])[0]
    assert encoding_to_bytes(found) == encoding_to_bytes(expected)


def test_an_image_for_which_the_device_has_no_room_is_prepared_on_the_cpu(
    preset: Preset, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("full")

    parts = SegmentingParts(preset, LoadedModels("cpu+device_images"))
    first = prepare(parts, image)
    with monkeypatch.context() as patch:
        patch.setattr("ovdiff.segmenting.prepared.to_device", full)
        second = prepare(parts, image)
    assert second.there is None and np.array_equal(second.working, first.working)
    mixed = encode_images(parts, [image, image], [first, second])
    assert encoding_to_bytes(mixed[0]) == encoding_to_bytes(mixed[1])


def test_an_extractor_that_takes_arrays_alone_is_given_arrays(
    preset: Preset, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OfArrays:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def extract(self, images: Any, purpose: Any) -> torch.Tensor:
            assert isinstance(images, np.ndarray)
            found: torch.Tensor = self._inner.extract(images, purpose)
            return found

    parts = SegmentingParts(preset, LoadedModels("cpu+device_images"))
    expected = encode_image(parts, image)
    for name in preset.active_extractors():
        parts.extractors._made[name] = OfArrays(parts.extractors[name])
    assert encoding_to_bytes(encode_image(parts, image)) == encoding_to_bytes(expected)


def test_cache_lets_go_of_the_least_recently_used_within_its_bound() -> None:
    cache = EncodingCache(max_mib=1)
    cache.put("a", _encoded(kib=500))
    cache.put("b", _encoded(kib=500))
    assert cache.get("a") is not None
    cache.put("c", _encoded(kib=500))
    assert cache.get("b") is None and cache.get("a") is not None and cache.get("c") is not None


def test_an_image_larger_than_the_cache_is_not_kept_evicts_nothing_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = EncodingCache(max_mib=1)
    cache.put("a", _encoded(kib=500))
    for name in ("large", "another"):
        cache.put(name, _encoded(kib=2 * 1024 + 1))
        assert cache.get(name) is None
    assert cache.get("a") is not None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "40 x 30 px take 3 MiB" in record.message and "Set cache.features_mib to 3 or more" in record.message


def test_a_cache_that_is_off_keeps_nothing_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    cache = EncodingCache(max_mib=0)
    cache.put("a", _encoded(kib=500))
    assert cache.get("a") is None and not caplog.records


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_a_full_size_image_fits_the_preset_s_cache(name: str) -> None:
    """A 4:3 image at full size: bytes of every window's feature grid, by arithmetic (A.11, A.12)."""
    preset = load_preset(name)
    windows = plan_windows(working_size_hw((1200, 1600), preset.windows), preset.windows)

    def cells(extractor: str, window: Window) -> int:
        if extractor == "dino":  # patches of 8 px at the window's own size
            return (window.height // 8) * (window.width // 8)
        return {"stable_diffusion": 64 * 64, "clip": 28 * 28, "dinov2": 37 * 37}[extractor]

    depths = {"stable_diffusion": 6400, "clip": 768, "dino": 768, "dinov2": 768}
    total = sum(
        cells(extractor, window) * depths[extractor] * {"float16": 2, "float32": 4}[feature_dtype(preset, extractor)]
        for extractor in preset.active_extractors()
        for window in windows
    )
    assert total < preset.cache.features_mib << 20


class Fixed:
    """An extractor that always says the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def extract(self, images: np.ndarray, purpose: str) -> torch.Tensor:
        return torch.full((len(images), 4, 2, 2), self.value)


def _parts_with(preset: Preset, dtype: Any, value: float) -> SegmentingParts:
    chosen = replace(
        preset,
        models=replace(preset.models, dino=replace(preset.models.dino, dtype=dtype)),
        matching=replace(preset.matching, extractors=("dino",)),
        prefilter=replace(preset.prefilter, enabled=False),
    )
    parts = SegmentingParts(chosen, LoadedModels())
    parts.extractors._made["dino"] = Fixed(value)
    return parts


@pytest.mark.parametrize(
    ("dtype", "stored"), [("float16", torch.float16), ("bfloat16", torch.float32), ("float32", torch.float32)]
)
def test_features_of_half_precision_are_kept_in_half_precision(
    preset: Preset, image: np.ndarray, dtype: str, stored: torch.dtype
) -> None:
    encoded = encode_image(_parts_with(preset, dtype, 0.1), image)
    assert all(batch.features.dtype == stored for batch in encoded.features["dino"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("dtype", "advice"), [("float16", "'bfloat16' or 'float32'"), ("float32", "fetch them again")])
def test_features_that_are_not_finite_are_an_error_and_not_nonsense(
    preset: Preset, image: np.ndarray, dtype: str, advice: str, value: float
) -> None:
    with pytest.raises(WeightsError, match=rf"Features of dino, computed in {dtype}, are not finite.*{advice}"):
        encode_image(_parts_with(preset, dtype, value), image)


def test_an_embedding_that_is_not_finite_is_an_error(
    preset: Preset, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovdiff.segmenting.encoding.embed_image", lambda *_: torch.full((8,), torch.nan))
    alone = replace(preset, matching=replace(preset.matching, extractors=("clip",)))
    with pytest.raises(WeightsError, match="Features of clip"):
        encode_image(SegmentingParts(alone, LoadedModels()), image)


def test_windows_that_do_not_fit_into_memory_at_once_are_encoded_in_halves(preset: Preset, image: np.ndarray) -> None:
    class Small(Fixed):
        def extract(self, images: np.ndarray, purpose: str) -> torch.Tensor:
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().extract(images, purpose)

    parts = _parts_with(preset, "float32", 1.0)
    parts.extractors._made["dino"] = Small(1.0)
    encoded = encode_image(parts, image)
    windows = [window for batch in encoded.features["dino"] for window in batch.windows]
    assert sorted(windows) == sorted(plan_windows(encoded.working.shape[:2], preset.windows))


def test_a_square_image_s_whole_window_is_computed_once(preset: Preset) -> None:
    encoded = encode_image(_parts_with(preset, "float32", 1.0), np.zeros((50, 50, 3), np.uint8))
    windows = [window for batch in encoded.features["dino"] for window in batch.windows]
    assert windows.count(Window(0, 0, 128, 128, weight=2)) == 1 and len(set(windows)) == len(windows)


def test_key_is_the_pixels_and_the_shape() -> None:
    flat = np.zeros((2, 6, 3), np.uint8)
    assert image_key(flat) == image_key(flat.copy())
    assert image_key(flat) != image_key(flat.reshape(6, 2, 3))
    assert image_key(flat) != image_key(flat + np.uint8(1))
    assert image_key(flat[:, ::2]) == image_key(np.ascontiguousarray(flat[:, ::2]))
