"""What the page of a category shows: its support images, what people changed, its background, and prompts on trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from backend.pages.pictures import Kept
from converters.label_studio.label_tag import attribute_text
from converters.label_studio.own_attributes import PROMPTS
from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.support import SupportSet
from ovdiff.curation.curation import Curation
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import HasSupportSets, JudgesWords
from ovdiff.engines.curating import Curates
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Category

ADDRESS_DIGITS = 12
MOST_PLACES = 5
"""Support images that are shown of a background prototype: those in which it has most places."""


@dataclass(frozen=True)
class Card:
    """A support image on the page.

    Attributes:
        number: its number within the category.
        text: the phrase that it was drawn from, or what an exemplar is called.
        state: "drawn", "exemplar" or "left out".
        note: why an image is left out, or that it shows nothing; "" if neither.
    """

    number: int
    text: str
    state: str
    note: str


@dataclass(frozen=True)
class Change:
    """Something that people changed of a support set, with the form that undoes it.

    Attributes:
        text: what was changed, when and why.
        undo: the name of the change that takes it back: see `backend.pages.category_routes`.
        field: the field of the form that names what is meant; "" if the change needs none.
        value: what stands in that field.
        button: what the form's button says.
        into: the label of which background was made a part; "" if this is no such change.
    """

    text: str
    undo: str
    field: str
    value: str
    button: str
    into: str = ""


@dataclass(frozen=True)
class SupportView:
    """The support images of a category, or why none can be shown.

    Attributes:
        key: the content address of the category's prototypes, under which its pictures are kept.
        cards: the images in the order of their numbers.
        refused: how many drawings were refused as unsafe.
        judgement: how CLIP judged the word, as a phrase; "" if it was not judged.
        trouble: why there are no cards; "" if there are.
    """

    key: str = ""
    cards: tuple[Card, ...] = ()
    refused: int = 0
    judgement: str = ""
    trouble: str = ""

    @property
    def has_several_prompts(self) -> bool:
        """Whether the images were drawn from several phrases, so that each image should say from which."""
        return len({card.text for card in self.cards if card.state != "exemplar"}) > 1


@dataclass(frozen=True)
class BackgroundRow:
    """A background prototype on the page: its number, what it is, and the numbers of images with most of its places."""

    number: int
    text: str
    images: tuple[int, ...]


def support_view(engine: SegmentationEngine, category: Category, kept: Kept[SupportView] | None = None) -> SupportView:
    """Return the support images of a category. No model runs.

    Args:
        engine: what has them.
        category: the category.
        kept: the views of the last categories; the files of a support set are read for other ones alone.
    """
    if not isinstance(engine, HasSupportSets):
        return SupportView(
            trouble=f"The engine {engine.preset.engine} draws no support images: a word costs it a few texts."
        )
    try:
        key, curation = engine.category_key(category), curation_of(engine, category)
        view = (kept or Kept(1)).of((key, curation), lambda: _view(key, engine.support_set(category)))
        found = engine.judgement(category) if isinstance(engine, JudgesWords) and engine.has(category) else None
    except OVDiffError as error:
        return SupportView(trouble=str(error))
    return replace(view, judgement="" if found is None else str(found))  # a word is judged after its images are there


def curation_of(engine: SegmentationEngine, category: Category) -> Curation | None:
    """Return what people changed of a category; None if nothing of the engine's can be changed.

    Raises:
        OVDiffError: the curation cannot be read, or a model's files are missing.
    """
    return engine.curator.curation(category) if isinstance(engine, Curates) else None


def changes(curation: Curation | None) -> tuple[Change, ...]:
    """Return what people changed, each with what undoes it."""
    return () if curation is None else tuple(_changes(curation))


def background_rows(prototypes: Sequence[BackgroundPrototype]) -> tuple[BackgroundRow, ...]:
    """Return the parts of a background, the largest first. The means of all background and of an image are no parts."""
    parts = sorted((item for item in prototypes if item.kind == "part"), key=lambda item: -item.share)
    return tuple(
        BackgroundRow(item.number, f"{item.extractor}, {item.share:.0%} of the background", most_places(item))
        for item in parts
    )


def most_places(item: BackgroundPrototype) -> tuple[int, ...]:
    """Return the numbers of the support images in which a background prototype has most places."""
    return tuple(sorted(item.places, key=lambda number: (-int(item.places[number].sum()), number))[:MOST_PLACES])


def prompts_attribute(prompts: Sequence[str]) -> str:
    """Return the attribute of a label that says other prompts, as XML.

    It is not the whole `<Label>`: whoever pasted that over the label would lose its other attributes, such as a
    threshold, an alias or a hotkey.
    """
    return attribute_text(PROMPTS, "; ".join(prompts))


def _view(key: str, support: SupportSet) -> SupportView:
    return SupportView(key, tuple(_cards(support)), support.refused)


def _cards(support: SupportSet) -> Iterator[Card]:
    left_out = {item.number for item in support.rejected}
    for item in sorted([*support.images, *support.rejected], key=lambda item: item.number):
        if item.number in left_out:
            yield Card(item.number, item.prompt, "left out", support.reasons.get(item.number, ""))
        elif item.exemplar:
            yield Card(item.number, item.exemplar, "exemplar", "")
        else:
            yield Card(
                item.number, item.prompt, "drawn", "" if item.foreground.any() else "nothing of it was found here"
            )


def _changes(curation: Curation) -> Iterator[Change]:
    if not curation.draw:
        yield Change("No images are drawn: it is made of its exemplars alone.", "draw", "", "", "Draw images again")
    for item in curation.rejected:
        text = f"Image {item.number} was left out on {item.when}{_because(item.why)}."
        yield Change(text, "restore", "number", str(item.number), "Take it back")
    for exemplar in curation.exemplars:
        source = f", from {exemplar.source}" if exemplar.source else ""
        text = f"The image {exemplar.name} was added on {exemplar.when}{source}."
        yield Change(text, "remove-exemplar", "value", exemplar.pictures[:ADDRESS_DIGITS], "Remove it")
    for ban in curation.bans:
        into = f", and made part of {ban.into}" if ban.into else ""
        kind = f"{ban.extractor}, {ban.share:.0%} of the background"
        text = f"Background ({kind}) was ruled out on {ban.when}{into}{_because(ban.why)}."
        undo, button = ("demote", "Undo it") if ban.into else ("unban", "Allow it again")
        yield Change(text, undo, "places", ban.places[:ADDRESS_DIGITS], button, into=ban.into)


def _because(why: str) -> str:
    return f": {why}" if why else ""
