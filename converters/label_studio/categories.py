"""The categories of a label config: their numbers, their names, and whether each is a thing or stuff.

    <Label value="sky" category="7" kind="stuff"/>      becomes     DatasetCategory(7, "sky", "stuff")

Label Studio keeps attributes that it does not know. The attribute `category` is known to Label Studio's own converter;
the attribute `kind` is ours.
"""

import re
from collections.abc import Iterable, Iterator
from typing import get_args

from converters.errors import RecordError
from converters.label_studio.label_config import Label, LabelConfig, labels_of
from converters.label_studio.region_details import KEYPOINTS_OF
from converters.records import DatasetCategory, Kind

MASK_KINDS = (
    "brushlabels",
    "bitmasklabels",
    "polygonlabels",
    "rectanglelabels",
    "ellipselabels",
    "labels",
)
"""Kinds of controls whose labels are categories of regions with an area."""

_PAIR = re.compile("([0-9]{1,4})-([0-9]{1,4})")
_MAX_ID_DIGITS = 15  # exact in every reader of JSON


def categories_of(config: LabelConfig, *, controls: Iterable[str] | None = None) -> tuple[DatasetCategory, ...]:
    """Return the categories of a label config, in its order.

    A label with `category="7"` gets the id 7. The other labels get the free ids from 1 on, in order. A label that
    several controls share is one category.

    Args:
        config: the label config.
        controls: the names of the controls whose labels are taken (None: all controls that mark areas).

    Raises:
        RecordError: two labels ask for one id, one label asks for two ids, an id is no whole number from 0, or a kind
            is neither thing nor stuff.
        LabelConfigError: a control does not exist.
    """
    chosen = config.of_kind(*MASK_KINDS) if controls is None else tuple(map(config.control, controls))
    wanted: dict[str, int | None] = {}
    for label in labels_of(chosen):
        wanted[label.value] = _merge_ids(label.value, wanted.get(label.value), _wanted_id(label))
    taken = [number for number in wanted.values() if number is not None]
    if len(set(taken)) < len(taken):
        raise RecordError(f"expected category= to differ from label to label, got {sorted(taken)}")
    free = _free_ids(set(taken))
    kinds: dict[str, Kind | None] = {}
    for label in labels_of(chosen):
        kinds[label.value] = kinds.get(label.value) or label_kind(label)
    return tuple(
        DatasetCategory(next(free) if number is None else number, name, kinds[name], *_keypoints(name, config))
        for name, number in wanted.items()
    )


def _keypoints(category: str, config: LabelConfig) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return the names of a category's keypoints and its skeleton, from the control that says that it is for them."""
    of_category = (c for c in config.of_kind("keypointlabels") if c.attributes.get(KEYPOINTS_OF) == category)
    control = next(of_category, None)
    if control is None:
        return (), ()
    pairs = (_PAIR.fullmatch(word) for word in control.attributes.get("skeleton", "").split())
    return control.label_values, tuple((int(pair[1]), int(pair[2])) for pair in pairs if pair)


def label_kind(label: Label) -> Kind | None:
    """Return the value of a label's `kind` attribute, "thing" or "stuff"; None if the label has no such attribute.

    Raises:
        RecordError: the attribute is neither "thing" nor "stuff".
    """
    text = label.attributes.get("kind", "").strip().lower()
    for kind in get_args(Kind):
        if text == kind:
            return kind
    if text:
        raise RecordError(f"expected kind= of the label {label.value!r} to be thing or stuff, got {text!r}")
    return None


def _wanted_id(label: Label) -> int | None:
    text = label.attributes.get("category")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_ID_DIGITS:
        raise RecordError(f"expected category= of the label {label.value!r} to be a whole number from 0, got {text!r}")
    return int(text)


def _merge_ids(name: str, first: int | None, second: int | None) -> int | None:
    if first is not None and second is not None and first != second:
        raise RecordError(f"expected one category= for the label {name!r}, got {first} and {second}")
    return second if first is None else first


def _free_ids(taken: set[int]) -> Iterator[int]:
    number = 0
    while True:
        number += 1
        if number not in taken:
            yield number
