"""`ovdiff lessons`: list, look at, switch and remove what annotated images taught. Loads no model.

A person names a lesson by the first digits of its address, or lessons by their task or their person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from backend.command.console import say
from backend.command.table import table
from backend.errors import RequestError, UsageError
from backend.presentation.lesson_facts import Filters, mistakes_of, words_of
from converters.console import answer
from ovdiff.bank.lesson_card import LessonCard
from ovdiff.bank.lesson_store import LessonStore

SHOWN_DIGITS = 12
"""How many digits of an address are shown."""

_LEAST_DIGITS = 6
_SHOWN_WORDS = 6


def list_lessons(store: LessonStore, filters: Filters) -> None:
    """Print the lessons: a line for each, or all that is known of each as JSON. Damaged lessons are named."""
    cards = [card for card in store.cards() if filters.fit(card)]
    cards.sort(key=lambda card: (card.source.project, card.source.task.zfill(12), card.address))
    damaged = [] if filters else store.damaged()
    answer([*cards, *({"address": error.path.stem, "error": str(error)} for error in damaged)])
    if not cards:
        which = "of this task or person " if filters else ""
        say(f"no lessons {which}in {store.folder}; `ovdiff learn` takes them from an export")
    else:
        header = ("lesson", "counts", "project", "task", "person", "annotated", "rows", "words", "recipe")
        say(table([header, *map(_row, cards)], right=(2, 3, 6)))
        say(f"lessons: {len(cards)}, {sum(card.on for card in cards)} of them on")
    for error in damaged:
        say(f"{error.path.stem[:SHOWN_DIGITS]}  {error}")


def show_lesson(store: LessonStore, text: str) -> None:
    """Print one lesson: its source, the words that are there and absent, and what the prediction had wrong.

    Raises:
        UsageError: the text names no lesson, or several.
        LessonCorruptError: the lesson is damaged.
    """
    address = _find(store, text)
    card, lesson = store.card(address), store.load(address)
    mistakes = mistakes_of(lesson)
    answer({**asdict(card), **words_of(lesson), "cells": mistakes})
    source, words = card.source, words_of(lesson)
    say(f"lesson {address}: {_state(card)}")
    say(f"of project {source.project or '?'}, task {source.task or '?'}, annotation {source.annotation or '?'}")
    say(f"by {source.person or '?'}, {source.when or 'at an unknown time'}: {source.image}")
    say(f"there: {', '.join(words['present']) or 'none'}")
    if lesson.complete:
        say(f"absent: {', '.join(words['absent']) or 'none'}")
    else:
        say("partial: it teaches only about what is labelled")
    rows = ", ".join(f"{count} of {name}" for name, count in card.rows.items())
    say(f"rows: {rows}; views of parts: {card.crops}")
    say(table([("annotated", "predicted", "share of cells"), *_shares(mistakes)], right=(2,)))


def switch_lessons(
    store: LessonStore, texts: Sequence[str], filters: Filters, *, on: bool, weight: float | None
) -> None:
    """Switch lessons on, with a weight if one is given, or off.

    Raises:
        UsageError: no lesson is named, or a text names none or several; nothing is changed.
        LessonError: the weight is not above 0, a lesson is damaged, or the folder cannot be written.
    """
    chosen = _chosen(store, texts, filters)
    for address in chosen:
        store.change(address, on=on, weight=weight)
    answer({"lessons": chosen, "on": on, "weight": weight})
    say(f"{'on' if on else 'off'}: {len(chosen)} lessons ({_shown(chosen)})")


def remove_lessons(store: LessonStore, texts: Sequence[str], filters: Filters, confirm: Callable[[str], bool]) -> None:
    """Delete lessons, after a person has agreed. Damaged ones are deleted too.

    Raises:
        UsageError: no lesson is named, or a text names none or several; nothing is removed.
        RequestError: the person did not agree.
        LessonError: the folder cannot be written.
    """
    chosen = _chosen(store, texts, filters)
    if not confirm(f"Remove {len(chosen)} lessons ({_shown(chosen)})?"):
        raise RequestError("Nothing was removed.")
    for address in chosen:
        store.remove(address)
    answer({"removed": chosen})
    say(f"removed: {len(chosen)} lessons ({_shown(chosen)})")


def _chosen(store: LessonStore, texts: Sequence[str], filters: Filters) -> list[str]:
    """Return the addresses of the lessons that are named, by digits, by filters, or by both."""
    if not texts and not filters:
        raise UsageError("Name lessons by the first digits that `ovdiff lessons list` shows, or by --task or --person.")
    named = [_find(store, text) for text in texts] or list(store.addresses())
    fitting = {card.address for card in store.cards() if filters.fit(card)}
    found = [address for address in dict.fromkeys(named) if not filters or address in fitting]
    if not found:
        raise UsageError("No lesson is of this task or person; `ovdiff lessons list` lists what is there.")
    return found


def _find(store: LessonStore, text: str) -> str:
    """Return the address that begins with a text of at least six digits."""
    wanted = text.strip().lower()
    found = [address for address in store.addresses() if address.startswith(wanted)]
    if len(wanted) < _LEAST_DIGITS:
        raise UsageError(f"{text!r} is too short to name a lesson; give at least {_LEAST_DIGITS} digits.")
    if not found:
        raise UsageError(f"No lesson {text!r} in {store.folder}; `ovdiff lessons list` lists what is there.")
    if len(found) > 1:
        raise UsageError(f"{text!r} may be any of {_shown(found)}; give more digits.")
    return found[0]


def _shown(addresses: Sequence[str]) -> str:
    return ", ".join(address[:SHOWN_DIGITS] for address in addresses)


def _state(card: LessonCard) -> str:
    return f"{'on' if card.on else 'off'}{'' if card.weight == 1 else f', weight {card.weight:g}'}"


def _row(card: LessonCard) -> Sequence[str]:
    source, extra = card.source, len(card.present) - _SHOWN_WORDS
    words = ", ".join(card.present[:_SHOWN_WORDS]) + (f" and {extra} more" if extra > 0 else "")
    partial = "" if card.complete else " (partial)"
    return (
        card.address[:SHOWN_DIGITS],
        _state(card),
        source.project,
        source.task,
        source.person,
        source.when[:16].replace("T", " "),
        str(sum(card.rows.values())),
        words + partial,
        card.recipe[:6],
    )


def _shares(mistakes: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    whole = sum(row["cells"] for row in mistakes) or 1.0
    return [
        (row["annotated"], row["predicted"] if row["predicted"] != row["annotated"] else "right",
         f"{row['cells'] / whole:.1%}")
        for row in mistakes
    ]  # fmt: skip
