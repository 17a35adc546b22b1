"""The routes of taking the prompts that are on trial, and of undoing it.

    GET  /page/take?project=UID&name=LABEL     what would be changed in the label config, to be confirmed
    POST /page/take                            change it, if the label config is still the one that was shown
    POST /page/take/undo                       put the label's tag back as it was

Label Studio is asked within the request: it answers for a project in well under a second, and a person waits.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from backend.errors import RequestError
from backend.pages.category_routes import CategoryPages
from backend.pages.taking.tag_change import TagChange, make_change, prompts_change
from ovdiff.vocabulary import Category


def add_taking_pages(pages: Blueprint, shared: CategoryPages) -> None:
    """Add the routes."""

    @pages.get("/page/take")
    def take() -> str:
        project, category, tried, change = _looked_at(shared)
        return render_template("page/take.html", project=project, category=category, tried=tried, change=change)

    @pages.post("/page/take")
    def take_now() -> Response:
        project, category = shared.asked()
        made = shared.taken.of(project, category.name)
        if made is not None and made.seen == request.form.get("seen", ""):  # pressed twice
            return _back(project, category)
        project, category, _, change = _looked_at(shared)
        if request.form.get("seen", "") != change.seen:
            raise RequestError(
                f"Nothing was changed: the label config in Label Studio, or the prompts on trial, are others than when "
                f"the change of {category.name!r} was shown. Open the page of the label and look at the change again."
            )
        make_change(shared.service, project, change)
        shared.taken.add(project, change)
        shared.trials.end(project, category.name)
        return _back(project, category)

    @pages.post("/page/take/undo")
    def undo() -> Response:
        project, category = shared.asked()
        if shared.taken.of(project, category.name) is not None:  # else it was pressed twice, or by two people
            shared.taken.undo(shared.service, project, category)
        return _back(project, category)


def _looked_at(shared: CategoryPages) -> tuple[str, Category, Category, TagChange]:
    """Return the project, the label as it is and as it is on trial, and what Label Studio's label config would be.

    Raises:
        RequestError: no other prompts are on trial, or they cannot be written there.
    """
    project, category = shared.asked()
    tried = shared.trials.of(project, category.name)
    if tried is None:
        raise RequestError(f"No other prompts of {category.name!r} are on trial. Try some on the page of the label.")
    return project, category, tried, prompts_change(shared.service, project, category, tried)


def _back(project: str, category: Category) -> Response:
    address = url_for("pages.category", project=project, name=category.name, _anchor="trial")
    return make_response(redirect(address, HTTPStatus.SEE_OTHER))
