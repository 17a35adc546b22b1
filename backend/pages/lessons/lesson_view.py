"""What the page of lessons shows: those of a project, by task and person, with what each changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.errors import NothingThereError, RequestError
from backend.presentation.lesson_facts import Filters, mistakes_of
from ovdiff.bank.lesson_card import LessonCard
from ovdiff.bank.lesson_store import LessonStore
from ovdiff.errors import LessonError

ROWS_A_PAGE = 25
MOST_NAMED = 3
"""Pairs of words that are named of a lesson."""
_LEAST_SHARE = 0.005
_MOST_KEPT = 500

Key = tuple[str, str]


@dataclass(frozen=True)
class Correction:
    """What a person corrected in an image: `predicted` is `annotated`, in this share of its cells."""

    annotated: str
    predicted: str
    share: float


@dataclass(frozen=True)
class Changed:
    """What a lesson says of the prediction that it corrected: the share of cells that was right, and what was not."""

    right: float
    corrections: tuple[Correction, ...]


@dataclass(frozen=True)
class LessonRow:
    """A lesson in the list; `changed` is None if its file cannot be read, and `trouble` says why."""

    card: LessonCard
    changed: Changed | None
    trouble: str = ""


@dataclass(frozen=True)
class LessonList:
    """A page of a project's lessons.

    Attributes:
        rows: the lessons of this page, by task.
        found: how many fit the filters.
        on: how many of all of the project count.
        total: how many the project has.
        people: by whom they are, for the filters.
        filters: the filters in force.
        page, pages: the number of this page and of all, from 1.
        damaged: what is wrong with lessons that cannot be read.
    """

    rows: tuple[LessonRow, ...]
    found: int
    on: int
    total: int
    people: tuple[str, ...]
    filters: Filters
    page: int
    pages: int
    damaged: tuple[str, ...]


class LessonPages:
    """Makes pages of a store's lessons; what a lesson changed is read once. Threads may share it."""

    def __init__(self, store: LessonStore) -> None:
        """Read nothing yet."""
        self._store, self._lock = store, threading.Lock()
        self._changed: OrderedDict[Key, Changed] = OrderedDict()

    def cards(self, project: int) -> list[LessonCard]:
        """Return the lessons of a project, and those of which no project is known, by task and time."""
        own = [card for card in self._store.cards() if card.source.project in ("", str(project))]
        return sorted(own, key=lambda card: (card.source.task.zfill(18), card.source.when, card.address))

    def page(self, project: int, filters: Filters, page: int) -> LessonList:
        """Return a page of a project's lessons; a number beyond the last page gives the last one."""
        own = self.cards(project)
        fitting = [card for card in own if filters.fit(card)]
        pages = max(1, -(-len(fitting) // ROWS_A_PAGE))
        page = min(max(1, page), pages)
        shown = fitting[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE]
        return LessonList(
            rows=tuple(map(self._row, shown)),
            found=len(fitting),
            on=sum(card.on for card in own),
            total=len(own),
            people=tuple(sorted({card.source.person for card in own if card.source.person}, key=str.casefold)),
            filters=filters,
            page=page,
            pages=pages,
            damaged=tuple(str(error) for error in self._store.damaged()),
        )

    def change(self, project: int, addresses: Sequence[str], filters: Filters, act: str) -> int:
        """Switch lessons of a project on or off, or remove them, and return how many.

        Args:
            project: the project's number.
            addresses: the lessons; none means all that fit the filters.
            filters: which lessons are meant, if none is named.
            act: "on", "off" or "remove".

        Raises:
            RequestError: neither lessons nor filters are given, or the act is another one.
            NothingThereError: a lesson is not one of the project's.
            LessonError: a lesson is damaged, or the folder cannot be written.
        """
        if act not in ("on", "off", "remove"):
            raise RequestError(f"{act[:40]!r} is nothing that is done to lessons; expected on, off or remove.")
        own = {card.address: card for card in self.cards(project)}
        if not addresses and not filters:
            raise RequestError("No lesson is named: press the button of a lesson, or choose a task or a person first.")
        if lost := [address for address in addresses if address not in own]:
            raise NothingThereError(f"Project {project} has no lesson {lost[0][:64]!r}; it may have been removed.")
        chosen = list(dict.fromkeys(addresses)) or [card.address for card in own.values() if filters.fit(card)]
        for address in chosen:
            if act == "remove":
                self._store.remove(address)
            else:
                self._store.change(address, on=act == "on")
        return len(chosen)

    def _row(self, card: LessonCard) -> LessonRow:
        try:
            return LessonRow(card, self._changed_by(card))
        except LessonError as error:
            return LessonRow(card, None, str(error))

    def _changed_by(self, card: LessonCard) -> Changed:
        key = card.address, card.sha256
        with self._lock:
            known = self._changed.get(key)
        if known is None:
            known = _changed(mistakes_of(self._store.load(card.address)))
            with self._lock:
                self._changed[key] = known
                while len(self._changed) > _MOST_KEPT:
                    self._changed.popitem(last=False)
        return known


def _changed(mistakes: Sequence[Mapping[str, Any]]) -> Changed:
    whole = sum(row["cells"] for row in mistakes) or 1.0
    wrong = [
        Correction(row["annotated"], row["predicted"], row["cells"] / whole)
        for row in mistakes
        if row["annotated"] != row["predicted"]
    ]
    right = 1 - sum(each.share for each in wrong)
    return Changed(right, tuple(each for each in wrong if each.share >= _LEAST_SHARE)[:MOST_NAMED])
