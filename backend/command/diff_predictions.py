"""`ovdiff diff-predictions`: what a change of vocabulary, preset or bank does to the masks of a folder's images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backend.command.arguments.shared import require_bank
from backend.command.change_picture import MostChanged
from backend.command.console import complain, progress_bar, say
from backend.command.files import write_png
from backend.command.one_image import IMAGE_ERRORS, read_image_file
from backend.command.plan import Job, Plan
from backend.command.prototypes import build_missing, read_categories, say_missing_anchors
from backend.command.table import table
from backend.errors import RequestError, UsageError
from converters.console import answer
from ovdiff.bank import Bank
from ovdiff.blast_radius import BlastRadius, Change, Side, compare, predict_both
from ovdiff.engines import EnginePreset, SegmentationEngine, load_any_preset
from ovdiff.engines import make_engine as make_any_engine
from ovdiff.engines.encodings import HasEncodings
from ovdiff.engines.segmenting import SharesModels
from ovdiff.storage import place
from ovdiff.storage.patience import PATIENCE_S
from ovdiff.vocabulary import Vocabulary

LARGE = 0.05
"""An image of which more changes is counted as one that changes much."""

_MOST_LINES = 20  # more would scroll away what matters; --json has all
_SIDE_FORM = "expected categories=LIST, add=LIST, remove=LIST, preset=NAME_OR_FILE or bank=FOLDER"


@dataclass(frozen=True)
class Given:
    """What one side of the comparison is made of.

    Attributes:
        categories: its words; None where none were given.
        preset: a preset's name or file.
        bank: the folder of its prototypes.
    """

    categories: Vocabulary | None
    preset: str
    bank: Path


def with_changes(base: Given, changes: Sequence[str], patience_s: float = PATIENCE_S) -> Given:
    """Return a side that differs from what both sides share, by texts such as "add=dock" or "bank=other-bank".

    Args:
        base: what both sides share.
        changes: the texts.
        patience_s: for how many seconds a bank's storage that is away is asked again.

    Raises:
        UsageError: a text is of another form, removes a word that is not there, or names a file as a bank.
        VocabularyError: a list of categories names none, a blank one, or the same one twice.
    """
    for text in changes:
        name, _, value = (part.strip() for part in text.partition("="))
        if not value or name not in ("categories", "add", "remove", "preset", "bank"):
            raise UsageError(f"--before and --after: {text!r} is no change; {_SIDE_FORM}.")
        if name == "preset":
            base = replace(base, preset=value)
        elif name == "bank":
            base = replace(base, bank=require_bank("bank", place(value, patience_s)))
        elif name == "categories":
            base = replace(base, categories=read_categories(value))
        else:
            base = replace(base, categories=_edited(base.categories, name, value))
    return base


def _edited(words: Vocabulary | None, verb: str, value: str) -> Vocabulary:
    if words is None:
        raise UsageError(f"{verb}={value} edits a vocabulary, but none was given: pass --categories.")
    named = read_categories(value).categories
    if verb == "add":
        return Vocabulary((*words.categories, *named))
    gone = {category.name for category in named}
    if unknown := gone - set(words.names):
        raise UsageError(f"remove={value}: {min(unknown)!r} is none of the categories: {', '.join(words.names)}.")
    return Vocabulary(tuple(category for category in words.categories if category.name not in gone))


def make_sides(before: Given, after: Given, device: str) -> tuple[Side, Side]:
    """Make the engines of both sides and the prototypes that they lack; what can be shared is.

    Raises:
        UsageError: a side has no vocabulary, or an engine cannot encode images apart from words.
        OVDiffError: a preset, bank or model cannot be used, or prototypes cannot be made.
    """
    first = make_any_engine(load_any_preset(before.preset), Bank(before.bank), device)
    second = first if _same_engine(before, after) else _beside(first, load_any_preset(after.preset), after.bank, device)
    sides = _side(first, before), _side(second, after)
    for engine, side in zip((first, second), sides, strict=True):
        build_missing(side.vocabulary.categories, engine)
    say_missing_anchors(first)
    if second is not first:
        say_missing_anchors(second)
    return sides


def _same_engine(before: Given, after: Given) -> bool:
    return (before.preset, before.bank.resolve()) == (after.preset, after.bank.resolve())


def _beside(first: SegmentationEngine, preset: EnginePreset, bank: Path, device: str) -> SegmentationEngine:
    if isinstance(first, SharesModels) and first.preset.engine == preset.engine:
        return first.beside(preset, Bank(bank))
    return make_any_engine(preset, Bank(bank), device)


def _side(engine: SegmentationEngine, given: Given) -> Side:
    if given.categories is None:
        raise UsageError('No words to look for: pass --categories "boat, water", or categories=LIST for each side.')
    if not isinstance(engine, HasEncodings):
        raise UsageError(f"The engine {engine.preset.engine!r} cannot encode an image apart from its words.")
    return Side(engine, given.categories)


def diff_predictions(plan: Plan, before: Side, after: Side, *, max_px: int, picture: Path | None = None) -> None:
    """Compare both sides over the images of a plan, one by one, and print what changes; the largest changes come first.

    After Ctrl-C or an error the result of the images that were compared until then is printed.

    Args:
        plan: the images.
        before: what segments before the change.
        after: what segments after it.
        max_px: images with more pixels are refused.
        picture: write a picture of the images that change most.

    Raises:
        RequestError: some images could not be read or segmented, and each was reported; or the picture cannot be
            written.
        OVDiffError: a model cannot be loaded, or prototypes cannot be read.
    """
    radius, drawn = BlastRadius(), MostChanged(before.vocabulary.names, after.vocabulary.names)
    names, failed = (before.vocabulary.names, after.vocabulary.names), 0
    try:
        with progress_bar(len(plan.jobs), "image") as bar:
            for job in plan.jobs:
                bar.set_description(job.name)
                try:
                    radius.add(job.name, _compare_one(job, before, after, names, max_px, drawn if picture else None))
                except IMAGE_ERRORS as error:
                    failed += 1
                    complain(f"{job.image}: {error}")
                bar.update()
    finally:
        not_done = len(plan.jobs) - radius.images - failed
        _say(radius, failed, not_done)
        if picture is not None and radius.changes:
            write_png(drawn.draw(), picture)
        if picture is not None:
            say(f"picture: {picture}" if radius.changes else f"{picture} is not written: no image changes")
    if failed:
        raise RequestError(f"{failed} of {len(plan.jobs)} images could not be compared; they are named above.")


def _compare_one(
    job: Job,
    before: Side,
    after: Side,
    names: tuple[Sequence[str], Sequence[str]],
    max_px: int,
    drawn: MostChanged | None,
) -> Change:
    image = read_image_file(job.image, max_px)
    first, second = predict_both(before, after, image)
    change = compare(first, second, names)
    if drawn is not None and change.changed:
        drawn.add(job.name, change.share, image, first, second)
    return change


def _say(radius: BlastRadius, failed: int, not_done: int) -> None:
    answer({**radius.to_json(), "failed": failed, "not_done": not_done})
    if radius.changes:
        rows = [
            (*move, f"{pixels:,}", f"{pixels / radius.pixels:.2%}", str(images))
            for move, pixels, images in radius.moves()
        ]
        say(table([("before", "after", "pixels", "of all", "images"), *rows[:_MOST_LINES]], right=(2, 3, 4)))
        _say_rest(len(rows), "other pairs of labels")
        say("")
        most = radius.most_changed()
        say(
            table(
                [("image", "changed", "mostly"), *(_row(name, change) for name, change in most[:_MOST_LINES])],
                right=(1,),
            )
        )
        _say_rest(len(most), "other images")
        say("")
    large = radius.larger_than(LARGE)
    much = f"{large} of them by more than {LARGE:.0%} of their pixels"
    say(f"{len(radius.changes)} of {radius.images} images change, {much}")
    say(f"{radius.changed:,} of {radius.pixels:,} pixels change")
    missing = ", ".join(f"{count} {what}" for what, count in (("failed", failed), ("not done", not_done)) if count)
    if missing:
        say(f"images besides: {missing}")


def _say_rest(count: int, what: str) -> None:
    if count > _MOST_LINES:
        say(f"... and {count - _MOST_LINES} {what}; --json has all")


def _row(name: str, change: Change) -> tuple[str, str, str]:
    (before, after), _pixels = max(change.moved.items(), key=lambda item: item[1])
    return name, f"{change.share:.1%}", f"{before} -> {after}"
