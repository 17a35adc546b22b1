"""What is resized on the device has the bytes that Pillow gives, whatever the sizes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ovdiff.models import device_images
from ovdiff.models.device_images import beside, can_resize, for_this_thread, resize_lanczos, to_device

CPU = torch.device("cpu")
SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


def on_the_device(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    with beside(CPU):
        return for_this_thread(resize_lanczos(to_device(image, CPU), size_hw)).numpy()


def by_pillow(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size_hw[::-1], Image.Resampling.LANCZOS))


@given(SIZES, SIZES, st.integers(0, 2**32 - 1), st.booleans())
@example((480, 640), (448, 597), 0, False)
@example((3, 700), (1, 448), 1, True)
@example((64, 64), (20, 42), 2, False)
@settings(max_examples=60, deadline=None)
def test_bytes_are_those_of_pillow(from_hw: tuple[int, int], to_hw: tuple[int, int], seed: int, extreme: bool) -> None:
    assume(can_resize(from_hw, to_hw))
    values = (0, 255) if extreme else range(256)  # extremes overshoot the range, and are cut
    image = np.random.default_rng(seed).choice(np.array(values, np.uint8), size=(*from_hw, 3))
    np.testing.assert_array_equal(on_the_device(image, to_hw), by_pillow(image, to_hw))


def test_an_image_that_is_read_only_or_backwards_is_copied() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)[::-1]
    image.setflags(write=False)
    np.testing.assert_array_equal(to_device(image, CPU).numpy(), image)


def test_without_pinned_memory_plain_memory_is_taken_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a container may lock little memory; this machine may have no device that memory is pinned for."""
    empty = torch.empty

    def unpinned(*args: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return empty(*args, **kwargs)

    monkeypatch.setattr(torch, "empty", unpinned)
    device_images._tell_once.cache_clear()
    for _ in range(2):
        assert device_images._host((5, 7, 3), is_pinned=True).shape == (5, 7, 3)
    (record,) = caplog.records
    assert "No pinned memory can be had (CUDA error: out of memory)" in record.message


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_model_that_loads_meanwhile_changes_nothing(dtype: torch.dtype) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        np.testing.assert_array_equal(on_the_device(image, (20, 30)), by_pillow(image, (20, 30)))
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("to_hw", [(448, 597), (448, 640), (480, 597), (480, 640), (960, 1280), (500, 700)])
def test_a_photograph_is_resized_on_the_device(to_hw: tuple[int, int]) -> None:
    assert can_resize((480, 640), to_hw)


def test_what_pillow_takes_the_other_way_round_is_left_to_it() -> None:
    assert can_resize((64, 64), (20, 42)) and not can_resize((64, 64), (19, 42)) and not can_resize((64, 64), (63, 65))
