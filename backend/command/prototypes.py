"""`ovdiff prototypes`: make, list and remove the prototype sets of a bank. `show` is in `backend.command.show`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from backend.command.console import complain, notice, progress_bar, say
from backend.command.stored_sets import KEY_DIGITS, StoredSet, find_sets, stored_sets
from backend.command.table import table
from backend.errors import RequestError, UsageError
from converters.console import answer
from ovdiff.bank import Bank
from ovdiff.bank.judgement import ADVICE, Judgement, word_state
from ovdiff.bank.support_store import SupportStore
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import DrawsAhead, HasAnchors, JudgesWords, SharesBuilding
from ovdiff.engines.contract import Builder
from ovdiff.errors import CurationError, SupportError, VocabularyError
from ovdiff.vocabulary import Category, Vocabulary

if TYPE_CHECKING:
    from backend.command.on_ray import OnRay

CATEGORY_ERRORS = (CurationError, SupportError, VocabularyError)
"""Errors that concern one category alone: after them the other categories are still built."""


def read_categories(text: str) -> Vocabulary:
    """Return the vocabulary of "boat, water" or, with prompts, "boat=a boat;a ship, water".

    Raises:
        VocabularyError: the text names no category, a blank one, or the same one twice.
    """
    return Vocabulary(tuple(_category(part) for part in text.split(",") if part.strip()))


def build_prototypes(categories: Sequence[Category], engine: SegmentationEngine, ray: OnRay | None = None) -> None:
    """Make the prototypes of the categories that the bank lacks, and report the key of each category's prototypes.

    Sets that are there and were not judged are judged from their stored support images.

    Args:
        categories: what the bank should have.
        engine: what makes prototypes.
        ray: the cluster on which engines like this one make them.

    Raises:
        RequestError, OVDiffError: for the reasons that `build_missing` names.
    """
    failed: dict[Category, str] = {}
    lacking = _lacking(categories, engine, failed)
    ready = [category for category in categories if category not in lacking and category not in failed]
    for category in ready:
        word = _word(engine.judge(category)) if isinstance(engine, JudgesWords) else ""
        say(f"{category.name}: ready, {_shown_key(category, engine)}{word}")
    try:
        build_missing(categories, engine, failed, ray)
    finally:
        if not isinstance(sys.exception(), KeyboardInterrupt):  # Then nobody waits for the bank's storage any more.
            answer([_as_json(category, engine, category in ready, failed.get(category)) for category in categories])


def _as_json(category: Category, engine: Builder, was_ready: bool, error: str | None) -> dict[str, object]:
    """Return what became of a category that was asked for; without its curation nobody knows its key."""
    key, is_ready = "", False
    with suppress(CurationError):
        key, is_ready = engine.category_key(category), engine.has(category)
    judgement = engine.judgement(category) if isinstance(engine, JudgesWords) and is_ready else None
    return {
        "category": category.name,
        "prompts": category.phrases,
        "key": key,
        "was_ready": was_ready,
        "is_ready": is_ready,
        "word": word_state(judgement),
        "judgement": judgement,
        "error": error or "",
    }


def anchors_of(engine: SegmentationEngine) -> tuple[Category, ...]:
    """Return the preset's anchors that compete for pixels.

    Raises:
        UsageError: the preset has none.
    """
    anchors = engine.anchors() if isinstance(engine, HasAnchors) else ()
    if not anchors:
        raise UsageError(
            f"The preset {engine.preset.name!r} has no anchors to build; leave out --anchors, or name words as "
            "anchors.prototypes in a preset of your own."
        )
    return anchors


def say_missing_anchors(engine: Builder) -> None:
    """Say once, before images are segmented, that anchors of the preset are not built yet, and what that means."""
    anchors = engine.anchors() if isinstance(engine, HasAnchors) else ()
    if missing := [anchor for anchor in anchors if not engine.has(anchor)]:
        complain(
            f"{len(missing)} of {len(anchors)} anchors are not built, so stuff that is not in an image may be painted. "
            "To build them once for all projects: ovdiff prototypes build --anchors"
        )


def say_aside(vocabulary: Vocabulary, engine: Builder) -> None:
    """Say which anchors step aside, because they mean the same as words of the vocabulary."""
    aside = engine.anchors_aside(vocabulary) if isinstance(engine, HasAnchors) else ()
    meant = [(anchor, name) for anchor, name in aside if anchor.casefold() != name.casefold()]
    if meant:
        pairs = ", ".join(f"{anchor!r} for {name!r}" for anchor, name in meant)
        notice(f"anchors that mean the same as a word of yours step aside: {pairs}")


def build_missing(
    categories: Sequence[Category],
    engine: SegmentationEngine,
    failed: MutableMapping[Category, str] | None = None,
    ray: OnRay | None = None,
) -> None:
    """Make the prototypes of the categories that the bank lacks, with a progress bar.

    Cost: seconds for each category with the embedded models, minutes with full-size models.

    Args:
        categories: what the bank should have.
        engine: what makes prototypes.
        failed: gets the reason for each category that could not be built; those in it are not tried.
        ray: the cluster on which engines like this one make them, side by side.

    Raises:
        RequestError: some categories could not be built. Each was reported with its reason; the others are in the bank.
        OVDiffError: nothing can be built, because a model is missing or the bank is not writable. Prototypes that were
            finished before are kept.
    """
    failed = {} if failed is None else failed
    missing = _lacking([each for each in categories if each not in failed], engine, failed)
    wanted = len(missing) + len(failed)
    with progress_bar(len(missing), "category") as bar, _telling_how_to_go_on():
        done = dict.fromkeys(missing, 0.0)

        def report(category: Category, stage: str, fraction: float) -> None:
            done[category] = max(done[category], fraction)  # What was drawn ahead is told before the build begins.
            bar.set_description(f"{category.name}, {stage}", refresh=False)
            bar.update(sum(done.values()) - bar.n)

        for category, outcome in (_built_here if ray is None else ray.built)(engine, missing, report):
            if isinstance(outcome, CATEGORY_ERRORS):
                failed[category] = str(outcome)
                complain(f"{category.name}: {outcome}")
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                word = _word(engine.judgement(category)) if isinstance(engine, JudgesWords) else ""
                notice(f"{category.name}: built in {outcome:.1f} s, {_shown_key(category, engine)}{word}")
            report(category, "done", 1.0)
    if failed:
        names = ", ".join(category.name for category in failed)
        raise RequestError(f"{len(failed)} of {wanted} categories could not be built: {names}.")


@contextmanager
def _telling_how_to_go_on() -> Iterator[None]:
    """After Ctrl-C say what a second call does."""
    try:
        yield
    except KeyboardInterrupt:
        complain("Finished prototypes and support images are stored: the same command goes on with the others.")
        raise


def _lacking(categories: Sequence[Category], engine: Builder, failed: MutableMapping[Category, str]) -> list[Category]:
    """Return the categories that the bank lacks; of those whose curation cannot be read, tell it and note it."""
    lacking = []
    for category in categories:
        try:
            if not engine.has(category):
                lacking.append(category)
        except CurationError as error:
            failed[category] = str(error)
            complain(f"{category.name}: {error}")
    return lacking


def _groups(categories: Sequence[Category], engine: Builder) -> Iterator[list[Category]]:
    """Yield categories in their order, as many at once as the engine draws together.

    One that somebody else builds just now comes after the others.
    """
    left, most = list(categories), engine.categories_together if isinstance(engine, DrawsAhead) else 1
    while left:
        free = (each for each in left if not (isinstance(engine, SharesBuilding) and engine.being_built(each)))
        group = list(islice(free, most)) or left[:1]
        for category in group:
            left.remove(category)
        yield group


def _built_here(
    engine: Builder, categories: Sequence[Category], report: Callable[[Category, str, float], None]
) -> Iterator[tuple[Category, float | Exception]]:
    """Build categories one after another, and yield each with its seconds or with the error that concerns it alone.

    Where the engine draws several categories together, each has its share of the seconds that this took.
    """
    for group in _groups(categories, engine):
        drawing_s = 0.0
        if len(group) > 1 and isinstance(engine, DrawsAhead):
            started_s = time.monotonic()
            engine.draw_ahead(group, report)
            drawing_s = (time.monotonic() - started_s) / len(group)
        for category in group:
            started_s = time.monotonic()
            try:
                engine.build(category, partial(report, category))
            except CATEGORY_ERRORS as error:
                yield category, error
            else:
                yield category, drawing_s + time.monotonic() - started_s


def list_prototypes(bank: Bank) -> None:
    """Print the prototype sets of the bank: a line for each set, or all that is stored about it as JSON."""
    stored = stored_sets(bank)
    answer(stored)
    whole = [item for item in stored if not item.error]
    if not whole:
        say(f"no prototypes in the bank {bank.folder}; an engine of another package may keep its own elsewhere")
    else:
        header = ("key", "category", "images", "refused", "word", "KiB", "preset", "prompts")
        say(table([header, *map(_row, whole)], right=(2, 3, 5)))
    for item in whole:
        if item.judgement is not None and item.judgement.is_doubtful:
            say(f"{item.label} is doubtful: {item.judgement}. {ADVICE}.")
        if item.curation:
            say(f"{item.label} is curated: {item.curation}")
    for item in stored:
        if item.error:
            say(f"{item.short_key}  {item.error}")


def remove_prototypes(bank: Bank, texts: Sequence[str], confirm: Callable[[str], bool]) -> None:
    """Remove the sets that are named by category or key, after a person has agreed.

    Their support images are removed too, except where another set was made from the same images.

    Raises:
        UsageError: a text names no set, or is ambiguous; nothing is removed.
        RequestError: the person did not agree.
    """
    chosen = {item.key: item for text in texts for item in find_sets(bank, text)}
    for item in chosen.values():
        say(f"{item.label}  {'; '.join(item.prompts)}")
    if not confirm(f"Remove {'this set' if len(chosen) == 1 else f'these {len(chosen)} sets'}?"):
        raise RequestError("Nothing was removed.")
    for key in chosen:
        bank.remove(key)
    support_sets = _remove_support(bank, tuple(chosen.values()))
    answer({"removed": list(chosen.values()), "support_sets_removed": support_sets})
    say(f"removed: {len(chosen)} prototype sets, {support_sets} sets of support images")


def _remove_support(bank: Bank, removed: Sequence[StoredSet]) -> int:
    """Remove the support images of removed sets, unless another set was made from them; return how many."""
    store = support_store(bank)
    unused = {item.support_key for item in removed} - {item.support_key for item in stored_sets(bank)}
    kept = unused & set(store.keys())
    for key in kept:
        store.remove(key)
    return len(kept)


def support_store(bank: Bank) -> SupportStore:
    """Return the store of the support images that a bank's sets were made from."""
    return SupportStore(bank.folder / "support")


def _category(text: str) -> Category:
    name, _, prompts = text.partition("=")
    return Category(name.strip(), tuple(prompt.strip() for prompt in prompts.split(";") if prompt.strip()))


def _shown_key(category: Category, engine: Builder) -> str:
    return engine.category_key(category)[:KEY_DIGITS]


def _word(judgement: Judgement | None) -> str:
    """Return the end of a line about a category whose word is doubtful; "" for one that is not, or was not judged."""
    return f", doubtful: {judgement}. {ADVICE}." if judgement is not None and judgement.is_doubtful else ""


def _row(item: StoredSet) -> Sequence[str]:
    return (
        item.short_key,
        item.category,
        f"{item.images_with_foreground}/{item.images}",
        str(item.refused_images),
        item.word if item.judgement is None else f"{item.word} {item.judgement.agreeing}/{item.judgement.images}",
        f"{item.size_bytes / 1024:.0f}",
        item.preset,
        "; ".join(item.prompts),
    )
