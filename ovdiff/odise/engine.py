"""ODISE's engine: masks of an image once, and their names for any vocabulary at the cost of a few texts."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank import Bank
from ovdiff.errors import DeviceMemoryError, ImageError, WeightsError
from ovdiff.images import image_key, require_image
from ovdiff.models.devices import require_device
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.memory import Work, batch_size, run_in_batches
from ovdiff.models.weights import weights_identity
from ovdiff.odise.encoding import cut
from ovdiff.odise.memory_advice import for_a_window, for_an_image
from ovdiff.odise.naming import Label, Named, branch_logits, fuse, fusion_weights, null_probability
from ovdiff.odise.outputs import (
    Instances,
    PanopticResult,
    at_pixel,
    bands,
    enlarged,
    instances,
    panoptic,
    semantic,
    semantic_scores,
)
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets.mapping import digest, mask_values
from ovdiff.segmentation import FoundObject, PlaceScores, Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision, NearestKinds, known_kind
from ovdiff.without_prototypes import WithoutPrototypes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedMasks:
    """The masks of an image, before they have names. No vocabulary is in it.

    Attributes:
        size_hw: the image's own size in px.
        logits: (Q, h, w) float32.
        embeddings: (Q, D), by the diffusion branch.
        objects: (Q,) logits of showing anything; ``None`` if a name for "nothing" says that.
        regions: (Q, P), CLIP's unit vectors; ``None`` without the branch.
    """

    size_hw: tuple[int, int]
    logits: Tensor
    embeddings: Tensor
    objects: Tensor | None
    regions: Tensor | None

    def on(self, device: str | torch.device) -> "EncodedMasks":
        """Return the same masks on a device."""
        moved = (None if part is None else part.to(device) for part in (self.objects, self.regions))
        return EncodedMasks(self.size_hw, self.logits.to(device), self.embeddings.to(device), *moved)


class OdiseEngine(WithoutPrototypes):
    """The method on loaded models. Weights are loaded once, when they are first needed. Safe for several threads."""

    preset: OdisePreset

    def __init__(self, preset: OdisePreset, *, device: str = "cpu", models: LoadedModels | None = None) -> None:
        """Prepare the engine; no model is loaded yet.

        Args:
            preset: the models and hyper-parameters.
            device: a torch device, such as "cpu" or "cuda".
            models: loaded models to share with another engine.
        """
        self.preset = preset
        self._parts = OdiseParts(preset, models or LoadedModels(device))
        self._encoded: OrderedDict[tuple[str, str], EncodedMasks] = OrderedDict()
        self._decided: dict[Category, KindDecision] = {}

    def beside(self, preset: OdisePreset, bank: Bank) -> "OdiseEngine":
        """Return an engine with another preset on the models of this one; models that both use load once."""
        return OdiseEngine(preset, models=self._parts.models)

    def encoding_key(self) -> str:
        """Return a hash of everything that shapes an encoding, but the image.

        Raises:
            WeightsError: a model's files are missing.
        """
        read = ("taps", "captioner", "mask_generator", "clip_branch", "classifier", "models")
        return digest([{name: mask_values(getattr(self.preset, name)) for name in read}, self.weights()])

    def weights(self) -> dict[str, str]:
        """Return what identifies the weights: the head's as they are now, because it may be trained on meanwhile.

        Raises:
            WeightsError: a model's files are missing.
        """
        return {**self._frozen_weights, "head": self._parts.head_identity()}

    @cached_property
    def _frozen_weights(self) -> dict[str, str]:
        return {name: weights_identity(getattr(self.preset.models, name)) for name in ("diffusion", "clip")}

    def kind_so_far(self, category: Category) -> KindDecision | None:
        """Return whether a category is a thing or stuff, and why; ``None`` if only CLIP can decide."""
        return self._decided.get(category) or known_kind(category, self.preset.stuff_filter)

    def load_models(self) -> None:
        """Load all models, unless they are loaded.

        Raises:
            WeightsError: a model cannot be loaded.
        """
        with self._parts.models.lock:
            _ = self._parts.encoder, self._parts.head

    def encode(self, image: NDArray[np.uint8]) -> EncodedMasks:
        """Find the masks of an (H, W, 3) uint8 RGB image, unless they are kept from an earlier call.

        Raises:
            ImageError: ``image`` is not such an array.
            WeightsError: a model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: the image's windows do not fit into the device's memory.
        """
        require_image(image)
        image = np.ascontiguousarray(image)  # torch reads no array backwards
        key = image_key(image)
        with self._parts.models.lock:
            whole_key = (key, self._parts.head_identity())
            found = self._encoded.pop(whole_key, None)
            if found is None:
                with self._working(image.shape[0], image.shape[1], for_an_image(self.preset)):
                    found = self._encode(image).on("cpu")  # The device's memory is for what is being computed.
            self._encoded[whole_key] = found
            while len(self._encoded) > self.preset.cache.images:
                self._encoded.popitem(last=False)
        return found

    def label(self, encoded: EncodedMasks, vocabulary: Vocabulary) -> Segmentation:
        """Name the masks of an encoded image, and label every pixel (C.3, semantic).

        Raises:
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: the masks do not fit into the device's memory.
        """
        with self._naming(encoded, vocabulary) as (named, logits):
            found = semantic(named, bands(logits, encoded.size_hw), self.preset.outputs.background)
        return Segmentation(found.labels.numpy(), found.scores.numpy(), found.margins.numpy())

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Label every pixel of an (H, W, 3) uint8 RGB image: :meth:`encode`, then :meth:`label`.

        Raises:
            ImageError: ``image`` is not such an array.
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: a model cannot be loaded.
            DeviceMemoryError: the image's windows do not fit into the device's memory.
        """
        return self.label(self.encode(image), vocabulary)

    def with_instances(
        self, image: NDArray[np.uint8], segmentation: Segmentation, vocabulary: Vocabulary
    ) -> Segmentation:
        """Return the panoptic result (C.3) in place of the semantic one: labels, and the id of each object.

        Raises:
            ImageError: ``image`` is not an (H, W, 3) uint8 array, or is of another size than the segmentation.
            WeightsError: a model cannot be loaded.
        """
        require_image(image)
        if image.shape[:2] != segmentation.label_map.shape:
            sizes = f"{image.shape[:2]} and {segmentation.label_map.shape}"
            raise ImageError(f"Expected an image and its own segmentation, got {sizes} pixels.")
        found = self.panoptic(self.encode(image), vocabulary)
        labels = np.array([0, *(segment.label + 1 for segment in found.segments)], dtype=np.int32)
        shares = np.array([0, *(segment.score for segment in found.segments)], dtype=np.float32)
        ids = found.ids.numpy()
        # An object's score is the probability of its name; the semantic score of its pixels may be another label's.
        scores = np.where(ids > 0, shares[ids], segmentation.scores)
        return replace(segmentation, label_map=labels[ids], scores=scores, instance_map=ids)

    def panoptic(self, encoded: EncodedMasks, vocabulary: Vocabulary) -> PanopticResult:
        """Return the segments of an encoded image (C.3, panoptic).

        Raises:
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: the masks do not fit into the device's memory.
        """
        with self._naming(encoded, vocabulary) as (named, logits):
            masks = bands(logits, encoded.size_hw)
            return panoptic(named, masks, self._stuff(vocabulary), self.preset.outputs)

    def instances(self, encoded: EncodedMasks, vocabulary: Vocabulary) -> Instances:
        """Return the instances of an encoded image, which may overlap (C.3, instance).

        Raises:
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: the masks do not fit into the device's memory.
        """
        with self._naming(encoded, vocabulary) as (named, logits):
            masks = enlarged(logits, encoded.size_hw)
            return instances(named, masks, self._stuff(vocabulary), self.preset.outputs.instances)

    def detections(self, encoded: EncodedMasks, vocabulary: Vocabulary) -> list[FoundObject]:
        """Return the :meth:`instances` of an encoded image, the surest first.

        Raises:
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: the masks do not fit into the device's memory.
        """
        found = self.instances(encoded, vocabulary)
        rows = zip(found.labels.tolist(), found.masks.numpy(), found.scores.tolist(), strict=True)
        return [FoundObject(*row) for row in rows]

    def place_scores(self, encoded: EncodedMasks, vocabulary: Vocabulary, place: tuple[int, int]) -> PlaceScores:
        """Return the score of each category at a pixel (x, y): the scores of which :meth:`label` takes the best (C.3).

        Raises:
            ImageError: the pixel lies outside the image.
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: the masks do not fit into the device's memory.
        """
        height, width = encoded.size_hw
        if not (0 <= place[0] < width and 0 <= place[1] < height):
            raise ImageError(f"The pixel {place} lies outside the image, which has {width} x {height} pixels.")
        with self._naming(encoded, vocabulary) as (named, logits):
            masks = at_pixel(logits, encoded.size_hw, place)[:, None, None]
            scores = semantic_scores(named, masks)[:, 0, 0].tolist()
        return PlaceScores(tuple(scores), self.preset.outputs.background)

    def named(self, encoded: EncodedMasks, vocabulary: Vocabulary) -> Named:
        """Return the probability of each category, and of none of them, for each mask of an encoded image (C.3).

        Raises:
            VocabularyError: a prompt is longer than the text encoder reads.
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: the masks do not fit into the device's memory.
        """
        with self._naming(encoded, vocabulary) as (named, _):
            return named

    @contextmanager
    def _naming(self, encoded: EncodedMasks, vocabulary: Vocabulary) -> Iterator[tuple[Named, Tensor]]:
        """Give the names of an encoded image's masks, and the masks' logits on the device, holding the models."""
        with self._working(*encoded.size_hw):
            there = encoded.on(self._parts.models.device)
            yield self._named(there, vocabulary), there.logits

    def _named(self, encoded: EncodedMasks, vocabulary: Vocabulary) -> Named:
        preset, (head, card) = self.preset, self._parts.head
        stuff = self._stuff(vocabulary)
        asked = [
            Label(category.name, category.phrases, is_stuff)
            for category, is_stuff in zip(vocabulary.categories, stuff, strict=True)
        ]
        labels = asked + (_others(asked, card.labels) if preset.fusion.others == "training" else [])
        texts = self._parts.label_texts(labels, preset.classifier.templates)
        scores, null = (each[0] for each in head.names(encoded.embeddings[None], texts.embeddings))
        diffusion = branch_logits(scores, texts)
        void = null_probability(diffusion, null) if encoded.objects is None else (-encoded.objects).sigmoid()
        clip = None
        if encoded.regions is not None:
            seen = self._parts.label_texts(labels, preset.clip_branch.templates)
            clip = branch_logits(preset.clip_branch.logit_scale * encoded.regions @ seen.embeddings.T, seen)
        weights = fusion_weights(
            labels, card.words(), preset.fusion.alpha, preset.fusion.beta, stuff=preset.clip_branch.kinds == "all"
        )
        return fuse(diffusion, void, clip, weights.to(diffusion.device), len(asked))

    def _stuff(self, vocabulary: Vocabulary) -> list[bool]:
        """Return which categories are stuff. Call it under the models' lock."""
        unknown = [category for category in vocabulary.categories if self.kind_so_far(category) is None]
        if unknown:
            template = self.preset.classifier.templates[0]
            nearest = NearestKinds(self._parts.texts, template, self.preset.stuff_filter)
            self._decided |= dict(zip(unknown, nearest.decide(unknown), strict=True))
        found = [self.kind_so_far(category) for category in vocabulary.categories]
        return [decision is not None and decision.kind == "stuff" for decision in found]

    @contextmanager
    def _working(self, height: int, width: int, advice: str = "Give a smaller image.") -> Iterator[None]:
        """Hold the models while they work on an image, and say in words if its size is too much for them."""
        try:
            with self._parts.models.lock:
                # Loaded before: a training in this process could not learn through weights of the inference mode.
                _ = self._parts.encoder, self._parts.head
                with torch.inference_mode():
                    yield
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(
                f"An image of {width} x {height} px does not fit into the device's memory. {advice}"
            ) from error

    def _encode(self, image: NDArray[np.uint8]) -> EncodedMasks:
        preset, (head, _) = self.preset, self._parts.head
        windows, grid = cut(image, preset.taps)
        batches: list[list[Tensor]] = []

        def encode(some: Sequence[NDArray[np.uint8]]) -> None:
            batches.append(self._parts.encoder.encode(np.stack(some), head.captioner))

        what = "encoding a window of an image"
        wanted = min(preset.taps.batch_size, len(windows))
        advice = for_a_window(preset)
        work = Work(what, wanted, preset.taps.mib_per_window, preset.taps.budget_gib, advice)
        run_in_batches(list(windows), batch_size(self._parts.models.device, work), encode, what, advice)
        taps = _joined(batches)
        masks = head.find(taps, grid)[-1]
        if not bool(torch.isfinite(masks.logits).all() and torch.isfinite(masks.embeddings).all()):
            raise WeightsError("The masks of the image are not finite numbers: set the models' dtype to 'float32'.")
        regions = self._regions(image, masks.logits)
        objects = None if masks.objects is None else masks.objects[0]
        size_hw = image.shape[0], image.shape[1]
        return EncodedMasks(size_hw, masks.logits[0], masks.embeddings[0], objects, regions)

    def _regions(self, image: NDArray[np.uint8], logits: Tensor) -> Tensor | None:
        settings = self.preset.clip_branch
        if not settings.enabled:
            return None
        return self._parts.clip.embed_regions(
            image[None],
            logits > 0,
            settings.input_px,
            settings.statistics,
            settings.resampling,
            see_class=settings.attends == "patches_and_class",
        )[0]


def _joined(batches: list[list[Tensor]]) -> list[Tensor]:
    """Return taps (N, C, h, w) float32 of all windows, and let go of each batch's own, which take as much memory."""
    taps: list[Tensor] = []
    while batches[0]:
        parts = [batch.pop(0).float() for batch in batches]
        taps.append(parts[0] if len(parts) == 1 else torch.cat(parts))
    return taps


def _others(asked: list[Label], trained: tuple[Label, ...]) -> list[Label]:
    """Return the labels of the training of which no synonym was asked for."""
    words = {word.casefold() for label in asked for word in label.synonyms}
    return [label for label in trained if not words & {word.casefold() for word in label.synonyms}]


def make_engine(preset: OdisePreset, bank: Bank, device: str) -> OdiseEngine:
    """Return the engine of a preset; it loads no weights yet, and keeps nothing in the bank.

    Raises:
        DeviceError: torch cannot use the device.
    """
    require_device(device)
    return OdiseEngine(preset, device=device)
