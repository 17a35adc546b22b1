"""The routes of lessons.

GET  /page/projects/<number>/lessons?task=&person=&page=    a list, with what each changed
POST /page/projects/<number>/lessons/curve                  have the learning curve measured, outside the request
POST /page/projects/<number>/lessons/change                 act=on, off or remove; lessons, or a task or person
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from backend.errors import RequestError
from backend.pages.lessons.curve_view import curve_view
from backend.pages.lessons.lesson_view import LessonPages
from backend.pages.tasks.routes import number_in
from backend.pages.work import Work
from backend.presentation.lesson_facts import Filters
from backend.serving.http.bodies import PAGES
from backend.serving.looking import KnownProject
from backend.serving.service import Service
from ovdiff.engines.learning import Learns, TellsCurve
from ovdiff.vocabulary import Vocabulary

MOST_NAMED = 200
"""Lessons that one form changes."""


def add_lesson_pages(pages: Blueprint, service: Service) -> None:
    """Add the routes of lessons to the pages."""
    engine, work = service.engine, Work()
    shown = LessonPages(engine.lessons) if isinstance(engine, Learns) else None
    _add_list(pages, service, shown, work)
    _add_curve(pages, service, work)

    @pages.post(f"{PAGES}projects/<project>/lessons/change")
    def change_lessons(project: str) -> Response:
        known = service.looking.project(number_in(project, "project"))
        if shown is None:
            raise RequestError(f"The engine {engine.preset.engine!r} keeps no lessons; the engine 'ovdiff' does.")
        addresses, filters = request.form.getlist("lesson"), _filters(request.form)
        if len(addresses) > MOST_NAMED:
            raise RequestError(f"{len(addresses)} lessons are named; at most {MOST_NAMED} are changed at once.")
        shown.change(known.number, addresses, filters, request.form.get("act", ""))
        return _back(known, "list", filters)


def _add_list(pages: Blueprint, service: Service, shown: LessonPages | None, work: Work) -> None:
    engine = service.engine

    @pages.get(f"{PAGES}projects/<project>/lessons")
    def lessons(project: str) -> Response:
        known = service.looking.project(number_in(project, "project"))
        found = None
        if shown is not None:
            page = number_in(request.args.get("page", "1"), "page")
            found = shown.page(known.number, _filters(request.args), page)
        measured = work.of(known.uid)
        page_text = render_template(
            "page/lessons.html",
            project=known,
            found=found,
            engine=engine.preset.engine,
            can_measure=isinstance(engine, TellsCurve),
            measured=measured,
            curve=curve_view(measured.result) if measured is not None and measured.state == "done" else None,
        )
        return make_response(page_text)


def _add_curve(pages: Blueprint, service: Service, work: Work) -> None:
    engine = service.engine

    @pages.post(f"{PAGES}projects/<project>/lessons/curve")
    def measure_curve(project: str) -> Response:
        known = service.looking.project(number_in(project, "project"))
        if not isinstance(engine, TellsCurve):
            raise RequestError(f"The engine {engine.preset.engine!r} has no learning curve; the engine 'ovdiff' has.")
        vocabulary = Vocabulary(known.usable.categories)
        work.start(known.uid, "The learning curve is being measured", lambda: engine.learning_curve(vocabulary))
        return _back(known, "curve", Filters())


def _back(project: KnownProject, part: str, filters: Filters) -> Response:
    """Return to the page after a change, so that reloading it repeats nothing."""
    address = url_for("pages.lessons", project=project.number, task=filters.task, person=filters.person, _anchor=part)
    return make_response(redirect(address, HTTPStatus.SEE_OTHER))


def _filters(given: MultiDict[str, str]) -> Filters:
    return Filters(given.get("task", "").strip() or None, given.get("person", "").strip() or None)
