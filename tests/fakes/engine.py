"""A quick stand-in for the method: a category is what is painted in the colour its name or prompts mention."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.bank.judgement import Judgement
from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes, PrototypeSet
from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.errors import BankError, DeviceMemoryError, MissingPrototypesError, SupportError
from ovdiff.models.licences import WeightsLicence
from ovdiff.presets.segmenting_settings import InstanceSettings
from ovdiff.region_scores import RegionScoring
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.instances import find_instances
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}
TOLERANCE = 60  # JPEG's colours are not exact
SCORE = 0.75
SEEDS = (7, 8)


@dataclass(frozen=True)
class FakePreset:
    name: str
    engine: str = "fake"


@dataclass
class FakeEngine:
    """Keeps prototype sets in a real bank, so that a second one on the same folder finds what the first one made."""

    folder: Path
    name: str = "fake"
    build_seconds: float = 0.0
    failing: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()
    judged: list[str] = field(default_factory=list)
    gate: threading.Event | None = None
    built: list[str] = field(default_factory=list)
    segmented: int = 0
    encoded: int = 0
    segmenting: int = 0
    most_at_once: int = 0
    on_segment: Callable[[], None] = lambda: None
    scoring: RegionScoring | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def preset(self) -> FakePreset:
        return FakePreset(self.name)

    def category_key(self, category: Category) -> str:
        return hashlib.sha256(json.dumps([category.phrases, category.kind, self.name]).encode()).hexdigest()

    def fingerprint(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()

    def has(self, category: Category) -> bool:
        return Bank(self.folder).has(self.category_key(category))

    def build(self, category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        key = self.category_key(category)
        if progress is not None:
            progress("generating", 0.5)
        if self.gate is not None:
            self.gate.wait(60)
        time.sleep(self.build_seconds)
        if progress is not None:
            progress("extracting", 0.5)
        if category.name in self.failing:
            raise SupportError(f"No support image of {category.name!r} has any foreground.")
        card = replace(_card(category, self.name), judgement=self._judged(category))
        Bank(self.folder).save(key, _prototypes(), card)
        self.built.append(category.name)

    def judgement(self, category: Category) -> Judgement | None:
        key = self.category_key(category)
        return Bank(self.folder).card(key).judgement if Bank(self.folder).has(key) else None

    def judge(self, category: Category) -> Judgement | None:
        key = self.category_key(category)
        if Bank(self.folder).has(key) and self.judgement(category) is None:
            self.judged.append(category.name)
            Bank(self.folder).judge(key, self._judged(category))
        return self.judgement(category)

    def _judged(self, category: Category) -> Judgement:
        agreeing = 0 if category.name in self.doubtful else len(SEEDS)
        return Judgement(len(SEEDS), agreeing, 0.1, "" if agreeing else "mug", len(SEEDS) - agreeing, 0.5, "fake")

    def kind_so_far(self, category: Category) -> KindDecision | None:
        if category.name == "unheard of":
            return None
        return KindDecision(category.name, category.kind or "thing", "category" if category.kind else "table")

    def support_set(self, category: Category) -> SupportSet:
        if not self.has(category):
            raise BankError(f"The support images of {category.name!r} are not kept.")
        return self.drawn_set(category)

    def drawn_set(self, category: Category) -> SupportSet:
        image = np.zeros((8, 8, 3), dtype=np.uint8)
        image[2:6, 2:6] = np.minimum(colour_of(category), 255)
        foreground = image.any(axis=2)
        item = SupportImage(image, foreground.astype(np.float32), foreground, ~foreground)
        phrases = category.phrases
        images = (
            replace(item, seed=seed, number=number, prompt=f"a {phrases[number % len(phrases)]}")
            for number, seed in enumerate(SEEDS)
        )
        return SupportSet(tuple(images), refused=1)

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        missing = [category.name for category in vocabulary.categories if not self.has(category)]
        if missing:
            raise MissingPrototypesError(missing)
        self.on_segment()
        with self._lock:
            self.segmenting += 1
            self.segmented += 1
            self.most_at_once = max(self.most_at_once, self.segmenting)
        label_map = np.zeros(image.shape[:2], dtype=np.int32)
        for index, category in enumerate(vocabulary.categories):
            colour = np.array(colour_of(category), dtype=np.int32)
            label_map[(np.abs(image.astype(np.int32) - colour) <= TOLERANCE).all(axis=2)] = index + 1
        scores = np.where(label_map > 0, SCORE, 0.25).astype(np.float32)
        with self._lock:
            self.segmenting -= 1
        return Segmentation(label_map, scores, scores / 2, scoring=self.scoring)

    def encode(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.encoded += 1
        return image

    def encoding_key(self) -> str:
        return "encodings"

    def label(self, encoded: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        return self.segment(encoded, vocabulary)

    def with_instances(
        self, image: NDArray[np.uint8], segmentation: Segmentation, vocabulary: Vocabulary
    ) -> Segmentation:
        """Tell connected parts of things apart, by the method's own code."""
        stuff = [index for index, category in enumerate(vocabulary.categories) if category.kind == "stuff"]
        settings = InstanceSettings(method="parts", min_area=0.0)
        return replace(segmentation, instance_map=find_instances(segmentation.label_map, stuff, settings))


@dataclass
class TogetherEngine(FakeEngine):
    """Takes up to three images at once, unless they are too much for it, and notes how many it got.

    Attributes:
        too_many: whether it has no room for several images.
        groups: how many images each group had.
        kept: of how many images the encoding was to be kept.
    """

    too_many: bool = False
    groups: list[int] = field(default_factory=list)
    kept: int = 0

    images_together = 3

    def prepared(self, image: NDArray[np.uint8], *, keep: bool = False) -> NDArray[np.uint8]:
        self.kept += keep
        return image[::2]

    def segment_together(
        self, images: Sequence[NDArray[np.uint8]], vocabulary: Vocabulary, prepared: Sequence[Any] | None = None
    ) -> list[Segmentation]:
        assert prepared is not None and [len(each) for each in prepared] == [-(-len(each) // 2) for each in images]
        self.groups.append(len(images))
        if self.too_many:
            raise DeviceMemoryError("no room")
        return [self.segment(image, vocabulary) for image in images]


def colour_of(category: Category) -> tuple[int, int, int]:
    """Return the RGB of the first colour word in the category's phrases; a colour no image has if there is none."""
    for phrase in category.phrases:
        for word in phrase.split():
            if word in COLOURS:
                return COLOURS[word]
    return (1000, 1000, 1000)


def _prototypes() -> PrototypeSet:
    one = Prototypes(np.ones((1, 2), np.float32), np.zeros(1, np.uint8), np.full(1, -1, np.int32))
    return PrototypeSet({"clip": FeatureSpacePrototypes(one, one)})


@dataclass
class DrawingAheadEngine(FakeEngine):
    """An engine that draws three categories at once, and remembers which."""

    ahead: list[list[str]] = field(default_factory=list)
    categories_together: int = 3
    drawing_gate: threading.Event | None = None

    def draw_ahead(self, categories: Sequence[Category], report: Callable[[Category, str, float], None]) -> None:
        self.ahead.append([category.name for category in categories])
        for category in categories:
            report(category, "generating", 0.4)
        if self.drawing_gate is not None:
            self.drawing_gate.wait(60)
        for category in categories:
            report(category, "generating", 0.8)


def _card(category: Category, preset: str) -> Card:
    return Card(
        category.name,
        preset,
        phrases=category.phrases,
        licences=(WeightsLicence("generator", "fake:generator", "MIT", ""),),
        image_seeds=SEEDS,
        images_with_foreground=len(SEEDS),
        refused_images=1,
        support_key=hashlib.sha256(category.name.encode()).hexdigest(),
    )
