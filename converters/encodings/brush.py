"""Label Studio's brush RLE: a bit stream of run lengths over RGBA values, in vectorised numpy.

The stream, most significant bit first (origin: thi.ng/umbrella `rle-pack`, which Label Studio's page uses):

    32 bits  number of values: 4 x width x height, RGBA interleaved, row-major
     5 bits  word size - 1 (Label Studio writes 8)
    4 x 4    size - 1 of the four length fields (Label Studio writes 3, 4, 8, 16)
    tokens   1 bit kind | 2 bits which length field | length - 1 | kind 1: one value for the run
                                                                   kind 0: `length` literal values
    padding  zero bits up to a whole byte (label-studio-sdk adds a spare byte when there is none to add)

Label Studio writes R = G = B = A, so one pixel-level view is enough; on reading, alpha alone counts. Strokes
are anti-aliased (alpha 1..255): a pixel is in the mask from alpha 128 on (`ALPHA_THRESHOLD`).

label-studio-sdk's own codec (`label_studio_sdk.converter.brush`) trusts the 32-bit length of its input (nine
bytes may ask for 4 GiB); here it is held against the image's size before anything is allocated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from converters.encodings.masks import MAX_PIXELS, Mask, require_mask, require_size
from converters.errors import BrushRLEError, MaskError

ALPHA_THRESHOLD = 128
"""Smallest alpha (0..255) that belongs to the mask; the eraser leaves soft edges on either side of it."""

Alpha = npt.NDArray[np.uint8]
"""(H, W) uint8, 0 transparent to 255 opaque."""

_CHANNELS = 4
_HEADER_BITS = 32 + 5 + 4 * 4
_WORD_SIZE = 8
_LENGTH_SIZES = np.array([3, 4, 8, 16], dtype=np.int64)
_LONGEST_RUN = 1 << 16
_BLOCK_BITS = 1 << 19  # tokens are found in blocks of 64 KiB of stream: bounded memory, and it stays in cache
_BLOCK_RUNS = 1 << 18  # runs are written so many at a time: noise of 12 million pixels is as many runs
_MAX_CANVAS_VALUE = 255


def mask_to_brush_rle(mask: Mask) -> list[int]:
    """Encode a mask as Label Studio stores it (value 0 outside, 255 inside).

    Args:
        mask: (H, W) bool.

    Returns:
        The stream's bytes, each 0..255: the `rle` of a brush region's value. They are the bytes of
        label-studio-sdk's `mask2rle(mask * 255)`, without the spare zero byte that may end the SDK's output.
    """
    require_mask(mask)
    flat = np.ascontiguousarray(mask).reshape(-1)
    starts = _run_starts(flat)
    return _encode(starts, flat[starts].astype(np.uint64) * 255, flat.size)


def alpha_to_brush_rle(alpha: Alpha) -> list[int]:
    """Encode soft strokes as Label Studio stores them, R = G = B = A.

    Args:
        alpha: (H, W) uint8, 0..255.
    """
    if alpha.ndim != 2 or alpha.dtype != np.uint8 or alpha.size == 0:
        raise MaskError(f"expected a (H, W) uint8 alpha image, got {alpha.dtype} of shape {alpha.shape}")
    flat = np.ascontiguousarray(alpha).reshape(-1)
    starts = _run_starts(flat)
    return _encode(starts, flat[starts].astype(np.uint64), flat.size)


def brush_rle_to_mask(rle: Sequence[int], size_hw: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> Mask:
    """Decode a brush region's `rle` into the pixels with alpha >= 128.

    Args:
        rle: the stream's bytes, each 0..255 (a list as in JSON, bytes, or an integer array).
        size_hw: height and width of the image, `original_height` and `original_width` of the region.
        max_pixels: refuse larger images before anything is allocated.

    Returns:
        (H, W) bool.

    Raises:
        BrushRLEError: the stream is no list of bytes, was made for another size, ends too early, or holds too many
            values.
        MaskError: `size_hw` is no size, or has more than `max_pixels`.
    """
    return brush_rle_to_alpha(rle, size_hw, max_pixels=max_pixels) >= ALPHA_THRESHOLD


def brush_rle_to_alpha(rle: Sequence[int], size_hw: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> Alpha:
    """Decode a brush region's `rle` into its alpha channel, (H, W) uint8.

    Words wider than 8 bits saturate at 255, as they do in the page's canvas. Bytes after the last value are
    ignored, as Label Studio does. The arguments and errors are those of `brush_rle_to_mask`.
    """
    height, width = require_size(size_hw, max_pixels=max_pixels)
    stream = _Stream.open(_as_bytes(rle), pixel_count=height * width, origin=f"{width}x{height} image")
    alpha = np.empty(height * width, dtype=np.uint8)
    for first_pixel, values in _pixel_blocks(stream):
        alpha[first_pixel : first_pixel + values.size] = values
    return alpha.reshape(height, width)


def announced_pixels(rle: object) -> int | None:
    """Return how many pixels a stream's header announces, None if the stream has no such header."""
    if not isinstance(rle, (list, tuple)) or len(rle) < 4 or not all(map(_is_byte, rle[:4])):
        return None
    return int.from_bytes(bytes(rle[:4]), "big") // _CHANNELS


# ---------------------------------------------------------------- encoding


def _run_starts(flat: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Return the index of the first pixel of every run of equal values."""
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.concatenate(([0], changes))


def _encode(starts: npt.NDArray[np.int64], values: npt.NDArray[np.uint64], pixel_count: int) -> list[int]:
    """Write header and runs; `starts` are pixel indices, `values` one 8-bit word a run."""
    if pixel_count * _CHANNELS >= 1 << 32:
        raise MaskError(f"expected fewer than 2**30 pixels (the stream counts in 32 bits), got {pixel_count}")
    header = np.array([pixel_count * _CHANNELS, _settings_bits()], dtype=np.uint64)
    writer = _BitWriter()
    writer.write(header, np.array([32, _HEADER_BITS - 32]))
    for first in range(0, starts.size, _BLOCK_RUNS):
        block = slice(first, first + _BLOCK_RUNS)
        end = starts[block.stop] if block.stop < starts.size else pixel_count
        lengths = np.diff(starts[block], append=end) * _CHANNELS
        writer.write(*_run_tokens(lengths, values[block]))
    return list(writer.finish())


def _settings_bits() -> int:
    """Return the 21 header bits after the count: word size and the four length sizes."""
    bits = _WORD_SIZE - 1
    for size in _LENGTH_SIZES.tolist():
        bits = bits << 4 | (size - 1)
    return bits


def _run_tokens(
    lengths: npt.NDArray[np.int64], values: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the bits of each token (right-aligned) and their number; a long run becomes several tokens."""
    pieces = (lengths - 1) // _LONGEST_RUN + 1
    token_lengths = np.full(int(pieces.sum()), _LONGEST_RUN, dtype=np.int64)
    token_lengths[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST_RUN
    # The whole run chooses the field, as in label-studio-sdk: the rest of a split run stays in 16 bits.
    field = np.repeat(np.searchsorted(1 << _LENGTH_SIZES[:-1], lengths), pieces)
    field_sizes = _LENGTH_SIZES[field]
    kind_and_field = (4 | field) << (field_sizes + _WORD_SIZE)
    codes = kind_and_field | (token_lengths - 1) << _WORD_SIZE
    return codes.astype(np.uint64) | np.repeat(values, pieces), 3 + field_sizes + _WORD_SIZE


class _BitWriter:
    """Writes codes of up to 32 bits one after another, in blocks; the last word is held back until it is complete."""

    def __init__(self) -> None:
        self._words: list[bytes] = []
        # The bits held back, right-aligned, and how many they are: one code or none.
        self._rest: npt.NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        self._rest_width: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def write(self, codes: npt.NDArray[np.uint64], widths: npt.NDArray[np.int64]) -> None:
        """Append each code's low `widths` bits."""
        words, bit_count = _pack(np.concatenate((self._rest, codes)), np.concatenate((self._rest_width, widths)))
        complete, rest = divmod(bit_count, 32)
        self._words.append(words[:complete].astype(">u4").tobytes())
        self._rest = words[complete : complete + bool(rest)] >> np.uint64(32 - rest)
        self._rest_width = np.array([rest] if rest else [], dtype=np.int64)

    def finish(self) -> bytes:
        """Return all bytes; the last byte is filled up with zeros."""
        rest = _pack(self._rest, self._rest_width)[0].astype(">u4").tobytes() if self._rest.size else b""
        return b"".join((*self._words, rest[: (int(self._rest_width.sum()) + 7) // 8]))


def _pack(codes: npt.NDArray[np.uint64], widths: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint64], int]:
    """Return the bits of all codes as 32-bit words, with zeros after the last bit, and the number of bits."""
    ends = np.cumsum(widths)
    offsets = ends - widths
    first_word = offsets >> 5
    # Two neighbouring 32-bit words hold any code: place it in 64 bits, then OR the halves word by word.
    placed = codes << (64 - widths - (offsets & 31)).astype(np.uint64)
    group = np.flatnonzero(np.diff(first_word, prepend=-1))
    words = np.zeros(int(first_word[-1]) + 2, dtype=np.uint64)
    words[first_word[group]] = np.bitwise_or.reduceat(placed >> np.uint64(32), group)
    words[first_word[group] + 1] |= np.bitwise_or.reduceat(placed & np.uint64(0xFFFFFFFF), group)
    return words, int(ends[-1])


# ---------------------------------------------------------------- decoding


@dataclass(frozen=True)
class _Stream:
    """A brush stream whose header was read and fits the image.

    `windows[i]` holds the 64 bits that begin at byte i. The head and the first value of a token always fit into them,
    at whichever bit of the byte the token begins.
    """

    padded: npt.NDArray[np.uint8]
    windows: npt.NDArray[np.uint64]
    bit_count: int
    value_count: int
    word_size: int
    length_sizes: npt.NDArray[np.int64]
    origin: str

    @classmethod
    def open(cls, data: bytes, *, pixel_count: int, origin: str) -> "_Stream":
        bit_count = len(data) * 8
        if bit_count < _HEADER_BITS:
            raise BrushRLEError(
                f"brush RLE of a {origin}: expected a header of 7 bytes, got {len(data)} bytes: "
                "the list is empty or cut short"
            )
        value_count = int.from_bytes(data[:4], "big")
        if value_count != pixel_count * _CHANNELS:
            raise BrushRLEError(
                f"brush RLE of a {origin}: expected {pixel_count * _CHANNELS} values (4 a pixel), got a "
                f"header announcing {value_count}: it was made for an image of another size"
            )
        settings = int.from_bytes(data[4:7], "big") >> 3
        padded = np.frombuffer(data + bytes(16), dtype=np.uint8)
        return cls(
            padded=padded,
            windows=np.ndarray((padded.size - 7,), ">u8", padded, strides=(1,)),
            bit_count=bit_count,
            value_count=value_count,
            word_size=(settings >> 16) + 1,
            length_sizes=np.array([(settings >> shift & 15) + 1 for shift in (12, 8, 4, 0)], dtype=np.int64),
            origin=origin,
        )

    def window(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Return the 57 or more bits that follow each bit offset, left-aligned."""
        bits: npt.NDArray[np.uint64] = self.windows[offsets >> 3].astype(np.uint64)
        return bits << (offsets & 7).astype(np.uint64)


@dataclass(frozen=True)
class _Tokens:
    """Consecutive tokens: bit offset, kind, length and size of the length field of each."""

    offsets: npt.NDArray[np.int64]
    is_run: npt.NDArray[np.bool_]
    lengths: npt.NDArray[np.int64]
    field_sizes: npt.NDArray[np.int64]

    def first(self, count: int) -> "_Tokens":
        return _Tokens(self.offsets[:count], self.is_run[:count], self.lengths[:count], self.field_sizes[:count])

    def end_of_last(self, word_size: int) -> int:
        words = 1 if self.is_run[-1] else int(self.lengths[-1])
        return int(self.offsets[-1]) + 3 + int(self.field_sizes[-1]) + words * word_size


def _pixel_blocks(stream: _Stream) -> Iterator[tuple[int, Alpha]]:
    """Yield (index of the first pixel, alpha values) block by block, until all values are there."""
    offset, filled = _HEADER_BITS, 0
    while filled < stream.value_count:
        offsets, offset = _token_offsets(stream, offset)
        tokens = _needed_tokens(stream, _read_heads(stream, offsets), filled)
        lengths, values = _read_values(stream, tokens)
        totals = filled + np.cumsum(lengths)
        # Alpha is every fourth value: pixel p is value 4 p + 3, so t values hold the first t // 4 pixels.
        first, ends = filled // _CHANNELS, totals // _CHANNELS
        yield first, np.repeat(values, np.diff(ends, prepend=first))
        filled = int(totals[-1])


def _token_offsets(stream: _Stream, start: int) -> tuple[npt.NDArray[np.int64], int]:
    """Find the tokens that begin in the next block of bits; return their offsets and the offset to go on from.

    Where a token begins depends on all tokens before it. So for every bit of the block, the length that a token
    starting there *would* have is computed at once; the tokens are then found by one look-up each in that table.
    """
    first_byte = start // 8
    base = first_byte * 8
    bits = np.unpackbits(stream.padded[first_byte : first_byte + _BLOCK_BITS // 8 + 1])
    prefixes = bits[:-2] << 2 | bits[1:-1] << 1 | bits[2:]
    run_steps = 3 + stream.length_sizes + stream.word_size
    steps = np.concatenate((np.zeros(4, np.int64), run_steps)).astype(np.uint8)[prefixes].tobytes()
    limit = min(_BLOCK_BITS, stream.bit_count - base)
    position = start - base
    found: list[int] = []
    append = found.append
    while position < limit:
        append(position)
        position += steps[position] or _literal_step(stream, base + position)
    return np.array(found, dtype=np.int64) + base, base + position


def _literal_step(stream: _Stream, offset: int) -> int:
    """Return how many bits the literal token at `offset` occupies."""
    bits = int(stream.windows[offset >> 3]) << (offset & 7) & 0xFFFFFFFFFFFFFFFF
    size = int(stream.length_sizes[bits >> 61 & 3])
    length = (bits >> (61 - size) & ((1 << size) - 1)) + 1
    return 3 + size + length * stream.word_size


def _read_heads(stream: _Stream, offsets: npt.NDArray[np.int64]) -> _Tokens:
    """Read kind and length of the tokens at these bit offsets."""
    window = stream.window(offsets)
    field_sizes = stream.length_sizes[(window >> np.uint64(61) & np.uint64(3)).astype(np.int64)]
    after_prefix = window << np.uint64(3)
    lengths = (after_prefix >> (64 - field_sizes).astype(np.uint64)).astype(np.int64) + 1
    return _Tokens(offsets, window >> np.uint64(63) == 1, lengths, field_sizes)


def _needed_tokens(stream: _Stream, tokens: _Tokens, filled: int) -> _Tokens:
    """Drop the padding after the last value; refuse a stream that ends too early or holds too many values."""
    totals = filled + np.cumsum(tokens.lengths)
    last = int(np.searchsorted(totals, stream.value_count))
    needed = tokens.first(last + 1)
    if needed.offsets.size == 0 or needed.end_of_last(stream.word_size) > stream.bit_count:
        raise BrushRLEError(
            f"brush RLE of a {stream.origin}: expected {stream.value_count} values, got "
            f"{stream.bit_count // 8} bytes that end before the last of them: the list is cut short"
        )
    if last < totals.size and totals[last] > stream.value_count:
        raise BrushRLEError(
            f"brush RLE of a {stream.origin}: expected {stream.value_count} values, got a run that reaches "
            f"value {int(totals[last])}: the list is damaged"
        )
    return needed


def _read_values(stream: _Stream, tokens: _Tokens) -> tuple[npt.NDArray[np.int64], Alpha]:
    """Return runs as lengths and alpha values; each value of a literal token becomes a run of one."""
    value_offsets = tokens.offsets + 3 + tokens.field_sizes
    lengths = tokens.lengths
    if not tokens.is_run.all():
        repeats = np.where(tokens.is_run, 1, tokens.lengths)
        index_within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        value_offsets = np.repeat(value_offsets, repeats) + index_within * stream.word_size
        lengths = np.repeat(np.where(tokens.is_run, tokens.lengths, 1), repeats)
    words = stream.window(value_offsets) >> np.uint64(64 - stream.word_size)
    return lengths, np.minimum(words, _MAX_CANVAS_VALUE).astype(np.uint8)


def _as_bytes(rle: Sequence[int]) -> bytes:
    """Return the list of byte values as bytes."""
    if isinstance(rle, (bytes, bytearray)):
        return bytes(rle)
    if isinstance(rle, np.ndarray):
        rle = rle.tolist()
    if not isinstance(rle, (list, tuple)):
        raise BrushRLEError(f"brush RLE: expected a list of bytes (0..255), got {type(rle).__name__}")
    try:
        return bytes(rle)
    except (TypeError, ValueError) as error:
        index, value = next((i, v) for i, v in enumerate(rle) if not _is_byte(v))
        raise BrushRLEError(
            f"brush RLE: expected bytes (whole numbers 0..255), got {value!r:.40} at index {index}"
        ) from error


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= 255
