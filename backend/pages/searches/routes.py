"""The routes of searches, which go on outside the request.

GET  /page/projects/<number>/next                 which tasks to annotate next, and how far the search is
GET  /page/projects/<number>/candidates           candidates for new labels
POST /page/projects/<number>/next/start           begin a search; /end ends it with what was found
POST /page/projects/<number>/candidates/start     the same
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, url_for

from backend.errors import NothingThereError, RequestError
from backend.pages.searches.candidates import find_candidates
from backend.pages.searches.next_tasks import find_next_tasks
from backend.pages.searches.task_search import TaskSearch
from backend.pages.served_pictures import ServedPictures
from backend.pages.tasks.routes import image_name, number_in
from backend.pages.work import Work
from backend.serving.http.bodies import PAGES
from backend.serving.looking import KnownProject
from backend.serving.service import Service
from ovdiff.engines.encodings import FindsNovelties
from ovdiff.engines.learning import ScoresTasks

TITLES = {"next": "What to annotate next", "candidates": "Candidates for new labels"}
"""The kinds of search, by the last part of their address."""


class Searches:
    """The searches of all projects: at most one of each kind for a project. Threads may share it."""

    def __init__(self, service: Service, work: Work) -> None:
        """Search nothing yet."""
        self._service, self.work, self._starting = service, work, threading.Lock()
        self._searches: dict[tuple[str, str], TaskSearch] = {}

    def can(self, kind: str) -> bool:
        """Say whether the engine can do this kind of search."""
        return isinstance(self._service.engine, ScoresTasks if kind == "next" else FindsNovelties)

    def of(self, kind: str, project: KnownProject) -> TaskSearch | None:
        """Return the last search of a kind in a project; None if there was none."""
        return self._searches.get((kind, project.uid))

    def start(self, kind: str, project: KnownProject) -> None:
        """Begin a search, unless one of the kind goes on in the project.

        Raises:
            RequestError: the engine cannot do it, or the project has no usable label config.
            BusyError: too many searches wait.
        """
        about, _ = (kind, project.uid), project.usable
        with self._starting:  # of two at once the second search would be shown, and would never run
            piece = self.work.of(about)
            if piece is not None and piece.is_open:
                return
            search = TaskSearch(self._service.looking, project, only_open=kind == "next")
            self.work.start(about, TITLES[kind], self._act(kind, search))
            self._searches[about] = search

    def _act(self, kind: str, search: TaskSearch) -> Callable[[], object]:
        engine = self._service.engine
        if isinstance(engine, ScoresTasks) and kind == "next":
            return lambda: find_next_tasks(search, engine)
        if isinstance(engine, FindsNovelties) and kind == "candidates":
            return lambda: find_candidates(search, engine)
        raise RequestError(f"The engine {engine.preset.engine!r} cannot do this; the engine 'ovdiff' can.")


def add_search_pages(pages: Blueprint, service: Service, pictures: ServedPictures) -> None:
    """Add the routes of searches to the pages."""
    searches = Searches(service, Work())

    @pages.get(f"{PAGES}projects/<project>/<any(next, candidates):kind>")
    def search(project: str, kind: str) -> Response:
        known = service.looking.project(number_in(project, "project"))
        page = render_template(
            f"page/{kind}.html",
            project=known,
            kind=kind,
            title=TITLES[kind],
            can=searches.can(kind),
            search=searches.of(kind, known),
            piece=searches.work.of((kind, known.uid)),
            engine=service.engine.preset.engine,
            name_of=lambda task: image_name(task, known),
            keep=pictures.add,
        )
        return make_response(page)

    @pages.post(f"{PAGES}projects/<project>/<any(next, candidates):kind>/<any(start, end):act>")
    def change_search(project: str, kind: str, act: str) -> Response:
        known = service.looking.project(number_in(project, "project"))
        if act == "start":
            searches.start(kind, known)
        else:
            going = searches.of(kind, known)
            if going is None:
                raise NothingThereError("No search goes on that could be ended.")
            going.end()
        return make_response(redirect(url_for("pages.search", project=known.number, kind=kind), HTTPStatus.SEE_OTHER))
