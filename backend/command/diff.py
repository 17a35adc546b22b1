"""`ovdiff prototypes diff`: what differs between two banks, or between two prototype sets, in words and in cosine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from backend.command.console import say
from backend.command.stored_sets import KEY_DIGITS, StoredSet, find_sets, stored_sets
from backend.command.table import table
from backend.errors import UsageError
from converters.console import answer
from ovdiff.bank import Bank
from ovdiff.bank.differences import card_differences, moves
from ovdiff.storage import place
from ovdiff.storage.patience import PATIENCE_S

_LONGEST = 60  # characters of a value that is shown


def diff_prototypes(bank: Bank, first: str, second: str, patience_s: float = PATIENCE_S) -> None:
    """Print what differs between two banks, or between two sets of one bank.

    Args:
        bank: the bank of the two sets.
        first: the folder or address of a bank; or a category or a key of the bank.
        second: the same of the other.
        patience_s: for how many seconds a bank's storage that is away is asked again.

    Raises:
        UsageError: only one of them is a folder; or a text names no set, or several.
        BankError: a set cannot be read.
    """
    places = place(first, patience_s), place(second, patience_s)
    folders = [each.is_dir() for each in places]
    if all(folders):
        _diff_banks(*map(Bank, places))
        return
    if any(folders):
        raise UsageError(f"{first!r} and {second!r}: one is a folder and one is not; name two banks or two sets.")
    one, other = _only(bank, first), _only(bank, second)
    found = _difference(bank, one, bank, other)
    answer(found)
    _say_difference(found)


def _only(bank: Bank, text: str) -> StoredSet:
    found = find_sets(bank, text)
    if len(found) > 1:
        listed = ", ".join(f"{item.short_key} ({item.curation or 'not curated'})" for item in found)
        raise UsageError(f"{text!r} has {len(found)} sets: {listed}; name one by its key.")
    return found[0]


def _diff_banks(first: Bank, second: Bank) -> None:
    ours, theirs = stored_sets(first), stored_sets(second)
    both = {item.key for item in ours} & {item.key for item in theirs}
    left = [item for item in ours if item.key not in both]
    right = [item for item in theirs if item.key not in both]
    pairs, alone = _paired(left, right)
    changed = [_difference(first, one, second, other) for one, other in pairs]
    only_first = [item.label for item in left if item in alone]
    only_second = [item.label for item in right if item in alone]
    answer({"same": len(both), "only_first": only_first, "only_second": only_second, "changed": changed})
    say(f"the same in both: {len(both)} sets")
    for folder, labels in ((first.folder, only_first), (second.folder, only_second)):
        if labels:
            say(f"only in {folder}: {', '.join(labels)}")
    for found in changed:
        say("")
        _say_difference(found)


def _paired(
    left: Sequence[StoredSet], right: Sequence[StoredSet]
) -> tuple[list[tuple[StoredSet, StoredSet]], list[StoredSet]]:
    """Return pairs of sets of one category, one from each side in the order of their keys, and the sets without one."""
    pairs, rest = [], list(right)
    alone = []
    for item in left:
        fitting = [other for other in rest if other.category.casefold() == item.category.casefold() and not other.error]
        if fitting and not item.error:
            rest.remove(fitting[0])
            pairs.append((item, fitting[0]))
        else:
            alone.append(item)
    return pairs, [*alone, *rest]


def _difference(first: Bank, one: StoredSet, second: Bank, other: StoredSet) -> dict[str, Any]:
    """Return the difference of two sets as JSON values."""
    return {
        "first": {"key": one.key, "category": one.category},
        "second": {"key": other.key, "category": other.category},
        "words": [asdict(each) for each in card_differences(first.card(one.key), second.card(other.key))],
        "cosines": [asdict(each) for each in moves(first.load(one.key), second.load(other.key))],
    }


def _say_difference(found: dict[str, Any]) -> None:
    one, other = found["first"], found["second"]
    say(f"{one['category']}: {one['key'][:KEY_DIGITS]} and {other['key'][:KEY_DIGITS]}")
    if not found["words"]:
        say("  their cards say the same")
    for line in _word_lines(found["words"]):
        say(f"  {line}")
    header = ("extractor", "side", "class", "nearest", "most changed", "its nearest")
    rows = [
        (each["extractor"], each["side"], _cosine(each["moved"]), _cosine(each["nearest"]), each["most_changed"],
         _cosine(each["farthest"]))
        for each in found["cosines"]
    ]  # fmt: skip
    if rows:
        say(table([header, *rows], right=(2, 3, 5)))


def _word_lines(words: Sequence[dict[str, str]]) -> Iterator[str]:
    for each in words:
        first, second = (_short(each[side]) or "none" for side in ("first", "second"))
        yield f"{each['what']}: {first} -> {second}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _cosine(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
