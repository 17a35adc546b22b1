"""The routes of previews: what a change of a label would do to an image, and applying it or undoing it.

    POST /page/preview               look at a change: the form of the change, its name in `change`, and a task
    GET  /page/preview?...           what it would do, as soon as that is known
    GET  /page/preview.png?...       one of its pictures
    POST /page/preview/again         look at the same change on another task
    POST /page/preview/apply         act=apply: put it in force; act=undo: take it back

A label has one preview at a time. It is made outside the request (`backend.pages.work`). A form says in `seen` which
preview its page showed, because somebody else may have had another change looked at since.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from backend.errors import NothingThereError, RequestError
from backend.pages.asked_changes import asked_fields, asked_number
from backend.pages.category_routes import CategoryPages, picture
from backend.pages.preview import PICTURES, Asked, applied, make_preview
from backend.pages.work import Piece
from ovdiff.vocabulary import Category

TRIAL = "trial"
"""The name of the change that takes the prompts on trial."""


class Previews:
    """The previews of all labels, one of each at a time: what their routes share. Threads may share it."""

    def __init__(self, shared: CategoryPages) -> None:
        """Have made no preview yet."""
        self.shared = shared
        # Numbers of pieces of work begin anew with each process, and browsers keep pages and pictures.
        self._started = uuid.uuid4().hex[:8]
        self._applying = threading.Lock()

    def mark(self, piece: Piece) -> str:
        """Return the mark of a preview, which no other one has."""
        return f"{self._started}-{piece.number}"

    def done(self) -> Piece:
        """Return the preview that a request is about; its result is an `Asked`, a `Preview`, and whether it is applied.

        Raises:
            NothingThereError: there is none, or it is still being made.
        """
        project, category = self.shared.asked()
        piece = self.shared.work.of(_about(project, category))
        if piece is None or piece.state != "done":
            raise NothingThereError(
                f"No change of {category.name!r} was looked at, or that is not finished. Look at the change on the "
                "label's page."
            )
        return piece

    def seen(self) -> Piece:
        """Return the preview that a request is about, which must be the one that the page showed.

        A browser keeps a picture under its address, so a picture of another preview must not be sent there.

        Raises:
            NothingThereError: as `done` raises it.
            RequestError: the page showed another one.
        """
        piece = self.done()
        if request.values.get("seen", "") != self.mark(piece):
            raise RequestError(
                "Nothing was changed: another change of this label was looked at since the page was loaded. Open the "
                "preview again and look at that one, or choose your change once more."
            )
        return piece

    def apply(self, *, undo: bool) -> None:
        """Put the change in force, or take it back; do nothing if that is done, for people press twice.

        Raises:
            NothingThereError, RequestError: as `seen` raises them; or somebody changed the label since.
            OVDiffError: the curation cannot be written.
        """
        project, category = self.shared.asked()
        with self._applying:
            piece = self.seen()
            asked, preview, is_applied = piece.result
            if asked.category != category:
                raise RequestError(
                    f"Nothing was changed: the label config says other words of {category.name!r} now than when this "
                    "was looked at. Look at the change again."
                )
            if is_applied == undo:
                after = applied(self.shared.service, asked, preview)
                self.shared.work.put(_about(project, category), piece.number, (asked, after, not is_applied))


def add_preview_pages(pages: Blueprint, shared: CategoryPages) -> None:
    """Add the routes."""
    previews = Previews(shared)
    _add_looks(pages, previews)
    _add_page(pages, previews)

    @pages.post("/page/preview/apply")
    def apply() -> Response:
        previews.apply(undo=request.form.get("act", "") == "undo")
        return _to_page(*shared.asked())


def _add_looks(pages: Blueprint, previews: Previews) -> None:
    shared = previews.shared

    @pages.post("/page/preview")
    def look_at_change() -> Response:
        project, category = shared.asked()
        shared.curator()
        return _look(shared, _asked(shared, project, category))

    @pages.post("/page/preview/again")
    def look_again() -> Response:
        asked, _, is_applied = previews.seen().result
        if is_applied:
            raise RequestError("The change is in force, so there is no before. Undo it first.")
        return _look(shared, replace(asked, task=_asked_task()))


def _add_page(pages: Blueprint, previews: Previews) -> None:
    shared = previews.shared

    @pages.get("/page/preview")
    def preview() -> str:
        project, category = shared.asked()
        piece = shared.work.of(_about(project, category))
        _, seen, is_applied = piece.result if piece is not None and piece.state == "done" else (None, None, False)
        return render_template(
            "page/preview.html",
            project=project,
            category=category,
            piece=piece,
            seen=seen,
            is_applied=is_applied,
            titles=PICTURES,
            mark="" if piece is None else previews.mark(piece),
        )

    @pages.get("/page/preview.png")
    def preview_picture() -> Response:
        (_, seen, _), number = previews.seen().result, asked_number()
        return picture(seen.pictures[number] if 0 <= number < len(seen.pictures) else None)


def _asked(shared: CategoryPages, project: str, category: Category) -> Asked:
    """Return what a form asks to be looked at.

    Raises:
        RequestError: the form lacks what its change needs, or no prompts are on trial.
    """
    task = _asked_task()
    name = request.form.get("change", "")
    if name != TRIAL:
        return Asked(project, category, task, act=shared.act(name, project))
    tried = shared.trials.of(project, category.name)
    if tried is None:
        raise RequestError(f"No other prompts of {category.name!r} are on trial.")
    return Asked(project, category, task, tried=tried)


def _asked_task() -> int | None:
    """Return the task that a form names; None for the first of the project."""
    return asked_number("task") if request.form.get("task", "").strip() else None


def _look(shared: CategoryPages, asked: Asked) -> Response:
    """Have a change looked at outside the request."""
    title = f"What the change of {asked.category.name} would do is being looked at"
    about = _about(asked.project, asked.category)
    what = object() if request.files else (asked.tried, asked_fields())  # nobody compares files: each is another change
    shared.work.start(about, title, lambda: (asked, make_preview(shared.service, asked), False), what=what)
    return _to_page(asked.project, asked.category)


def _about(project: str, category: Category) -> tuple[str, str, str]:
    return "preview", project, category.name


def _to_page(project: str, category: Category) -> Response:
    return make_response(redirect(url_for("pages.preview", project=project, name=category.name), HTTPStatus.SEE_OTHER))
