"""The engines of the baselines: windows of an image once, and any vocabulary at the cost of a few texts."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank import Bank
from ovdiff.baselines.clip_dense import ClipDense
from ovdiff.baselines.clipseg import ClipSeg
from ovdiff.baselines.decision import Rule, class_scores_at, decide, merged
from ovdiff.baselines.groupvit import GroupVit
from ovdiff.baselines.method import Method
from ovdiff.baselines.preset import CLIP_DENSE, CLIPSEG, GROUPVIT, ActivationSettings, BaselinePreset, ClipDensePreset
from ovdiff.baselines.words import Words, competing_words
from ovdiff.errors import DeviceMemoryError, ImageError, WeightsError
from ovdiff.images import image_key, require_image
from ovdiff.models.devices import require_device
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.memory import Work, batch_size, run_in_batches
from ovdiff.models.pamr import pamr
from ovdiff.presets.mapping import digest
from ovdiff.segmentation import PlaceScores, Segmentation
from ovdiff.segmenting.refine import clean_up
from ovdiff.segmenting.windows import Window, group_by_size, plan_windows, resize_to_working
from ovdiff.vocabulary import Vocabulary
from ovdiff.without_prototypes import WithoutPrototypes

METHODS: dict[str, Callable[..., Method]] = {CLIP_DENSE: ClipDense, GROUPVIT: GroupVit, CLIPSEG: ClipSeg}
"""The method of each engine, made of a preset and the loaded models."""

_PROBABILITIES = ActivationSettings(activation="none")
_ENCODING = "encoding a window of an image"


@dataclass(frozen=True)
class EncodedWindows:
    """What the image encoder makes of an image. No vocabulary is in it.

    Attributes:
        size_hw: the image's own size in px.
        working: (h, w, 3) uint8 RGB, the image at working size.
        batches: windows of one size, with the tensors (B, ...) that the method made of them, on the CPU.
    """

    size_hw: tuple[int, int]
    working: NDArray[np.uint8]
    batches: tuple[tuple[tuple[Window, ...], tuple[Tensor, ...]], ...]


class BaselineEngine(WithoutPrototypes):
    """A published method as an engine. Weights are loaded once, when first needed. Safe for several threads."""

    preset: BaselinePreset

    def __init__(self, preset: BaselinePreset, *, device: str = "cpu", models: LoadedModels | None = None) -> None:
        """Prepare the engine; no model is loaded yet.

        Args:
            preset: the preset of a baseline.
            device: a torch device, such as "cpu" or "cuda".
            models: loaded models to share with another engine.
        """
        self.preset = preset
        self._models = models or LoadedModels(device)
        self._method = METHODS[preset.engine](preset, self._models)
        scores = preset.scores if isinstance(preset, ClipDensePreset) else _PROBABILITIES
        self._scores: ActivationSettings = scores
        self._encoded: OrderedDict[str, EncodedWindows] = OrderedDict()

    def beside(self, preset: BaselinePreset, bank: Bank) -> "BaselineEngine":
        """Return an engine with another preset on the models of this one; models that both use load once."""
        return BaselineEngine(preset, models=self._models)

    def weights(self) -> dict[str, str]:
        """Return what identifies the weights of each model; loads none.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._method.weights()

    def encoding_key(self) -> str:
        """Return a hash of everything that shapes an encoding, but the image.

        Raises:
            WeightsError: a model's files are missing.
        """
        return digest([self.preset.encoding_values(), self.weights()])

    def load_models(self) -> None:
        """Load the models, unless they are loaded.

        Raises:
            WeightsError: a model cannot be loaded.
        """
        with self._models.lock:
            self._method.load()

    def encode(self, image: NDArray[np.uint8]) -> EncodedWindows:
        """Run the image encoder on an (H, W, 3) uint8 RGB image, unless its result is kept from an earlier call.

        Raises:
            ImageError: ``image`` is not such an array.
            WeightsError: the model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        require_image(image)
        key = image_key(image)
        with self._models.lock:
            found = self._encoded.pop(key, None)
            if found is None:
                self._method.load()
                with torch.inference_mode():
                    found = self._encode(image)
            self._encoded[key] = found
            while len(self._encoded) > self.preset.cache.images:
                self._encoded.popitem(last=False)
        return found

    def label(self, encoded: EncodedWindows, vocabulary: Vocabulary) -> Segmentation:
        """Label every pixel of an encoded image.

        Raises:
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: the model cannot be loaded.
            DeviceMemoryError: the maps of the words do not fit into the device's memory.
        """
        words = competing_words(vocabulary, self.preset.background.words)
        with self._working(encoded, len(words.texts)):
            maps = self._merged(encoded, words)
            rule = Rule(self._scores, self._method.threshold(maps))
            found = decide(maps, words, encoded.size_hw, rule)
        return Segmentation(clean_up(found.label_map, self.preset.refine), found.scores, found.margins)

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Label every pixel of an (H, W, 3) uint8 RGB image: :meth:`encode`, then :meth:`label`.

        Raises:
            ImageError: ``image`` is not such an array.
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: the model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: the image does not fit into the device's memory.
        """
        return self.label(self.encode(image), vocabulary)

    def place_scores(self, encoded: EncodedWindows, vocabulary: Vocabulary, place: tuple[int, int]) -> PlaceScores:
        """Return the score of each category at a pixel (x, y): the scores of which :meth:`label` takes the best.

        What the clean-up of the label map changes is not in them.

        Raises:
            ImageError: the pixel lies outside the image.
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: the model cannot be loaded.
            DeviceMemoryError: the maps of the words do not fit into the device's memory.
        """
        height, width = encoded.size_hw
        if not (0 <= place[0] < width and 0 <= place[1] < height):
            raise ImageError(f"The pixel {place} lies outside the image, which has {width} x {height} pixels.")
        words = competing_words(vocabulary, self.preset.background.words)
        with self._working(encoded, len(words.texts)):
            maps = self._merged(encoded, words)
            least = self._method.threshold(maps)
            scores = class_scores_at(maps, words, encoded.size_hw, self._scores, place).tolist()
        asked, behind = scores[: words.categories], scores[words.categories :]
        return PlaceScores(tuple(min(max(score, 0.0), 1.0) for score in asked), max([least, *behind]))

    def word_maps(self, encoded: EncodedWindows, words: Words) -> Tensor:
        """Return the map of each word at working size, (W, h, w) float32, from which :meth:`label` decides.

        Raises:
            VocabularyError: a word is longer than the text encoder reads.
            WeightsError: the model cannot be loaded.
            DeviceMemoryError: the maps do not fit into the device's memory.
        """
        with self._working(encoded, len(words.texts)):
            return self._merged(encoded, words)

    def _merged(self, encoded: EncodedWindows, words: Words) -> Tensor:
        maps = merged(
            self._maps(encoded, words.texts), len(words.texts), _size_of(encoded.working), self._models.device
        )
        return pamr(encoded.working, maps, self.preset.refine) if self.preset.refine.pamr else maps

    def _encode(self, image: NDArray[np.uint8]) -> EncodedWindows:
        settings, batches = self.preset.batches, []
        working = resize_to_working(np.ascontiguousarray(image), self.preset.windows)

        def run(windows: Sequence[Window]) -> None:
            parts = self._method.encode(np.stack([window.crop(working) for window in windows]))
            batches.append((tuple(windows), tuple(self._kept(part) for part in parts)))

        for windows in group_by_size(plan_windows(working.shape[:2], self.preset.windows)):
            work = Work(_ENCODING, settings.size, settings.mib_per_window, settings.budget_gib)
            run_in_batches(windows, batch_size(self._models.device, work), run, _ENCODING)
        return EncodedWindows((image.shape[0], image.shape[1]), working, tuple(batches))

    def _kept(self, part: Tensor) -> Tensor:
        """Return a tensor as it is kept, on the CPU: the device's memory is for what is being computed."""
        if not bool(torch.isfinite(part).all()):
            raise WeightsError("The features of the image are not finite numbers: set the model's dtype to 'float32'.")
        halved = self.preset.windows.features_dtype == "float16"
        return part.to("cpu", torch.float16 if halved else torch.float32)

    def _maps(self, encoded: EncodedWindows, words: Sequence[str]) -> Iterator[tuple[tuple[Window, ...], Tensor]]:
        """Yield the maps of all words in each window, one window at a time."""
        for windows, parts in encoded.batches:
            for number, window in enumerate(windows):
                of_window = tuple(part[number : number + 1].to(self._models.device) for part in parts)
                yield (window,), self._method.maps(of_window, words, (window.height, window.width))

    @contextmanager
    def _working(self, encoded: EncodedWindows, words: int) -> Iterator[None]:
        """Hold the models, and say in words if the maps are too much for the device's memory."""
        try:
            with self._models.lock:
                self._method.load()
                with torch.inference_mode():
                    yield
        except torch.OutOfMemoryError as error:
            height, width = _size_of(encoded.working)
            raise DeviceMemoryError(
                f"The maps of {words} words, {width} x {height} px each, do not fit into the device's free memory. End "
                f"other programs on it, or lower windows.max_long_side_px ({self.preset.windows.max_long_side_px})."
            ) from error


def _size_of(image: NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def make_engine(preset: BaselinePreset, bank: Bank, device: str) -> BaselineEngine:
    """Return the engine of a preset; it loads no weights yet, and keeps nothing in the bank.

    Raises:
        DeviceError: torch cannot use the device.
    """
    require_device(device)
    return BaselineEngine(preset, device=device)
