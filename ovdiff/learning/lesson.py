"""An encoded image and an annotation become a lesson."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.lessons import Lesson, LessonCrops, LessonSource, LessonWord
from ovdiff.learning.addresses import words_of
from ovdiff.learning.annotation import Annotation
from ovdiff.learning.cells import UNKNOWN, resize_labels, rows_of
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.part_check import embed_boxes, find_parts
from ovdiff.segmenting.parts import SegmentingParts

_Labels = NDArray[np.int32]


def take_lesson(
    parts: SegmentingParts,
    encoded: EncodedImage,
    annotation: Annotation,
    predicted: NDArray[np.integer],
    stuff: Collection[int],
) -> Lesson:
    """Take the lesson of an annotated image; its address, recipe, image and source are left to the caller.

    Args:
        parts: the models; call this inside ``with parts.models.lock``.
        encoded: the encoded image.
        annotation: what the person says.
        predicted: (H, W), the label map that was predicted with the annotation's vocabulary and without any lesson, so
            that the order in which lessons are taken does not matter.
        stuff: the indices of the categories that are stuff. CLIP looks at parts of things alone.

    Raises:
        WeightsError: CLIP cannot be loaded.
    """
    words, preset = words_of(annotation, parts.preset), parts.preset
    size_hw = (encoded.working.shape[0], encoded.working.shape[1])
    said, foretold = (resize_labels(labels, size_hw) for labels in (annotation.label_map, predicted))
    taught = _known(said, foretold, annotation, words)
    return Lesson(
        address="",
        recipe="",
        image="",
        words=words,
        complete=annotation.complete,
        spaces={
            name: rows_of(batches, taught, foretold, preset.learning) for name, batches in encoded.features.items()
        },
        crops=_crops(parts, encoded, said, foretold, stuff) if preset.part_check.enabled else None,
        embedding=None if encoded.embedding is None else encoded.embedding.float().cpu().numpy(),
    )


def sourced(lesson: Lesson, address: str, recipe: str, image: str, source: LessonSource) -> Lesson:
    """Return a lesson with its address and its source."""
    return replace(lesson, address=address, recipe=recipe, image=image, source=source)


def _known(said: _Labels, predicted: _Labels, annotation: Annotation, words: tuple[LessonWord, ...]) -> _Labels:
    """Return the label map with ``UNKNOWN`` where the annotation says nothing.

    A complete annotation says of a pixel without a label that it shows none of the words that it speaks about. If the
    prediction gave the pixel a word that the annotation does not speak about, that word may be right.
    """
    if not annotation.complete:
        return np.where(said == 0, UNKNOWN, said).astype(np.int32)
    uncovered = [number for number, word in enumerate(words, start=1) if not word.covered]
    return np.where((said == 0) & np.isin(predicted, uncovered), UNKNOWN, said).astype(np.int32)


def _crops(
    parts: SegmentingParts, encoded: EncodedImage, said: _Labels, predicted: _Labels, stuff: Collection[int]
) -> LessonCrops:
    """Return CLIP's views of the connected parts of annotated things, the largest first."""
    settings = parts.preset.part_check
    things = [number for number in np.unique(said).tolist() if number and number - 1 not in stuff]
    pieces = [piece for number in things for piece in find_parts(said == number, number, settings)]
    pieces = sorted(pieces, key=lambda piece: -np.count_nonzero(piece.mask))[: settings.max_parts]
    seen = embed_boxes(parts, encoded.working, [piece.box for piece in pieces]).numpy()
    depth = 0 if encoded.embedding is None else len(encoded.embedding)
    return LessonCrops(
        vectors=seen if pieces else np.empty((0, depth), np.float32),
        labels=np.array([piece.label for piece in pieces], np.int32),
        predicted=np.array([np.bincount(predicted[piece.mask]).argmax() for piece in pieces], np.int32),
        areas=np.array([piece.mask.mean() for piece in pieces], np.float32),
    )
