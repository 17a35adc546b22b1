"""The online half that depends on the image alone: windows, features, CLIP embedding, and their cache."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.parts import Parts
from ovdiff.prefilter import embed_image
from ovdiff.presets import given
from ovdiff.presets.schema import ExtractorName
from ovdiff.windows import Window, plan_windows, resize_to_working


@dataclass(frozen=True)
class WindowFeatures:
    """Features (B, D, h, w) float32 of B windows of one size."""

    windows: tuple[Window, ...]
    features: Tensor


@dataclass(frozen=True)
class EncodedImage:
    """All that the models say about one image.

    Attributes:
        size_hw: the image's own size (H, W) in px.
        working: (h, w, 3) uint8 RGB, the image at working size.
        features: by extractor, one entry a batch of windows.
        embedding: (P,) CLIP's unit vector, or ``None`` where the prefilter is off.
    """

    size_hw: tuple[int, int]
    working: NDArray[np.uint8]
    features: Mapping[ExtractorName, tuple[WindowFeatures, ...]]
    embedding: Tensor | None

    def size_bytes(self) -> int:
        """Return the memory that the features take."""
        batches = (batch.features for entries in self.features.values() for batch in entries)
        return self.working.nbytes + sum(tensor.nbytes for tensor in batches)


def encode_image(parts: Parts, image: NDArray[np.uint8]) -> EncodedImage:
    """Encode an (H, W, 3) uint8 image with every voting extractor; windows of one size go in one batch."""
    preset = parts.preset
    working = resize_to_working(image, preset.windows)
    batches = batch_windows(plan_windows(working.shape[:2], preset.windows), preset.extractors.batch_size)
    with parts.lock:
        features = {
            name: tuple(_encode_windows(parts, name, working, batch) for batch in batches)
            for name in preset.active_extractors()
        }
        embedding = _embed(parts, working) if preset.prefilter.enabled else None
    return EncodedImage((image.shape[0], image.shape[1]), working, features, embedding)


def batch_windows(windows: Sequence[Window], limit: int) -> list[tuple[Window, ...]]:
    """Group windows of one size into batches of at most ``limit``."""

    def size(window: Window) -> tuple[int, int]:
        return window.height, window.width

    groups = [list(group) for _, group in groupby(sorted(windows, key=size), key=size)]
    return [tuple(group[start : start + limit]) for group in groups for start in range(0, len(group), limit)]


class EncodingCache:
    """The most recently used encodings, by image content, within a bound on memory. Not thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        """Keep at most ``max_bytes`` of features; an image that alone exceeds it is not kept."""
        self._max_bytes, self._bytes = max_bytes, 0
        self._entries: OrderedDict[str, EncodedImage] = OrderedDict()

    def get(self, key: str) -> EncodedImage | None:
        """Return an encoding and mark it as used, or ``None``."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: str, encoded: EncodedImage) -> None:
        """Keep an encoding, letting go of the least recently used."""
        if key in self._entries or encoded.size_bytes() > self._max_bytes:
            return
        self._entries[key] = encoded
        self._bytes += encoded.size_bytes()
        while self._bytes > self._max_bytes:
            self._bytes -= self._entries.popitem(last=False)[1].size_bytes()


def image_key(image: NDArray[np.uint8]) -> str:
    """Return a content hash of an image: its shape and pixels."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def _embed(parts: Parts, working: NDArray[np.uint8]) -> Tensor:
    clip = parts.models.clip(given(parts.preset, "clip"))
    return embed_image(clip, working, parts.preset.prefilter.statistics)


def _encode_windows(
    parts: Parts, name: ExtractorName, working: NDArray[np.uint8], windows: tuple[Window, ...]
) -> WindowFeatures:
    crops = np.stack([window.crop(working) for window in windows])
    return WindowFeatures(windows, parts.extractor(name).extract(crops, "window"))
