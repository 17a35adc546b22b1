"""The changes of a category that a form can ask for: what is read from the form, and what is then done.

What a form says is read while the request is there; what is done may be done later, or be tried first on a draft.

Tested by tests/backend/pages/test_category_routes.py and tests/backend/pages/test_preview_routes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import request

from backend.errors import RequestError
from backend.pages.form_tokens import FIELD
from backend.pages.uploads import UploadedObject
from backend.sources.pixel_room import PixelRoom
from ovdiff.curation.curation import Curation
from ovdiff.engines.curating import CategoryCurator
from ovdiff.vocabulary import Category

WHY_CHARACTERS = 200

Act = Callable[[CategoryCurator, Category], Curation]
"""Changes a category by a curator, and returns the new curation."""


def asked_change(name: str, room: PixelRoom, *, max_px: int) -> Act:
    """Return the change that a form asks for, with what it says of it.

    Args:
        name: a name of `CHANGES`, or "add-exemplar".
        room: bounds the pixels that are decoded at once in this process.
        max_px: pixels that an uploaded image may have.

    Raises:
        RequestError: there is no such change, or the form lacks what it needs.
    """
    if name == "add-exemplar":
        return _exemplar(room, max_px)
    if name not in CHANGES:
        raise RequestError(f"{name[:40]!r} is no change of a label; there are {', '.join(sorted(CHANGES))}.")
    return CHANGES[name]()


def asked_number(field: str = "number") -> int:
    """Return a number of the request.

    Raises:
        RequestError: there is none.
    """
    try:
        return int(request.values[field])
    except (KeyError, ValueError):
        raise RequestError(f"The request lacks the {field}.") from None


def asked_fields() -> frozenset[tuple[str, str]]:
    """Return all that the form says, by which the same wish is known when it comes twice, also from two people.

    Its files and its token are left out.
    """
    return frozenset((name, value) for name, value in request.form.items(multi=True) if name != FIELD)


def _numbers() -> list[int]:
    """Return the numbers of the images that a person ticked."""
    try:
        numbers = [int(number) for number in request.form.getlist("number")]
    except ValueError:
        numbers = []
    if not numbers:
        raise RequestError("No image is ticked: tick the images that are meant, then repeat the change.")
    return numbers


def _why() -> str:
    return " ".join(request.form.get("why", "").split())[:WHY_CHARACTERS]


def _reject() -> Act:
    numbers, why = _numbers(), _why()
    return lambda curator, category: curator.reject(category, numbers, why)


def _restore() -> Act:
    numbers = _numbers()
    return lambda curator, category: curator.restore(category, numbers)


def _draw() -> Act:
    return lambda curator, category: curator.draw(category, draw=True)


def _remove_exemplar() -> Act:
    which = request.form.get("value", "")
    return lambda curator, category: curator.remove_exemplar(category, which)


def _ban() -> Act:
    number, why = asked_number(), _why()
    return lambda curator, category: curator.ban(category, number, why)


def _unban() -> Act:
    places = request.form.get("places", "")
    if not places:
        raise RequestError("The request lacks the places of the ban that is meant. Load the page again.")
    return lambda curator, category: curator.unban(category, places)


def _exemplar(room: PixelRoom, max_px: int) -> Act:
    found = UploadedObject(request.files.get("image"), request.files.get("mask"), room, max_px=max_px)
    alone = "alone" in request.form

    def add(curator: CategoryCurator, category: Category) -> Curation:
        with found.opened() as (image, mask):
            return curator.add_exemplar(category, image, mask, found.name, "the page", alone=alone)

    return add


CHANGES: Mapping[str, Callable[[], Act]] = {
    "reject": _reject,
    "restore": _restore,
    "draw": _draw,
    "remove-exemplar": _remove_exemplar,
    "ban": _ban,
    "unban": _unban,
}
"""What reads each change from a form; "add-exemplar" is beside them, because it needs a limit."""
