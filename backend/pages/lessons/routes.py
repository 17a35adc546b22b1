"""The routes of lessons.

GET  /page/projects/<number>/lessons?task=&person=&page=    a list, with what each changed
POST /page/projects/<number>/lessons/change                 act=on, off or remove; lessons, or a task or person
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from backend.errors import RequestError
from backend.pages.lessons.lesson_view import LessonPages
from backend.pages.tasks.routes import number_in
from backend.presentation.lesson_facts import Filters
from backend.serving.http.bodies import PAGES
from backend.serving.service import Service
from ovdiff.engines import Learns

MOST_NAMED = 200
"""Lessons that one form changes."""


def add_lesson_pages(pages: Blueprint, service: Service) -> None:
    """Add the routes of lessons to the pages."""
    engine = service.engine
    shown = LessonPages(engine.lessons) if isinstance(engine, Learns) else None

    @pages.get(f"{PAGES}projects/<project>/lessons")
    def lessons(project: str) -> Response:
        known = service.looking.project(number_in(project, "project"))
        found = None
        if shown is not None:
            page = number_in(request.args.get("page", "1"), "page")
            found = shown.page(known.number, _filters(request.args), page)
        return make_response(
            render_template("page/lessons.html", project=known, found=found, engine=engine.preset.engine)
        )

    @pages.post(f"{PAGES}projects/<project>/lessons/change")
    def change_lessons(project: str) -> Response:
        known = service.looking.project(number_in(project, "project"))
        if shown is None:
            raise RequestError(f"The engine {engine.preset.engine!r} keeps no lessons; the engine 'ovdiff' does.")
        addresses, filters = request.form.getlist("lesson"), _filters(request.form)
        if len(addresses) > MOST_NAMED:
            raise RequestError(f"{len(addresses)} lessons are named; at most {MOST_NAMED} are changed at once.")
        shown.change(known.number, addresses, filters, request.form.get("act", ""))
        address = url_for("pages.lessons", project=known.number, task=filters.task, person=filters.person)
        return make_response(redirect(f"{address}#list", HTTPStatus.SEE_OTHER))


def _filters(given: MultiDict[str, str]) -> Filters:
    return Filters(given.get("task", "").strip() or None, given.get("person", "").strip() or None)
