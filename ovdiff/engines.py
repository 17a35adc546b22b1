"""The engines: the Protocols of an engine, the table of all engines, and the functions that make one from a preset.

An engine turns a vocabulary and an image into a segmentation. A preset names its engine (``engine = "ovdiff"``), so a
preset is enough to make the engine: the command line, the service and programs call :func:`load_any_preset` and
:func:`make_engine`. Another package adds an engine by the entry point group ``ovdiff.engines``.

An engine is imported when it is made. This module never imports torch.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.card import Card
from ovdiff.bank.judgement import Judgement
from ovdiff.bank.lesson_store import LessonStore
from ovdiff.bank.lessons import Lesson, LessonSource
from ovdiff.bank.support import SupportSet
from ovdiff.baselines.preset import CLIP_DENSE, CLIPSEG, GROUPVIT, ClipDensePreset, ClipSegPreset, GroupVitPreset
from ovdiff.curation.curation import Curation
from ovdiff.errors import PresetError
from ovdiff.explaining.explanation import Explanation, Where
from ovdiff.forecasting.forecast import Forecast
from ovdiff.learning.annotation import Annotation
from ovdiff.learning.curve_points import CurvePoint
from ovdiff.learning.next_tasks import TaskScore
from ovdiff.novelties.groups import NovelRegion
from ovdiff.odise.preset import ENGINE as ODISE
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets import Part, Preset
from ovdiff.presets.files import OVDIFF, read_preset
from ovdiff.presets.mapping import build
from ovdiff.presets.part import Parts
from ovdiff.presets.preset import TABLE_TYPES, mapping_to_preset
from ovdiff.presets.validation import check_bounds
from ovdiff.segmentation import FoundObject, PlaceScores, Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision

ENGINES = Parts(
    "engine",
    "ovdiff.engines",
    {
        OVDIFF: Part("ovdiff.engine:make_engine", settings=Preset, needs="words, whose support images are drawn once"),
        ODISE: Part("ovdiff.odise.engine:make_engine", settings=OdisePreset, needs="words; a head trained on masks"),
        CLIP_DENSE: Part("ovdiff.baselines.engine:make_engine", settings=ClipDensePreset, needs="words"),
        GROUPVIT: Part(
            "ovdiff.baselines.engine:make_engine", settings=GroupVitPreset, needs="words; was trained on captions"
        ),
        CLIPSEG: Part(
            "ovdiff.baselines.engine:make_engine", settings=ClipSegPreset, needs="words; was trained on masks"
        ),
    },
)
"""All engines, by the ``engine`` field of their presets.

The ``settings`` of each :class:`~ovdiff.presets.Part` are the dataclass of the engine's presets (an
:class:`EnginePreset`). Its ``make`` is called with a preset, the bank and a device's name, and returns a
:class:`SegmentationEngine`.
"""

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the fraction done, 0 to 1."""


class EnginePreset(Protocol):
    """The preset of an engine: a frozen dataclass; its fields are declared by :func:`ovdiff.presets.fields.setting`."""

    @property
    def name(self) -> str:
        """The preset's own name."""
        ...

    @property
    def engine(self) -> str:
        """The name of the preset's engine, as in :data:`ENGINES`."""
        ...


@runtime_checkable
class Builder(Protocol):
    """The half of an engine that prepares categories, each once."""

    def category_key(self, category: Category) -> str:
        """Return the content address of the data that the engine prepares for a category. It is cheap: no model loads.

        Raises:
            OVDiffError: a model's files are missing.
        """
        ...

    def has(self, category: Category) -> bool:
        """Say whether the category is prepared, so that an image can be segmented with it."""
        ...

    def build(self, category: Category, progress: Progress | None = None) -> None:
        """Prepare a category unless it is prepared already, and report the stage and the fraction done.

        Raises:
            OVDiffError: the category cannot be prepared; the message says why.
        """
        ...


@runtime_checkable
class SegmentationEngine(Builder, Protocol):
    """The methods that every engine has. Several threads may share an engine."""

    @property
    def preset(self) -> EnginePreset:
        """The preset from which the engine was made."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of the weights and hyper-parameters, which with the prepared categories decide the masks."""
        ...

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image; every category must be prepared.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
            OVDiffError: the image cannot be segmented for another reason.
        """
        ...


@runtime_checkable
class SegmentsTogether(Protocol):
    """An engine whose work on an image has parts that no model does, and that can take several images at once."""

    @property
    def images_together(self) -> int:
        """How many images to segment at once, 1 or more."""
        ...

    def prepared(self, image: NDArray[np.uint8], *, keep: bool = False) -> Any:
        """Return what the engine first makes of an (H, W, 3) uint8 RGB image; no model runs, any thread may ask.

        With ``keep`` what `segment_together` makes of the image without words is kept, as `segment` keeps it.
        """
        ...

    def segment_together(
        self, images: Sequence[NDArray[np.uint8]], vocabulary: Vocabulary, prepared: Sequence[Any] | None = None
    ) -> list[Segmentation]:
        """Return the segmentations of several images, with what `prepared` made of each, if it was asked.

        Raises:
            OVDiffError: one of the images cannot be segmented.
        """
        ...


@runtime_checkable
class DrawsAhead(Protocol):
    """An engine that does the first and longest part of preparing several categories at once, as a GPU wants it."""

    @property
    def categories_together(self) -> int:
        """How many categories to give at once: 1 where that brings nothing."""
        ...

    def draw_ahead(self, categories: Sequence[Category], report: Callable[[Category, str, float], None]) -> None:
        """Do that part for the categories that lack it; `Builder.build` finds it, and says what is wrong with the rest.

        Args:
            categories: what will be built next.
            report: called with a category, the name of a stage and the fraction done; may raise to end it all.

        Raises:
            OVDiffError: nothing can be prepared, because a model is missing, or the bank is not writable.
        """
        ...


@runtime_checkable
class HasKinds(Protocol):
    """An engine that treats things and stuff differently, and can say whether a category is a thing or stuff."""

    def kind_so_far(self, category: Category) -> KindDecision | None:
        """Return whether a category is a thing or stuff, and why; ``None`` if only a model can decide."""
        ...


@runtime_checkable
class HasAnchors(Protocol):
    """An engine in which words that nobody asked for compete with those of a vocabulary, and are never drawn."""

    def anchors(self) -> tuple[Category, ...]:
        """Return the words that compete for pixels; they do as soon as prototypes of all of them are made."""
        ...

    def anchors_aside(self, vocabulary: Vocabulary) -> tuple[tuple[str, str], ...]:
        """Return the anchors that step aside for a vocabulary, each with the asked name that means the same.

        Raises:
            OVDiffError: a model that this needs cannot be loaded.
        """
        ...


@runtime_checkable
class HasEncodings(Protocol):
    """An engine whose work on an image does not depend on the words, so that it is done once for many vocabularies."""

    def encode(self, image: NDArray[np.uint8]) -> Any:
        """Return what the models make of an (H, W, 3) uint8 RGB image; it may be kept from an earlier call.

        Raises:
            OVDiffError: the image cannot be encoded.
        """
        ...

    def encoding_key(self) -> str:
        """Return a hash of everything that shapes an encoding, but the image: engines of one hash share encodings."""
        ...

    def label(self, encoded: Any, vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an encoded image; every category must be prepared.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
        """
        ...


@runtime_checkable
class Prefilters(Protocol):
    """An engine that looks for those categories alone that an image is likely to show."""

    def encode(self, image: NDArray[np.uint8]) -> Any:
        """Return what the models make of an (H, W, 3) uint8 RGB image; it may be kept from an earlier call.

        Raises:
            OVDiffError: the image cannot be encoded.
        """
        ...

    def candidates(self, encoded: Any, vocabulary: Vocabulary) -> tuple[int, ...]:
        """Return the indices of the categories that are looked for in an encoded image, ascending.

        Raises:
            OVDiffError: a model cannot be loaded.
        """
        ...


@runtime_checkable
class FindsNovelties(Protocol):
    """An engine that finds regions of an image that show none of the asked words."""

    def encode(self, image: NDArray[np.uint8]) -> Any:
        """Return what the models make of an (H, W, 3) uint8 RGB image; it may be kept from an earlier call.

        Raises:
            OVDiffError: the image cannot be encoded.
        """
        ...

    def novel_regions(self, encoded: Any, vocabulary: Vocabulary) -> tuple[NovelRegion, ...]:
        """Return the regions of an encoded image that show none of a vocabulary's words, the most novel first.

        Raises:
            OVDiffError: prototypes are missing, or a model cannot be loaded.
        """
        ...


@runtime_checkable
class SharesModels(Protocol):
    """An engine beside which another one can be made that uses the models that this one has loaded."""

    def beside(self, preset: Any, bank: Bank) -> SegmentationEngine:
        """Return an engine of the same kind with another preset or bank, on the same loaded models."""
        ...


@runtime_checkable
class FindsInstances(Protocol):
    """An engine that tells objects of one kind apart."""

    def with_instances(
        self, image: NDArray[np.uint8], segmentation: Segmentation, vocabulary: Vocabulary
    ) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image with its ``instance_map``.

        Raises:
            OVDiffError: a model that this needs cannot be loaded.
        """
        ...


@runtime_checkable
class DetectsObjects(Protocol):
    """An engine that finds objects which may overlap, as average precision wants them."""

    def detections(self, encoded: Any, vocabulary: Vocabulary) -> Sequence[FoundObject]:
        """Return the things in an encoded image, the surest first.

        Raises:
            OVDiffError: a model that this needs cannot be loaded.
        """
        ...


@runtime_checkable
class WithoutBackground(Protocol):
    """A preset of an engine that can be told to give every pixel a category."""

    def without_background(self) -> "EnginePreset":
        """Return the preset with which no pixel is background, as datasets want it that have none."""
        ...


@runtime_checkable
class SharesBuilding(Protocol):
    """An engine that builds a category once, though several of its kind on one bank are asked for it."""

    def being_built(self, category: Category) -> str | None:
        """Return who builds a category just now, here or on another machine, or ``None``; loads no model.

        Raises:
            OVDiffError: a model's files are missing, or the bank cannot be asked.
        """
        ...


@runtime_checkable
class JudgesWords(Protocol):
    """An engine that can say whether its generator knows a word."""

    def judgement(self, category: Category) -> Judgement | None:
        """Return the stored judgement of a category, or ``None`` if it was not judged; loads no model.

        Raises:
            OVDiffError: a model's files are missing, or what is stored cannot be read.
        """
        ...

    def judge(self, category: Category) -> Judgement | None:
        """Judge a prepared category, unless it was judged before; ``None`` if it cannot be judged. Nothing is drawn.

        Raises:
            OVDiffError: a model cannot be loaded, or the judgement cannot be stored.
        """
        ...


@runtime_checkable
class Forecasts(Protocol):
    """An engine that can say what a vocabulary will be good for before anybody labels."""

    def forecast(self, vocabulary: Vocabulary, report: Progress | None = None) -> Forecast:
        """Return which categories will be confused, which words are doubtful, and an expected IoU of each category.

        Raises:
            VocabularyError: the vocabulary has one category alone.
            OVDiffError: a model cannot be loaded, or what a forecast needs is not stored.
        """
        ...


@runtime_checkable
class LoadsModels(Protocol):
    """An engine whose models can be loaded before they are needed."""

    def load_models(self) -> None:
        """Load the models that segment an image, unless they are loaded; this may take minutes.

        Raises:
            OVDiffError: a model cannot be loaded; the message says why.
        """
        ...


@runtime_checkable
class HasSupportSets(Protocol):
    """An engine that draws support images of a category and keeps them."""

    def support_set(self, category: Category) -> SupportSet:
        """Return the support images of a category with their masks; loads no model.

        Raises:
            BankError: some of them are not stored; the message says what to do.
        """
        ...


@runtime_checkable
class Learns(Protocol):
    """An engine that learns from annotated images, and keeps what it learned as lessons."""

    @property
    def lessons(self) -> LessonStore:
        """The store of the lessons."""
        ...

    def lessons_version(self, vocabulary: Vocabulary) -> str:
        """Return a hash of the lessons that count for a vocabulary; "" if none does."""
        ...

    def lesson_address(self, image: NDArray[np.uint8], annotation: Annotation) -> str:
        """Return the address that the lesson of an annotated (H, W, 3) uint8 RGB image has; no model runs.

        Raises:
            OVDiffError: the annotation is of another size, or a model's files are missing.
        """
        ...

    def learn(
        self,
        image: NDArray[np.uint8],
        annotation: Annotation,
        source: LessonSource | None = None,
        *,
        per_annotation: bool = False,
        draft: Lesson | None = None,
    ) -> Lesson:
        """Take the lesson of an annotated image and store it, unless it is there.

        Lessons that older annotations of the same task and image gave are removed; with ``per_annotation`` only those
        of older versions of the same annotation. With a ``draft``, by :class:`DraftsLessons`, no model runs.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
            OVDiffError: the lesson cannot be taken or stored for another reason.
        """
        ...


@runtime_checkable
class DraftsLessons(Protocol):
    """An engine that can take a lesson in one process, for another process to store."""

    def draft_lesson(self, image: NDArray[np.uint8], annotation: Annotation) -> Lesson | None:
        """Return the lesson of an annotated (H, W, 3) uint8 RGB image without its source; ``None`` if it is there.

        Raises:
            OVDiffError: the lesson cannot be taken.
        """
        ...


@runtime_checkable
class ScoresTasks(Protocol):
    """An engine that can say from which images it would learn most."""

    def task_score(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> TaskScore | None:
        """Return what an annotation of an (H, W, 3) uint8 RGB image promises to teach; ``None`` if it was taught.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
            OVDiffError: the image cannot be segmented for another reason.
        """
        ...


@runtime_checkable
class TellsCurve(Protocol):
    """An engine that can say how much its lessons help, by their number."""

    def learning_curve(self, vocabulary: Vocabulary) -> tuple[CurvePoint, ...]:
        """Return the learning curve of the lessons in force; () without any.

        Raises:
            OVDiffError: categories are not prepared, or a model cannot be loaded.
        """
        ...


class CategoryCurator(Protocol):
    """What changes the curations of categories: see :class:`ovdiff.building.curating.Curator`.

    Every change returns the new curation. A changed category has another key; its next build draws nothing anew.
    """

    def curation(self, category: Category) -> Curation:
        """Return what people changed of a category's support set."""
        ...

    def drawn_key(self, category: Category) -> str:
        """Return the content address of what is drawn for a category: within it the numbers of images are meant."""
        ...

    def is_ours(self, card: Card) -> bool:
        """Say whether this engine's preset made the prototype set of a card, whatever the curation now is."""
        ...

    def foreign(self, card: Card) -> str:
        """Say in words why the set of a card is not what this engine's preset makes of its phrases; "" if it is."""
        ...

    def reject(self, category: Category, numbers: Collection[int], why: str = "") -> Curation:
        """Leave drawn images out."""
        ...

    def restore(self, category: Category, numbers: Collection[int]) -> Curation:
        """Take rejected images back."""
        ...

    def draw(self, category: Category, *, draw: bool) -> Curation:
        """Say whether images are drawn at all, or the category is made of its exemplars alone."""
        ...

    def add_exemplar(
        self,
        category: Category,
        image: NDArray[np.uint8],
        mask: NDArray[np.bool_],
        name: str,
        source: str = "",
        *,
        alone: bool = False,
    ) -> Curation:
        """Add an (H, W, 3) uint8 RGB image with the (H, W) bool mask of the object."""
        ...

    def remove_exemplar(self, category: Category, which: str) -> Curation:
        """Take an exemplar out, by its name or the first digits of its address."""
        ...

    def backgrounds(self, category: Category) -> tuple[BackgroundPrototype, ...]:
        """Return the background prototypes of a built category, with the places that they came from."""
        ...

    def ban(self, category: Category, number: int, why: str = "", into: str = "") -> Curation:
        """Make the places of a background prototype background no more."""
        ...

    def unban(self, category: Category, which: int | str) -> Curation:
        """Lift a ban, by its number in the curation or the first digits of the address of its places."""
        ...

    def promote(self, category: Category, number: int, into: Category) -> Curation:
        """Make the places of a background prototype a category of their own."""
        ...

    def demote(self, category: Category, which: str, into: Category) -> Curation:
        """Undo a promotion, by the first digits of the address of its places; return the first one's curation."""
        ...

    def put(self, category: Category, curation: Curation) -> Curation:
        """Put a curation in the place of the present one, such as one that was tried, or the one from before."""
        ...


@runtime_checkable
class Curates(Protocol):
    """An engine whose support sets people can change."""

    @property
    def curator(self) -> CategoryCurator:
        """What changes the curations of this engine's preset."""
        ...


class CuratingEngine(SegmentationEngine, HasEncodings, Curates, Protocol):
    """An engine whose words people can change, and which encodes an image once for what a word was and what it is."""


@runtime_checkable
class DraftsCurations(Protocol):
    """An engine beside which changes of words can be tried before they are in force."""

    def drafting(self) -> CuratingEngine:
        """Return an engine on the same models and bank, whose curations are changed in memory alone."""
        ...


@runtime_checkable
class Explains(Protocol):
    """An engine that can say why a place of an image has its label."""

    def encode(self, image: NDArray[np.uint8]) -> Any:
        """Run the models on an (H, W, 3) uint8 RGB image, and return what :meth:`explain` takes.

        Raises:
            OVDiffError: the image cannot be encoded; the message says why.
        """
        ...

    def explain(self, encoded: Any, vocabulary: Vocabulary, where: Where) -> Explanation:
        """Say why a place of an encoded image has its label; every category must be prepared.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
            ImageError: the pixel lies outside the image, or the mask is empty or of another size.
            OVDiffError: the image cannot be segmented for another reason.
        """
        ...


@runtime_checkable
class ScoresPlaces(Protocol):
    """An engine that can say how strongly each word claims a pixel, if not why."""

    def encode(self, image: NDArray[np.uint8]) -> Any:
        """Run the models on an (H, W, 3) uint8 RGB image, and return what :meth:`place_scores` takes.

        Raises:
            OVDiffError: the image cannot be encoded; the message says why.
        """
        ...

    def place_scores(self, encoded: Any, vocabulary: Vocabulary, place: tuple[int, int]) -> PlaceScores:
        """Return the score of each category at a pixel (x, y) of an encoded image.

        Raises:
            ImageError: the pixel lies outside the image.
            OVDiffError: the words cannot be compared with the image for another reason.
        """
        ...


def load_any_preset(name_or_path: str | Path) -> EnginePreset:
    """Load the preset of any engine, by its name or from a ``.toml`` file.

    Raises:
        PresetError: there is no such preset, file or engine, the file is not TOML, or a field is unknown or impossible.
    """
    return mapping_to_any_preset(read_preset(name_or_path), f"Preset {str(name_or_path)!r}")


def mapping_to_any_preset(mapping: Mapping[str, Any], where: str) -> EnginePreset:
    """Build the preset of any engine from nested mappings; absent fields take their defaults.

    Args:
        mapping: the preset's tables; ``engine`` names the engine, OVDiff if it is absent.
        where: names the source of the mapping in messages.

    Raises:
        PresetError: there is no such engine, or a field is unknown or impossible.
    """
    mapping = {"engine": OVDIFF, **mapping}
    name = mapping["engine"]
    if not isinstance(name, str):
        raise PresetError(f"{where}: engine is {name!r}; expected an engine's name: {', '.join(ENGINES.names())}.")
    if name == OVDIFF:
        return mapping_to_preset(mapping, where)
    settings = ENGINES[name].settings
    if settings is None:
        raise PresetError(f"{where}: the engine {name!r} has no dataclass of its presets; its package must give one.")
    if not {"name", "engine"} <= {entry.name for entry in fields(settings)}:
        raise PresetError(f"{where}: {settings.__name__} of the engine {name!r} needs the fields name and engine.")
    preset: EnginePreset = build(settings, mapping, where, TABLE_TYPES)
    check_bounds(preset)
    return preset


def make_engine(preset: EnginePreset, bank: Bank, device: str) -> SegmentationEngine:
    """Make the engine that a preset names. No weights are loaded yet, but the engine may import torch.

    Args:
        preset: the preset of any engine.
        bank: the store of prepared categories; an engine may store its data elsewhere.
        device: the device's name, such as "cpu" or "cuda".

    Raises:
        PresetError: there is no such engine, a package that it needs is not installed, or it lacks a method that every
            engine has.
        DeviceError: the engine cannot use the device.
    """
    engine = ENGINES[preset.engine].make_one(f"engine {preset.engine!r}", preset, bank, device)
    if not isinstance(engine, SegmentationEngine):
        missing = ", ".join(name for name in _MEMBERS if not hasattr(engine, name))
        raise PresetError(f"The engine {preset.engine!r} is {type(engine).__name__}, which has no {missing}.")
    return engine


def engine_state(engine: SegmentationEngine, vocabulary: Vocabulary | None) -> str:
    """Return what decides about masks besides pixels and prepared categories: the fingerprint, and lessons that count.

    Args:
        engine: any engine.
        vocabulary: the categories that are asked for; ``None`` for none.
    """
    taught = engine.lessons_version(vocabulary) if isinstance(engine, Learns) and vocabulary is not None else ""
    return engine.fingerprint() + (f"-lessons-{taught}" if taught else "")


_MEMBERS = ("preset", "category_key", "has", "build", "fingerprint", "segment")
