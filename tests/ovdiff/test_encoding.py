import numpy as np
import torch

from ovdiff.encoding import EncodedImage, EncodingCache, WindowFeatures, batch_windows, encode_image, image_key
from ovdiff.parts import Parts
from ovdiff.presets import Preset
from ovdiff.windows import Window, plan_windows


def _encoded(cells: int) -> EncodedImage:
    features = WindowFeatures((Window(0, 0, 1, 1, 1),), torch.zeros(1, 1, 1, cells))
    return EncodedImage((1, 1), np.zeros((0, 0, 3), np.uint8), {"clip": (features,)}, None)


def test_windows_of_one_size_share_a_batch_up_to_the_limit() -> None:
    small = [Window(0, left, 4, 4, 1) for left in range(5)]
    large = [Window(0, 0, 8, 8, 2)]
    batches = batch_windows([small[0], *large, *small[1:]], 3)
    assert [len(batch) for batch in batches] == [3, 2, 1]
    assert sorted(window for batch in batches for window in batch) == sorted(small + large)


def test_every_window_has_features_of_every_voter(preset: Preset, image: np.ndarray) -> None:
    encoded = encode_image(Parts(preset, "cpu"), image)
    windows = plan_windows(encoded.working.shape[:2], preset.windows)
    assert encoded.working.shape == (128, 160, 3)
    assert set(encoded.features) == {"stable_diffusion", "clip", "dino"}
    for batches in encoded.features.values():
        assert sorted(window for batch in batches for window in batch.windows) == sorted(windows)
        assert all(len(batch.features) == len(batch.windows) for batch in batches)
    assert encoded.embedding is not None


def test_cache_lets_go_of_the_least_recently_used_within_its_bound() -> None:
    cache = EncodingCache(max_bytes=100)
    cache.put("a", _encoded(12))  # 48 bytes each
    cache.put("b", _encoded(12))
    assert cache.get("a") is not None
    cache.put("c", _encoded(12))
    assert cache.get("b") is None and cache.get("a") is not None and cache.get("c") is not None


def test_an_image_larger_than_the_cache_is_not_kept_and_evicts_nothing() -> None:
    cache = EncodingCache(max_bytes=100)
    cache.put("a", _encoded(12))
    cache.put("large", _encoded(26))
    assert cache.get("large") is None and cache.get("a") is not None


def test_key_is_the_pixels_and_the_shape() -> None:
    flat = np.zeros((2, 6, 3), np.uint8)
    assert image_key(flat) == image_key(flat.copy())
    assert image_key(flat) != image_key(flat.reshape(6, 2, 3))
    assert image_key(flat) != image_key(flat + np.uint8(1))
    assert image_key(flat[:, ::2]) == image_key(np.ascontiguousarray(flat[:, ::2]))
