"""`ovdiff prototypes reject`, `add-exemplar` and the like: people change what a word means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.command.console import say
from backend.command.exported_exemplar import AnnotatedTask, exported_exemplar
from backend.command.named_category import curator_of, named_category
from backend.command.stored_sets import KEY_DIGITS
from converters.console import answer
from ovdiff.bank import Bank
from ovdiff.curation.curation import Curation
from ovdiff.engines import SegmentationEngine
from ovdiff.images import read_image, read_mask
from ovdiff.vocabulary import Category

_MADE_ANEW = "its prototypes are made anew when they are next used, or by `ovdiff prototypes build`; nothing is drawn"


def reject_images(bank: Bank, which: str, numbers: Sequence[int], why: str, engine: SegmentationEngine) -> None:
    """Leave drawn images of a category out of its support set, and say what follows.

    Raises:
        UsageError, OVDiffError: as `named_category` and `CategoryCurator.reject` raise them.
    """
    category = named_category(which, bank, engine)
    say_changed(engine, (category, curator_of(engine).reject(category, numbers, why)))


def restore_images(
    bank: Bank, which: str, numbers: Sequence[int], engine: SegmentationEngine, *, draw: bool = False
) -> None:
    """Take rejected images back into a category's support set, and say what follows.

    Args:
        bank: the bank.
        which: the category, as a person names it.
        numbers: the numbers of the images; none takes none back.
        engine: an engine with the preset that is meant.
        draw: draw a category again that was made of exemplars alone.

    Raises:
        UsageError, OVDiffError: as `named_category` raises them, and `CategoryCurator.restore` and `draw`.
    """
    category, curator = named_category(which, bank, engine), curator_of(engine)
    if draw:
        curator.draw(category, draw=True)
    if numbers:
        curator.restore(category, numbers)
    say_changed(engine, (category, curator.curation(category)))


def add_exemplar(
    bank: Bank, which: str, image: Path, mask: Path, engine: SegmentationEngine, *, alone: bool = False
) -> None:
    """Add an image with a mask to a category's support set, and say what follows.

    Args:
        bank: the bank.
        which: the category, as a person names it.
        image: the image file.
        mask: the PNG of its mask; every pixel that is not 0 is the object's.
        engine: an engine with the preset that is meant.
        alone: make the category of its exemplars alone.

    Raises:
        UsageError, OVDiffError: as `named_category`, `read_mask` and `CategoryCurator.add_exemplar` raise them.
    """
    category = named_category(which, bank, engine)
    curator = curator_of(engine)
    added = curator.add_exemplar(category, read_image(image), read_mask(mask), image.name, alone=alone)
    say_changed(engine, (category, added))


def add_annotated(
    bank: Bank, which: str, task: AnnotatedTask, label: str, engine: SegmentationEngine, *, alone: bool = False
) -> None:
    """Add an annotated task of an export to a category's support set, and say what follows.

    Args:
        bank: the bank.
        which: the category, as a person names it.
        task: where the task is.
        label: the label whose regions are the object; "" for the category's name.
        engine: an engine with the preset that is meant.
        alone: make the category of its exemplars alone.

    Raises:
        UsageError, OVDiffError, ConverterError: as `named_category`, `exported_exemplar` and
            `CategoryCurator.add_exemplar` raise them.
    """
    category = named_category(which, bank, engine)
    image, mask, name = exported_exemplar(task, label or category.name)
    source = f"task {task.task} of {task.export.name}"
    added = curator_of(engine).add_exemplar(category, image, mask, name, source, alone=alone)
    say_changed(engine, (category, added))


def remove_exemplar(bank: Bank, which: str, exemplar: str, engine: SegmentationEngine) -> None:
    """Take an exemplar out of a category's support set, and say what follows.

    Raises:
        UsageError, OVDiffError: as `named_category` and `CategoryCurator.remove_exemplar` raise them.
    """
    category = named_category(which, bank, engine)
    say_changed(engine, (category, curator_of(engine).remove_exemplar(category, exemplar)))


def show_curation(bank: Bank, which: str, engine: SegmentationEngine) -> None:
    """Print what people changed of a category's support set.

    Raises:
        UsageError, OVDiffError: as `named_category` raises them, or the curation's file cannot be read.
    """
    category = named_category(which, bank, engine)
    curation = curator_of(engine).curation(category)
    answer(_as_json(category, curation, engine))
    say(f"{category.name}: {curation.summary() or 'nothing is changed'}")
    for line in _lines(curation):
        say(f"  {line}")


def _lines(curation: Curation) -> Iterator[str]:
    if not curation.draw:
        yield "nothing is drawn; the category is made of its exemplars alone"
    for item in curation.rejected:
        yield f"image {item.number} rejected on {item.when}{_because(item.why)}"
    for exemplar in curation.exemplars:
        source = f", from {exemplar.source}" if exemplar.source else ""
        yield f"exemplar {exemplar.name} ({exemplar.pictures[:KEY_DIGITS]}) added on {exemplar.when}{source}"
    for number, ban in enumerate(curation.bans):
        into = f", now part of {ban.into!r}" if ban.into else ""
        kind = f"{ban.extractor} {ban.kind}, {ban.share:.0%} of the background"
        yield f"ban {number} ({kind}) on {ban.when}{into}{_because(ban.why)}"


def _because(why: str) -> str:
    return f": {why}" if why else ""


def say_changed(engine: SegmentationEngine, *changed: tuple[Category, Curation]) -> None:
    """Say what is changed of categories now, and what happens to their prototypes."""
    answer([_as_json(category, curation, engine) for category, curation in changed])
    for category, curation in changed:
        say(f"{category.name}: {curation.summary() or 'nothing is changed any more'}")
        if engine.has(category):
            say(f"its prototypes are there: {engine.category_key(category)[:KEY_DIGITS]}")
        else:
            say(_MADE_ANEW)


def _as_json(category: Category, curation: Curation, engine: SegmentationEngine) -> dict[str, object]:
    return {
        "category": category.name,
        "prompts": category.phrases,
        "key": engine.category_key(category),
        "is_ready": engine.has(category),
        "curation": {name: getattr(curation, name) for name in ("draw", "rejected", "exemplars", "bans")},
    }
