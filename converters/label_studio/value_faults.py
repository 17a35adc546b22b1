"""Faults in what a result says in words or numbers: labels, choices, texts, ratings, numbers and dates.

Tested in tests/converters/label_studio/test_fault_table.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from converters.files.json_values import Json, finite_number, whole_number
from converters.label_studio.categories import MASK_KINDS
from converters.label_studio.findings import Fault
from converters.label_studio.label_config import Control

_Path = tuple[str, ...]
_LABEL_KINDS = (*MASK_KINDS, "keypointlabels")
_DROPPED = "The page stops at it or drops it: correct the value."


def value_faults(value: Json, control: Control) -> Iterator[Fault]:
    """Yield the faults in the words and numbers of a result's value; of a control that has no such value, none."""
    if control.kind in _LABEL_KINDS:
        yield from _label_faults(value.get(control.kind), control)
    elif check := _CHECKS.get(control.kind):
        yield from check(value, control)


def _label_faults(words: Any, control: Control) -> Iterator[Fault]:
    if words == [] and control.attributes.get("allowEmpty", "").lower() == "true":
        return
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        what = f"expected a list of labels under {control.kind!r}, got {words!r:.60}"
        yield Fault("no-label", what, "The region is shown without a label, and exports lose it.")
        return
    if control.attributes.get("value"):  # labels that each task brings along
        return
    known = {label.result_name for label in control.labels}
    for word in words:
        if word not in known:
            what = f"expected a label of the control {control.name!r}, {sorted(known)!r:.200}, got {word!r:.60}"
            yield Fault("unknown-label", what, "Correct the word (case counts), or add it to the config.")


# ---------------------------------------------------------------- choices


def _choice_faults(value: Json, control: Control) -> Iterator[Fault]:
    chosen = value.get("choices")
    if not isinstance(chosen, list) or not chosen or not all(isinstance(c, str) or _is_path(c) for c in chosen):
        yield _bad("choices", "a list of choices", chosen)
        return
    if len(chosen) > 1 and control.attributes.get("choice", "single") != "multiple":
        yield _bad("choices", f"one choice, as {control.name!r} takes no more", chosen)
    single_words = {path[-1] for path in control.choices}
    paths = [(word,) if isinstance(word, str) else tuple(word) for word in chosen]
    known = {*control.choices, *((word,) for word in single_words)}
    yield from _unknown_choices(paths, known, control)


def _taxonomy_faults(value: Json, control: Control) -> Iterator[Fault]:
    chosen = value.get("taxonomy")
    if not isinstance(chosen, list) or not chosen or not all(map(_is_path, chosen)):
        yield _bad("taxonomy", "a list of paths, each a list of choices", chosen)
        return
    yield from _unknown_choices([tuple(path) for path in chosen], set(control.choices), control)


def _unknown_choices(
    paths: Sequence[tuple[str, ...]], known: set[tuple[str, ...]], control: Control
) -> Iterator[Fault]:
    if control.attributes.get("value") or control.attributes.get("apiUrl"):  # choices that come from elsewhere
        return
    words = sorted(" / ".join(path) for path in control.choices)
    for path in paths:
        if path not in known:
            what = f"expected a choice of the control {control.name!r}, {words!r:.200}, got {' / '.join(path)!r:.60}"
            yield Fault("unknown-choice", what, "It is not shown: correct the word (case counts), or add it.")


def _is_path(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)


# ---------------------------------------------------------------- texts and numbers


def _text_faults(value: Json, control: Control) -> Iterator[Fault]:
    text = value.get("text")
    if not isinstance(text, str) and not _is_path(text):
        yield _bad("text", "a text or a list of texts", text)


def _rating_faults(value: Json, control: Control) -> Iterator[Fault]:
    rating, most = whole_number(value.get("rating")), _limit(control, "maxRating", 5)
    if rating is None or not 0 <= rating <= most:
        yield _bad("rating", f"a whole number from 0 to {most:g}", value.get("rating"))


def _number_faults(value: Json, control: Control) -> Iterator[Fault]:
    number = finite_number(value.get("number"))
    least, most = _limit(control, "min", -float("inf")), _limit(control, "max", float("inf"))
    if number is None or not least <= number <= most:
        yield _bad("number", f"a number from {least:g} to {most:g}", value.get("number"))


def _date_faults(value: Json, control: Control) -> Iterator[Fault]:
    if not isinstance(value.get("datetime"), str) or not value["datetime"]:
        yield _bad("datetime", "a text", value.get("datetime"))


def _pairwise_faults(value: Json, control: Control) -> Iterator[Fault]:
    if value.get("selected") not in ("left", "right"):
        yield _bad("selected", "left or right", value.get("selected"))


def _limit(control: Control, attribute: str, otherwise: float) -> float:
    try:
        return float(control.attributes[attribute])
    except (KeyError, ValueError):
        return otherwise


def _bad(key: str, expected: str, got: Any) -> Fault:
    return Fault("bad-value", f"expected {key!r} to be {expected}, got {got!r:.60}", _DROPPED)


_CHECKS: Mapping[str, Callable[[Json, Control], Iterator[Fault]]] = {
    "choices": _choice_faults,
    "taxonomy": _taxonomy_faults,
    "textarea": _text_faults,
    "rating": _rating_faults,
    "number": _number_faults,
    "datetime": _date_faults,
    "pairwise": _pairwise_faults,
}
