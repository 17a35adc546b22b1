"""What a project's images show that is none of its labels: candidates for new ones, with crops."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.pages.searches.task_search import TaskSearch
from backend.presentation.crops import crop
from backend.sources.few_tasks import BareTask
from converters.label_studio.label_tag import label_line
from ovdiff.engines.encodings import FindsNovelties
from ovdiff.novelties.groups import Example, NoveltyGroup, group_regions
from ovdiff.vocabulary import Vocabulary

MOST_GROUPS = 8
CROPS = 6
CROP_PX = 160
MOST_CROPS = 1200
"""Crops that are kept until the regions are grouped, those of the most novel regions: 60 MB at most."""


@dataclass(frozen=True)
class CandidateCrop:
    """A region of a task that looks like the candidate."""

    picture: Image.Image
    task: int


@dataclass(frozen=True)
class Candidate:
    """A group of regions that look alike and show none of the labels.

    Attributes:
        word: what CLIP takes it for, the likeliest word.
        share: CLIP's share of that word.
        others: the next words, with their shares.
        tasks, regions: in how many tasks, and in how many regions it was seen.
        crops: what it looks like.
        line: the line to paste into the label config.
    """

    word: str
    share: float
    others: tuple[tuple[str, float], ...]
    tasks: int
    regions: int
    crops: tuple[CandidateCrop, ...]
    line: str


class _Crops:
    """The crops of the most novel regions so far."""

    def __init__(self) -> None:
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Example, Image.Image]] = []

    def add(self, example: Example, picture: Image.Image) -> None:
        entry = (example.region.novelty, next(self._order), example, picture)
        if len(self._heap) < MOST_CROPS:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def by_example(self) -> dict[int, Image.Image]:
        return {id(example): picture for _, _, example, picture in self._heap}


def find_candidates(search: TaskSearch, engine: FindsNovelties) -> tuple[Candidate, ...]:
    """Look at tasks of a project, and return candidates for new labels, those of most images first.

    Raises:
        LabelStudioAPIError: Label Studio did not answer.
    """
    found: list[Example] = []
    crops = _Crops()

    def visit(task: BareTask, pixels: NDArray[np.uint8], vocabulary: Vocabulary) -> bool:
        for region in engine.novel_regions(engine.encode(pixels), vocabulary):
            example = Example(str(task.id), replace(region, mask=None))
            found.append(example)
            crops.add(example, crop(pixels, region.box, CROP_PX))
        return True

    search.run(visit)
    kept = crops.by_example()
    return tuple(_candidate(group, kept) for group in group_regions(found)[:MOST_GROUPS])


def _candidate(group: NoveltyGroup, kept: dict[int, Image.Image]) -> Candidate:
    (word, share), *others = group.looks_like
    shown = [each for each in group.examples if id(each) in kept][:CROPS]
    return Candidate(
        word=word,
        share=share,
        others=tuple(others),
        tasks=group.images,
        regions=len(group.examples),
        crops=tuple(CandidateCrop(kept[id(each)], int(each.image)) for each in shown),
        line=label_line(word),
    )
