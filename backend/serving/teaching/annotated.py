"""A person's annotation of a task, as a label map of what it speaks about.

    regions ── by the rule of overlaps ──> label map ──> Annotation, complete or partial

An annotation is partial if it says so, or if it marks something that no label map can hold: boxes, which show no
outline, and regions without a label. Of a partial annotation only the labelled pixels count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from converters import records
from converters.encodings.overlaps import LabelledRegion, regions_to_label_map
from ovdiff.errors import LessonError
from ovdiff.learning.annotation import Annotation
from ovdiff.vocabulary import Vocabulary

PARTIAL = "partial"
"""The choice for the whole image by which a person says that an annotation is partial."""

_BOXES = ("rectangle", "ellipse")


@dataclass(frozen=True)
class Scope:
    """What the annotations of an export speak about.

    Attributes:
        kinds: the tag of each control in lower case, by the control's name.
        covered: the names of the labels that were annotated everywhere; ``None`` means all of the vocabulary.
        partial: whether all annotations are partial.
        skipped: labels that the label config skips: their regions count as those without a label.
    """

    kinds: Mapping[str, str]
    covered: Collection[str] | None = None
    partial: bool = False
    skipped: Collection[str] = ()


def to_annotation(made: records.Annotation, vocabulary: Vocabulary, scope: Scope) -> tuple[Annotation, int]:
    """Return the annotation as a label map, and how many pixels more than one label claimed.

    Raises:
        LessonError: nothing usable is annotated, a region could not be read, or a label is not in the vocabulary.
    """
    if made.lost_regions:
        raise LessonError(
            f"{made.lost_regions} of its regions cannot be read, so what they cover would count as background; "
            "`ovdiff validate` says what is wrong with them."
        )
    numbers = {name: number for number, name in enumerate(vocabulary.names, start=1)}
    for label in dict.fromkeys(label for region in made.regions for label in region.labels):
        if label not in numbers and label not in scope.skipped:
            raise LessonError(
                f"its label {label!r} is not in the label config, whose labels are {', '.join(vocabulary.names)}. "
                "Give the label config with which it was annotated."
            )
    outlined = [r for r in made.regions if set(r.labels) - set(scope.skipped) and not _is_box(r, scope)]
    covered = None if scope.covered is None else tuple(name for name in vocabulary.names if name in scope.covered)
    spoken = vocabulary.names if covered is None else covered
    drawn = [
        LabelledRegion(region.rle, numbers[label], region.score)
        for region in outlined
        for label in region.labels
        if label in spoken
    ]
    if not drawn:
        only = ", or only boxes and regions without a label, which show no outline of a word" if made.regions else ""
        only = " that has one of the labels of --labels" if outlined else only
        raise LessonError(f"nothing is annotated in it{only}.")
    flat = regions_to_label_map(drawn, made.regions[0].size_hw)
    complete = not (scope.partial or says_partial(made)) and len(outlined) == len(made.regions)
    return Annotation(flat.label_map.astype(np.int32), vocabulary, covered, complete), flat.contested_px


def says_partial(made: records.Annotation) -> bool:
    """Say whether the person chose "partial" for the whole image, in any control of choices."""
    return any(text.strip().casefold() == PARTIAL for texts in made.answers.values() for text in texts)


def _is_box(region: records.Region, scope: Scope) -> bool:
    return region.box_xywh is not None or scope.kinds.get(region.control, "").startswith(_BOXES)
