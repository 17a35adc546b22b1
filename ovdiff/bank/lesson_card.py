"""The card of a lesson: what is known of it without its arrays, and whether it counts. Never imports torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ovdiff.bank.json_values import described, fits, hints_of
from ovdiff.bank.lessons import LESSON_VERSION, Lesson, LessonSource, LessonWord
from ovdiff.errors import LessonCorruptError

_SEALED = ("address", "recipe", "image", "words", "complete", "schema_version")
"""What of a card is in its checksum beside the arrays. Nothing of it ever changes."""


@dataclass(frozen=True)
class LessonCard:
    """The facts of a lesson.

    Attributes:
        address, recipe, image, words, complete, source: as in :class:`ovdiff.bank.lessons.Lesson`.
        present: the names of the words that the person found in the image.
        rows: the number of rows, by the extractor's name.
        crops: the number of crops.
        on: whether the lesson counts; a person switches it off and on.
        weight: how much it counts beside the others; a person changes it.
        sha256: the checksum of the arrays and of those facts that never change; the store fills it in.
        schema_version: the version of the stored files.
    """

    address: str
    recipe: str
    image: str
    words: tuple[LessonWord, ...]
    complete: bool
    source: LessonSource = field(default_factory=LessonSource)
    present: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    crops: int = 0
    on: bool = True
    weight: float = 1.0
    sha256: str = ""
    schema_version: int = LESSON_VERSION

    def teaches(self, phrases: tuple[str, ...]) -> bool:
        """Say whether the annotation speaks about the word of these phrases."""
        return any(word.covered and word.phrases == phrases for word in self.words)

    def sealed(self, arrays: bytes) -> "LessonCard":
        """Return the card with the checksum of itself and the arrays."""
        return replace(self, sha256=self.checksum(arrays))

    def checksum(self, arrays: bytes) -> str:
        """Return the hex SHA-256 of the arrays and of those facts that never change."""
        values = asdict(self)
        facts = json.dumps([values[name] for name in _SEALED], ensure_ascii=False)
        return hashlib.sha256(arrays + facts.encode()).hexdigest()


def lesson_to_card(lesson: Lesson) -> LessonCard:
    """Return the card of a lesson that is on; its checksum is not filled in."""
    return LessonCard(
        address=lesson.address,
        recipe=lesson.recipe,
        image=lesson.image,
        words=lesson.words,
        complete=lesson.complete,
        source=lesson.source,
        present=tuple(lesson.words[number - 1].name for number in lesson.present()),
        rows={name: len(rows.vectors) for name, rows in lesson.spaces.items()},
        crops=0 if lesson.crops is None else len(lesson.crops.vectors),
        weight=lesson.weight,
    )


def lesson_card_to_json(card: LessonCard) -> str:
    """Return a card as JSON text."""
    return json.dumps(asdict(card), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def json_to_lesson_card(text: str, path: Path) -> LessonCard:
    """Return the card that a JSON text holds.

    Args:
        text: the JSON text.
        path: the card's file, for messages.

    Raises:
        LessonCorruptError: the text is not JSON, a value is missing or of a wrong type, or another version wrote it.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise LessonCorruptError(path, f"its card is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise LessonCorruptError(path, f"its card is {type(values).__name__}, expected an object")
    hints = hints_of(LessonCard)
    if missing := sorted(hints.keys() - values.keys()):
        raise LessonCorruptError(path, f"its card has no {missing[0]!r}")
    for name, hint in hints.items():
        if not fits(hint, values[name]):
            raise LessonCorruptError(path, f"{name!r} of its card is {values[name]!r:.80}, expected {described(hint)}")
    if values["schema_version"] != LESSON_VERSION:
        raise LessonCorruptError(path, f"it is of version {values['schema_version']}, expected {LESSON_VERSION}")
    return _card({name: values[name] for name in hints})


def _card(values: Mapping[str, Any]) -> LessonCard:
    words = tuple(LessonWord(**{**word, "phrases": tuple(word["phrases"])}) for word in values["words"])
    source, present = LessonSource(**values["source"]), tuple(values["present"])
    return LessonCard(**{**values, "words": words, "source": source, "present": present})
