"""Part of a label's background is made another label's own: the routes that do it and undo it.

    POST /page/category/promote    the number of a background, the build that it is of, and the other label in `into`
    POST /page/category/demote     the places of the ban that the promotion left

Two labels change at once, so this is none of the changes that can be previewed. The other one may be a word that is no
label yet: its images wait in the bank until the label config has it.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from backend.errors import RequestError
from backend.pages.asked_changes import asked_fields, asked_number
from backend.pages.category_routes import CategoryPages, back
from ovdiff.vocabulary import Category

MOST_CHARACTERS = 200


def add_promotion_pages(pages: Blueprint, shared: CategoryPages) -> None:
    """Add the routes."""

    @pages.post("/page/category/promote")
    def promote() -> Response:
        project, category = shared.asked()
        curator, number, key = shared.curator(), asked_number(), request.form.get("key", "")
        into = _into(shared, project, category, request.form.get("into", ""))
        shared.require_key(category, key)

        def act() -> object:
            shared.require_key(category, key)  # the label may have changed while this waited for its turn
            return curator.promote(category, number, into)

        title = f"Background {number} of {category.name} is being made part of {into.name}"
        shared.work.start(("change", project, category.name), title, act, what=asked_fields())
        return back(project, category)

    @pages.post("/page/category/demote")
    def demote() -> Response:
        project, category = shared.asked()
        curator, places = shared.curator(), request.form.get("places", "")
        bans = [ban for ban in curator.curation(category).bans if places and ban.places.startswith(places)]
        if bans and bans[0].into:  # else it was undone already: somebody pressed twice
            curator.demote(category, places, _label(shared, project, bans[0].into))
        return back(project, category)


def _into(shared: CategoryPages, project: str, category: Category, word: str) -> Category:
    """Return the category that a form names.

    Raises:
        RequestError: it names none, or the label itself.
        VocabularyError: it is no possible word.
    """
    name = " ".join(word.split())
    if not name or len(name) > MOST_CHARACTERS:
        raise RequestError(f"Nothing was changed: write the label that it is, in at most {MOST_CHARACTERS} characters.")
    if name == category.name:
        raise RequestError(f"Nothing was changed: it is part of the background of {name!r}. Write another label.")
    return _label(shared, project, name)


def _label(shared: CategoryPages, project: str, name: str) -> Category:
    """Return the project's label of a name, with its prompts; or the bare word where it is no label yet."""
    labels = {each.name: each for each in shared.service.labelling(project).categories}
    return labels.get(name) or Category(name)
