"""The encoding of an image: its windows, their features, its CLIP embedding, and a cache of encodings.

An encoding depends on the image alone, and on no vocabulary. The features of a batch of windows leave the device as
soon as they are computed, so that an image and the cache take no more of the device's memory than one batch does. A
device whose option ``resident`` is on keeps the features of the images that are matched next; the cache gets a copy.
"""

import logging
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.errors import WeightsError
from ovdiff.extractors.work import extraction
from ovdiff.models.device_images import for_this_thread
from ovdiff.models.memory import batch_size, run_in_batches
from ovdiff.models.pixels import Images
from ovdiff.presets.model_settings import ClipModelSettings, Dtype
from ovdiff.presets.needs import dtype_fields, feature_dtype, looks_at_images
from ovdiff.presets.segmenting_settings import WindowSettings
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.prefilter import embed_image
from ovdiff.segmenting.prepared import Prepared, prepare
from ovdiff.segmenting.windows import Window, group_by_size, plan_windows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowFeatures:
    """Features (B, D, h, w) of B windows of one size, on the CPU, or on the device that matches them next.

    The features are float16 if the model computes in float16 or the preset's ``windows.features_dtype`` says so, and
    else float32. The released code has float32 always; the further digits would hold only noise, and take twice the
    memory.
    """

    windows: tuple[Window, ...]
    features: Tensor


@dataclass(frozen=True)
class EncodedImage:
    """The results of all models for one image.

    Attributes:
        size_hw: the image's own size (H, W) in px.
        working: (h, w, 3) uint8 RGB, the image at working size.
        features: the features of each batch of windows, by the extractor's name.
        embedding: (P,) CLIP's unit vector, or ``None`` if both the prefilter and the part check are off.
    """

    size_hw: tuple[int, int]
    working: NDArray[np.uint8]
    features: Mapping[str, tuple[WindowFeatures, ...]]
    embedding: Tensor | None

    def on_the_cpu(self) -> "EncodedImage":
        """Return the same with all features on the CPU; itself where they are there."""
        batches = [batch for entries in self.features.values() for batch in entries]
        if all(batch.features.device.type == "cpu" for batch in batches):
            return self
        features = {
            name: tuple(replace(batch, features=batch.features.cpu()) for batch in entries)
            for name, entries in self.features.items()
        }
        return replace(self, features=features)

    def size_bytes(self) -> int:
        """Return the memory that the features take."""
        batches = (batch.features for entries in self.features.values() for batch in entries)
        return self.working.nbytes + sum(tensor.nbytes for tensor in batches)


def encode_image(parts: SegmentingParts, image: NDArray[np.uint8]) -> EncodedImage:
    """Encode an (H, W, 3) uint8 image with every extractor that votes. Windows of one size go in one batch.

    Raises:
        WeightsError: a model cannot be loaded, or gives features that are not finite.
        DeviceMemoryError: not even one window fits into the device's memory.
    """
    return encode_images(parts, [image])[0]


def encode_images(
    parts: SegmentingParts,
    images: Sequence[NDArray[np.uint8]],
    prepared: Sequence[Prepared] | None = None,
) -> list[EncodedImage]:
    """Encode several images; windows of one size go in one batch, whichever image they are of.

    Args:
        parts: the models.
        images: each (H, W, 3) uint8.
        prepared: what was prepared of each of them, if it was.

    Raises:
        WeightsError: a model cannot be loaded, or gives features that are not finite.
        DeviceMemoryError: not even one window fits into the device's memory.
    """
    preset = parts.preset
    ready = [prepare(parts, image) for image in images] if prepared is None else prepared
    workings = [each.working for each in ready]
    groups = _group_windows(workings, preset.windows)
    given = _given(ready)
    with parts.models.lock:
        for name in preset.active_extractors():
            parts.extractors[name]  # All weights are loaded first: a batch is given the memory that they leave.
        features = {name: _encode_windows(parts, name, given, groups) for name in preset.active_extractors()}
        embeddings = [_embed(parts, image) if looks_at_images(preset) else None for image in given]
    return [
        EncodedImage(
            (image.shape[0], image.shape[1]),
            workings[index],
            {name: found[index] for name, found in features.items()},
            embeddings[index],
        )
        for index, image in enumerate(images)
    ]


class EncodingCache:
    """The most recently used encodings, by image content, within a bound on memory. Not thread-safe."""

    def __init__(self, max_mib: int) -> None:
        """Keep at most ``max_mib`` MiB of features; 0 keeps nothing. An image that needs more alone is not kept."""
        self._max_mib, self._bytes = max_mib, 0
        self._entries: OrderedDict[str, EncodedImage] = OrderedDict()
        self._told = False

    def get(self, key: str) -> EncodedImage | None:
        """Return the encoding of a key and mark it as used; ``None`` if it is not in the cache."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: str, encoded: EncodedImage) -> None:
        """Keep an encoding. The least recently used encodings are removed until all fit."""
        if key in self._entries:
            return
        if encoded.size_bytes() > self._max_mib << 20:
            self._tell(encoded)
            return
        self._entries[key] = encoded.on_the_cpu()
        self._bytes += encoded.size_bytes()
        while self._bytes > self._max_mib << 20:
            self._bytes -= self._entries.popitem(last=False)[1].size_bytes()

    def _tell(self, encoded: EncodedImage) -> None:
        if self._told or not self._max_mib:
            return
        self._told = True
        needed = math.ceil(encoded.size_bytes() / (1 << 20))
        _log.warning(
            "Features of an image of %d x %d px take %d MiB, more than cache.features_mib (%d). They are not kept, so "
            "every change of the vocabulary encodes the image again. Set cache.features_mib to %d or more.",
            *(encoded.size_hw[1], encoded.size_hw[0], needed, self._max_mib, needed),
        )


def _given(prepared: Sequence[Prepared]) -> Sequence[Images]:
    """Return the images (h, w, 3) at working size as models are given them: on the device if all of them are there."""
    there = [for_this_thread(each.there) for each in prepared if each.there is not None]
    return there if len(there) == len(prepared) else [each.working for each in prepared]


def _embed(parts: SegmentingParts, image: Images) -> Tensor:
    settings = parts.preset.models.given("clip", ClipModelSettings)
    embedding = embed_image(parts.clip, image, parts.preset.prefilter)
    _check_finite(embedding, "clip", settings.dtype, ("models.clip.dtype",))
    return embedding


class _Placed(NamedTuple):
    """A window, and which of the images that are encoded together it is of."""

    image: int
    window: Window


def _group_windows(workings: Sequence[NDArray[np.uint8]], settings: WindowSettings) -> list[list[_Placed]]:
    """Return the windows of all images in groups of one size, smaller windows first; within a group image by image."""
    groups: dict[tuple[int, int], list[_Placed]] = {}
    for index, working in enumerate(workings):
        for same_size in group_by_size(plan_windows(working.shape[:2], settings)):
            size_hw = same_size[0].height, same_size[0].width
            groups.setdefault(size_hw, []).extend(_Placed(index, window) for window in same_size)
    return [groups[size_hw] for size_hw in sorted(groups)]


def _encode_windows(
    parts: SegmentingParts, name: str, images: Sequence[Images], groups: Sequence[Sequence[_Placed]]
) -> list[tuple[WindowFeatures, ...]]:
    """Return each image's features, in batches of windows of one size."""
    preset = parts.preset
    dtype = feature_dtype(preset, name)
    work = extraction(preset, name, preset.memory.segment_gib)
    limit = batch_size(parts.models.device, work)
    halve = preset.windows.features_dtype == "float16"
    place = parts.models.device if parts.models.options.resident else torch.device("cpu")
    found: list[list[WindowFeatures]] = [[] for _ in images]

    def run(windows: Sequence[_Placed]) -> None:
        features = parts.extractors.extract(name, _crops(windows, images), "window")
        _check_finite(features, name, dtype, dtype_fields(name))
        kept = features.to(place, torch.float16 if halve else _STORED_AS[dtype])
        if halve and not _is_finite(kept):
            raise WeightsError(
                f"Features of {name} do not fit float16, whose largest value is 65504: set windows.features_dtype to "
                f"'computed'."
            )
        for image, rows in groupby(range(len(windows)), key=lambda row: windows[row].image):
            own = list(rows)
            # A view would keep the whole batch in memory.
            part = kept if len(own) == len(windows) else kept[own[0] : own[-1] + 1].clone()
            found[image].append(WindowFeatures(tuple(windows[row].window for row in own), part))

    for windows in groups:
        run_in_batches(windows, limit, run, work.name)
    return [tuple(batches) for batches in found]


def _crops(windows: Sequence[_Placed], images: Sequence[Images]) -> Images:
    """Return windows of one size (B, h, w, 3) uint8, where the images are."""
    crops: list[Any] = [images[placed.image][placed.window.slices] for placed in windows]
    return torch.stack(crops) if isinstance(crops[0], Tensor) else np.stack(crops)


_STORED_AS = {"float32": torch.float32, "bfloat16": torch.float32, "float16": torch.float16}
"""The dtype in which features are kept, by the dtype of their model. Features of a bfloat16 model are kept in float32,
because bfloat16 has values that float16 does not have, and because features are enlarged in float32."""


def _check_finite(features: Tensor, name: str, dtype: Dtype, fields: Sequence[str]) -> None:
    """Refuse features with NaN or infinity, because these would win or lose every comparison without notice."""
    if _is_finite(features):
        return
    settings = " and ".join(fields) or "the dtype of its models"
    advice = {
        "float16": f"Values above 65504 do not fit: set {settings} to 'bfloat16' or 'float32'.",
        "bfloat16": f"Set {settings} to 'float32'; if that does not help, the weights are damaged.",
        "float32": "Its weights are damaged, or belong to another model; fetch them again.",
    }
    raise WeightsError(f"Features of {name}, computed in {dtype}, are not finite numbers. {advice[dtype]}")


def _is_finite(features: Tensor) -> bool:
    smallest, largest = torch.aminmax(features)  # Unlike isfinite(), this makes no temporary tensor of the same size.
    return bool(smallest.isfinite() and largest.isfinite())
