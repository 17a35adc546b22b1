"""The brush codec: round trips, the same bytes as label-studio-sdk's, and broken streams."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from label_studio_sdk.converter import brush as sdk

from converters.encodings import brush
from converters.encodings.brush import (
    ALPHA_THRESHOLD,
    alpha_to_brush_rle,
    brush_rle_to_alpha,
    brush_rle_to_mask,
    mask_to_brush_rle,
)
from converters.errors import BrushRLEError, MaskError

sizes = array_shapes(min_dims=2, max_dims=2, max_side=48)
masks = arrays(np.bool_, sizes)
strokes = arrays(np.uint8, sizes)
soft_strokes = arrays(np.uint8, sizes, elements=st.sampled_from([0, 1, 127, 128, 191, 255]))

CHECKERBOARD = np.indices((33, 47)).sum(axis=0) % 2 == 0
EMPTY, FULL = np.zeros((480, 640), dtype=np.bool_), np.ones((480, 640), dtype=np.bool_)
ONE_PIXEL = np.pad(np.ones((1, 1), dtype=np.bool_), ((7, 8), (300, 5)))


def write_stream(
    value_count: int, tokens: list[tuple[bool, list[int]]], word_size: int, length_sizes: list[int]
) -> bytes:
    """Write a stream naively, from the format's description: (is run, values) with runs as [value] * n."""
    bits = f"{value_count:032b}{word_size - 1:05b}" + "".join(f"{size - 1:04b}" for size in length_sizes)
    for is_run, values in tokens:
        field = next(i for i, size in enumerate(length_sizes) if len(values) <= 1 << size)
        bits += f"{is_run:b}{field:02b}{len(values) - 1:0{length_sizes[field]}b}"
        bits += "".join(f"{value:0{word_size}b}" for value in (values[:1] if is_run else values))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@st.composite
def foreign_streams(draw: st.DrawFn) -> tuple[bytes, np.ndarray]:
    """Streams with literals and runs of any length, in any word and length sizes, and their alpha."""
    word_size = draw(st.integers(1, 32))
    length_sizes = [*sorted(draw(st.lists(st.integers(1, 16), min_size=3, max_size=3))), 16]
    height, width = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    values: list[int] = []
    tokens: list[tuple[bool, list[int]]] = []
    while len(values) < height * width * 4:
        length = draw(st.integers(1, min(40, height * width * 4 - len(values))))
        words = st.integers(0, 2**word_size - 1)
        is_run = draw(st.booleans())
        token = [draw(words)] * length if is_run else draw(st.lists(words, min_size=length, max_size=length))
        tokens.append((is_run, token))
        values += token
    alpha = np.minimum(np.array(values, dtype=np.int64)[3::4], 255).reshape(height, width)
    return write_stream(len(values), tokens, word_size, length_sizes), alpha.astype(np.uint8)


@given(masks)
@example(EMPTY)
@example(FULL)
@example(ONE_PIXEL)
@example(CHECKERBOARD)
@example(~ONE_PIXEL)
def test_a_mask_survives(mask: np.ndarray) -> None:
    assert np.array_equal(brush_rle_to_mask(mask_to_brush_rle(mask), mask.shape), mask)


@given(masks)
@example(EMPTY)
@example(FULL)
@example(ONE_PIXEL)
@example(CHECKERBOARD)
def test_a_mask_is_written_as_label_studio_sdk_writes_it(mask: np.ndarray) -> None:
    theirs = sdk.mask2rle(mask.astype(np.uint8) * 255)
    ours = mask_to_brush_rle(mask)
    assert theirs in (ours, [*ours, 0])  # the SDK adds a spare byte when the stream ends on a whole one


@given(st.one_of(strokes, soft_strokes))
def test_soft_strokes_are_written_as_label_studio_sdk_writes_them(alpha: np.ndarray) -> None:
    ours = alpha_to_brush_rle(alpha)
    assert sdk.mask2rle(alpha) in (ours, [*ours, 0])
    assert np.array_equal(brush_rle_to_alpha(ours, alpha.shape), alpha)


@given(st.one_of(strokes, soft_strokes))
def test_soft_strokes_are_cut_at_alpha_128(alpha: np.ndarray) -> None:
    assert np.array_equal(brush_rle_to_mask(sdk.mask2rle(alpha), alpha.shape), alpha >= ALPHA_THRESHOLD)


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(4))))
def test_anti_aliased_rgba_is_read_as_label_studio_sdk_reads_it(rgba: np.ndarray) -> None:
    rle = sdk.encode_rle(rgba.ravel())  # single values become literals
    theirs = sdk.decode_rle(rle).reshape(rgba.shape)[:, :, 3]
    assert np.array_equal(brush_rle_to_alpha(rle, rgba.shape[:2]), theirs)


@given(foreign_streams())
def test_literals_and_all_word_sizes_are_read(stream: tuple[bytes, np.ndarray]) -> None:
    data, alpha = stream
    assert np.array_equal(brush_rle_to_alpha(list(data), alpha.shape), alpha)


@given(masks, st.integers(0, 200))
def test_bytes_after_the_last_value_are_ignored(mask: np.ndarray, extra: int) -> None:
    assert np.array_equal(brush_rle_to_mask(mask_to_brush_rle(mask) + [extra] * 9, mask.shape), mask)


def test_runs_longer_than_16_bits_and_streams_longer_than_a_block_survive() -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((400, 500)) < 0.5  # 160 KB of stream: several blocks, tokens across their borders
    mask = np.vstack((np.zeros((300, 500), dtype=np.bool_), noise, np.ones((301, 500), dtype=np.bool_)))
    rle = mask_to_brush_rle(mask)
    assert len(rle) > 3 * 65536 // 2
    assert np.array_equal(brush_rle_to_mask(rle, mask.shape), mask)
    assert np.array_equal(sdk.decode_rle(rle)[3::4].reshape(mask.shape) > 0, mask)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(masks, st.integers(1, 20))
def test_blocks_of_runs_join_without_a_seam(monkeypatch: pytest.MonkeyPatch, mask: np.ndarray, block: int) -> None:
    whole = mask_to_brush_rle(mask)
    with monkeypatch.context() as patch:
        patch.setattr(brush, "_BLOCK_RUNS", block)
        assert mask_to_brush_rle(mask) == whole


def test_the_header_is_label_studios() -> None:
    assert mask_to_brush_rle(EMPTY)[:6] == [0, 18, 192, 0, 57, 27]


@pytest.mark.parametrize("kind", [list, tuple, bytes, bytearray, np.array])
def test_any_sequence_of_bytes_is_read(kind: type) -> None:
    assert np.array_equal(brush_rle_to_mask(kind(mask_to_brush_rle(ONE_PIXEL)), ONE_PIXEL.shape), ONE_PIXEL)


def test_inputs_are_left_alone() -> None:
    mask = CHECKERBOARD.copy()
    mask.flags.writeable = False
    mask_to_brush_rle(mask[:, ::-1].T)
    rle = mask_to_brush_rle(mask)
    brush_rle_to_mask(copy := list(rle), mask.shape)
    assert copy == rle


BROKEN = [
    ([], "expected a header of 7 bytes, got 0 bytes: the list is empty or cut short"),
    ([0, 18, 192], "expected a header of 7 bytes, got 3 bytes"),
    (
        mask_to_brush_rle(EMPTY)[:-3],
        "expected 1228800 values, got 68 bytes that end before the last of them: the list is cut",
    ),
    (mask_to_brush_rle(EMPTY)[:7], "expected 1228800 values, got 7 bytes that end before the last of them"),
    (
        mask_to_brush_rle(EMPTY[:240, :320]),
        r"expected 1228800 values \(4 a pixel\), got a header announcing 307200",
    ),
    ([255] * 9, "got a header announcing 4294967295: it was made for an image of another size"),
    ([0, 18, 192, 0, 57, 27, 255, *[255] * 70], "got a run that reaches value 1245184: the list is damaged"),
    ("abc", r"expected a list of bytes \(0..255\), got str"),
    ({"rle": []}, "got dict"),
    (7, "got int"),
    (None, "got NoneType"),
    ([0, 18, 256], r"expected bytes \(whole numbers 0..255\), got 256 at index 2"),
    ([0, -1, 0], "got -1 at index 1"),
    ([0, 18, 1.5], "got 1.5 at index 2"),
    ([0, "18", 1], "got '18' at index 1"),
    ([0, None], "got None at index 1"),
    ([[0, 18]], r"got \[0, 18\] at index 0"),
]


@pytest.mark.parametrize(("rle", "message"), BROKEN)
def test_a_broken_stream_says_what_is_wrong(rle: object, message: str) -> None:
    with pytest.raises(BrushRLEError, match=message):
        brush_rle_to_mask(rle, (480, 640))  # type: ignore[arg-type]


@given(st.binary(min_size=7, max_size=60).map(lambda tail: bytes([0, 0, 1, 0]) + tail))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        mask = brush_rle_to_mask(data, (8, 8))
    except BrushRLEError:
        return
    assert mask.shape == (8, 8)


@given(masks, st.data())
def test_a_shortened_stream_is_never_accepted(mask: np.ndarray, data: st.DataObject) -> None:
    rle = mask_to_brush_rle(mask)
    with pytest.raises(BrushRLEError):
        brush_rle_to_mask(rle[: data.draw(st.integers(0, len(rle) - 1))], mask.shape)


def test_a_large_announced_size_allocates_nothing() -> None:
    tracemalloc.start()
    with pytest.raises(BrushRLEError):
        brush_rle_to_mask([255] * 9, (480, 640))
    with pytest.raises(MaskError, match="expected an image of at most 100000000 pixels, got 100000x100000"):
        brush_rle_to_mask([255] * 9, (100_000, 100_000))
    with pytest.raises(BrushRLEError, match="cut short"):
        brush_rle_to_mask([5, 245, 225, 0, 57, 27, 255], (5_000, 5_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000


@pytest.mark.parametrize("size_hw", [(0, 5), (5, -1), (2.0, 3), (True, 3)])
def test_no_size_is_refused(size_hw: tuple[int, int]) -> None:
    with pytest.raises(MaskError, match=r"expected an image (height|width) of at least 1 pixel, got"):
        brush_rle_to_mask([0] * 9, size_hw)


@pytest.mark.parametrize(
    ("mask", "got"),
    [
        (np.zeros((4, 5), np.uint8), r"uint8 of shape \(4, 5\)"),
        (np.zeros((4, 5, 4), np.bool_), r"bool of shape \(4, 5, 4\)"),
        (np.zeros((0, 5), np.bool_), r"bool of shape \(0, 5\)"),
        ([[True]], "list"),
    ],
)
def test_what_is_no_mask_is_refused(mask: np.ndarray, got: str) -> None:
    with pytest.raises(MaskError, match=rf"expected a \(H, W\) bool mask with at least one pixel, got {got}; compare"):
        mask_to_brush_rle(mask)


def test_what_is_no_alpha_is_refused() -> None:
    with pytest.raises(MaskError, match=r"expected a \(H, W\) uint8 alpha image, got float64"):
        alpha_to_brush_rle(np.zeros((4, 5)))  # type: ignore[arg-type]
