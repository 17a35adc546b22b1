"""What competes for the pixels of an image, and the score maps after each step from votes to labels: data alone.

Tested through the whole by tests/ovdiff/segmenting/test_image_segmenter.py.
"""

from dataclasses import dataclass

from ovdiff.segmentation import PartEvidence
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.lessons.model import LessonModel
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.tables import Tables

PART_CHECK = "part check"
"""The name of the step in which CLIP looks at parts."""


@dataclass(frozen=True)
class Match:
    """An image, and what competes for its pixels.

    Attributes:
        encoded: the encoded image.
        competition: the asked words and the anchors.
        tables: the prototypes of both, by the extractor's name.
        candidates: the indices of the words that the prefilter left, ascending.
        lessons: what the lessons in force say; ``None`` if there are none.
    """

    encoded: EncodedImage
    competition: Competition
    tables: Tables
    candidates: list[int]
    lessons: LessonModel | None = None


@dataclass(frozen=True)
class Step:
    """The score maps of an image after one step.

    Attributes:
        name: the step: "votes" (Eq. 4), and then, where there are any or the preset has them, "lessons", "PAMR", "part
            check", "uncertain stuff".
        maps: the score maps after it.
        parts: what CLIP saw in the parts of things, as soon as it looked.
    """

    name: str
    maps: ScoreMaps
    parts: tuple[PartEvidence, ...] = ()
