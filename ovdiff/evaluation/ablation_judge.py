"""One image by the rows of an ablation that share its encoding, in this process or in another one.

A process that is started for it has models of its own and one thread; it makes engines when the first image asks.
Tested by tests/ovdiff/evaluation/test_ablation.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ovdiff.bank import Bank
from ovdiff.engines import EnginePreset, SegmentationEngine
from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.run import IMAGE_ERRORS, Clock, EncodedScene, Protocol, encode, evaluate_encoded
from ovdiff.evaluation.shared_work import Engines, own_part


@dataclass(frozen=True)
class GroupPresets:
    """The presets of a group of jobs: see :class:`ovdiff.evaluation.shared_work.Group`."""

    encoder: EnginePreset | None
    jobs: tuple[EnginePreset, ...]


@dataclass(frozen=True)
class Item:
    """What is judged at once.

    Attributes:
        group: the place of the group.
        image: the image's name.
        jobs: the places of those jobs of the group that lack figures of the image.
    """

    group: int
    image: str
    jobs: tuple[int, ...]


Found = list[ImageFigures | str]
"""The figures of an image by each job of an item, or why there are none."""


class Judge:
    """Engines and a dataset."""

    def __init__(
        self, engines: Engines, dataset: Dataset, groups: tuple[GroupPresets, ...], protocol: Protocol
    ) -> None:
        """Make no engine yet."""
        self._engines, self._dataset, self._groups, self._protocol = engines, dataset, groups, protocol
        self._numbers = {image: number for number, image in enumerate(dataset.images)}
        self._of_group: tuple[int, SegmentationEngine | None, dict[int, SegmentationEngine]] = (-1, None, {})

    def __call__(self, item: Item) -> Found:
        """Return the figures of an image by each job of an item; it is read and encoded once."""
        encoder, engines = self._made(item.group)
        clock = Clock()
        try:
            labelled = self._dataset.read(item.image)
            clock.note("read")
            encoded = None if encoder is None else encode(encoder, labelled)
            clock.note("encode")
        except IMAGE_ERRORS as error:
            return [str(error)] * len(item.jobs)
        found: Found = []
        for place in item.jobs:
            preset = self._groups[item.group].jobs[place]
            own = None if encoder is None else own_part(encoded, preset)
            scene = EncodedScene(item.image, self._numbers[item.image], labelled, own)
            if place not in engines:
                engines[place] = self._engines.of(preset)
            try:
                found.append(evaluate_encoded(engines[place], self._dataset, scene, self._protocol, clock.again()))
            except IMAGE_ERRORS as error:
                found.append(str(error))
        return found

    def _made(self, group: int) -> tuple[SegmentationEngine | None, dict[int, SegmentationEngine]]:
        """Return the encoder of a group and its engines so far; those of another group are let go."""
        if self._of_group[0] != group:
            encoder = self._groups[group].encoder
            self._of_group = group, None if encoder is None else self._engines.of(encoder), {}
        return self._of_group[1:]


@dataclass(frozen=True)
class JudgeElsewhere:
    """Judges in whatever process it is called; picklable.

    Attributes:
        make: makes the engine whose models the others share.
        bank: the prototypes.
        device: the device's name.
        open: opens the dataset.
        groups: the presets.
        protocol: what is asked besides the whole vocabulary.
        threads: how many threads torch uses in that process.
    """

    make: Callable[[], SegmentationEngine]
    bank: Bank
    device: str
    open: Callable[[], Dataset]
    groups: tuple[GroupPresets, ...]
    protocol: Protocol = field(default_factory=Protocol)
    threads: int = 1

    def __call__(self, item: Item) -> Found:
        """Return the figures of an image by each job of an item."""
        if not _of_this_process:
            start_judge(self)
        return judge_here(item)

    def judge(self) -> Judge:
        """Make the engine and open the dataset."""
        import torch

        torch.set_num_threads(self.threads)
        return Judge(Engines(self.make(), self.bank, self.device), self.open(), self.groups, self.protocol)


def start_judge(elsewhere: JudgeElsewhere) -> None:
    """Make the judge of this process."""
    _of_this_process[:] = [elsewhere.judge()]


def judge_here(item: Item) -> Found:
    """Return the figures of an image by each job of an item, by the judge of this process."""
    return _of_this_process[0](item)


_of_this_process: list[Judge] = []  # the one judge of a process that was started for an ablation
