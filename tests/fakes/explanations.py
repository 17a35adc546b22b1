"""An explanation made by hand: a boat that a fox nearly was, on an image of 20 x 10 px."""

from dataclasses import replace

import numpy as np

from ovdiff.bank.lessons import LessonSource
from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.explaining.explanation import (
    Explanation,
    Nearest,
    Prototype,
    Removal,
    Rival,
    Source,
    Stage,
    SupportPlace,
    Vote,
)
from ovdiff.explaining.taught import AlikeLesson, Taught, TaughtExtractor, TaughtGroup
from ovdiff.segmentation import PartEvidence, Segmentation

PART = Prototype("clip", "boat", "foreground", "part", 12)
INSTANCE = Prototype("sd", "boat", "foreground", "instance", 2, image=1)
FOX = Prototype("clip", "fox", "foreground", "class", 0)


def support() -> SupportSet:
    """Two images, of which the second has the number 3: others were rejected."""
    image = np.full((16, 16, 3), 90, dtype=np.uint8)
    mask = np.zeros((16, 16), dtype=bool)
    mask[4:12, 4:12] = True
    one = SupportImage(image, mask.astype(np.float32), mask, ~mask, seed=7, prompt="a boat")
    return SupportSet((one, replace(one, number=3)))


def explanation() -> Explanation:
    """A pixel at (15, 4): the votes say boat, PAMR keeps it, and the part check makes it fox, so background."""
    mask = np.zeros((10, 20), dtype=bool)
    mask[4, 15] = True
    labels = np.zeros((10, 20), dtype=np.int32)
    labels[:, :8] = 1
    rivals = (Rival("background", 0, False, 0.3), Rival("boat", 1, False, 0.7), Rival("fox", 2, True, 0.6))
    votes = (
        Vote(
            "clip", (0, 0, 20, 10), 0.5, (0.2, 0.8, 0.6), {1: (Nearest(PART, 1.0, 0.8),), 2: (Nearest(FOX, 1.0, 0.6),)}
        ),
        Vote(
            "sd",
            (10, 0, 10, 10),
            0.5,
            (0.4, 0.6, 0.6),
            {1: (Nearest(INSTANCE, 0.75, 0.7), Nearest(PART, 0.25, 0.3)), 2: (Nearest(FOX, 1.0, 0.6),)},
        ),
    )
    stages = (
        Stage("votes", 1, 1.0, 0.0, (0.3, 0.7, 0.6)),
        Stage("PAMR", 1, 1.0, 0.0, (0.3, 0.72, 0.61)),
        Stage("part check", 0, 1.0, 1.0, (0.3, 0.5, 0.72)),
    )
    half = np.zeros((4, 4), dtype=bool)
    half[:2] = True
    return Explanation(
        mask=mask,
        rivals=rivals,
        winner=1,
        runner_up=2,
        named=2,
        votes=votes,
        stages=stages,
        removed=(
            Removal("car", False, "average", 0.20, 0.25, 0.9, True),
            Removal("ship", False, "joint caption", 0.28, 0.29, 0.4, False),
        ),
        part=PartEvidence((0.5, 0.0, 1.0, 1.0), 0.1, "boat", None, (("fox", 0.8), ("boat", 0.1))),
        segmentation=Segmentation(labels, np.ones((10, 20), np.float32), np.ones((10, 20), np.float32)),
        names=("boat",),
        sources=(
            Source(PART, (SupportPlace(1, half), SupportPlace(0, half))),
            Source(INSTANCE, (SupportPlace(1, support().images[1].foreground),)),
            Source(FOX, (), "Its support images cannot be shown. They were removed."),
        ),
        support={"boat": support()},
    )


def taught() -> Taught:
    """Three lessons that favour things; the second extractor does not use them."""
    groups = (
        TaughtGroup("background", ("background", "fox"), True, float(np.log(0.03)), 0.03),
        TaughtGroup("things", ("boat",), True, float(np.log(0.97)), 0.97),
    )
    source = LessonSource("1", "12", "4", "ann", "", "harbour.png")
    return Taught(
        lessons=3,
        weight=0.086,
        groups=groups,
        extractors=(TaughtExtractor("clip", True, 0.5, 0.6, (0.03, 0.97)), TaughtExtractor("sd", False, 0.8, 0.7, ())),
        alike=(
            AlikeLesson("boat", 0.93, {"clip": 0.93}, source),
            AlikeLesson("ship", 0.8, {"clip": 0.8}, LessonSource()),
        ),
        part_without=PartEvidence((0.5, 0.0, 1.0, 1.0), 0.1, "boat", "boat", (("boat", 0.6), ("fox", 0.3))),
    )
