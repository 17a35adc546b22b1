"""The routes of tasks.

GET /page/projects/<number>/tasks               a few tasks of a project, and a field for another one
GET /page/projects/<number>/tasks/<id>          a task's image with its masks
GET /page/projects/<number>/tasks/<id>?x=&y=    and the evidence for a pixel
GET /page/pictures/<name>                       a picture of one of the last pages
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from backend.errors import NothingThereError, RequestError
from backend.pages.served_pictures import KEEP_S, NAME, ServedPictures
from backend.pages.tasks.evidence import evidence
from backend.pages.tasks.task_view import task_view
from backend.serving.http.bodies import PAGES
from backend.serving.looking import KnownProject
from backend.serving.service import Service
from backend.settings import Settings
from backend.sources.few_tasks import BareTask

TASKS_A_PAGE = 24
NAME_CHARACTERS = 80

_DIGITS = re.compile(r"[0-9]{1,18}")
_CLICK = re.compile(r"at([0-9]{1,4})\.x")


def add_task_pages(pages: Blueprint, service: Service, settings: Settings, pictures: ServedPictures) -> None:
    """Add the routes of tasks to the pages."""
    _add_list(pages, service)
    _add_task(pages, service, settings, pictures)

    @pages.get(f"{PAGES}pictures/<name>")
    def picture(name: str) -> Response:
        if not NAME.fullmatch(name):
            raise NothingThereError("There is no picture of this name.")
        content_type, data = pictures.get(name)
        answer = Response(data, content_type=content_type)
        answer.headers["Cache-Control"] = f"private, max-age={KEEP_S}, immutable"
        return answer


def number_in(text: str, what: str) -> int:
    """Return the number in a part of an address.

    Raises:
        NothingThereError: it is no number.
    """
    if not _DIGITS.fullmatch(text):
        raise NothingThereError(f"{text[:40]!r} is no number of a {what}.")
    return int(text)


def image_name(task: BareTask, project: KnownProject) -> str:
    """Return how a task's image is called: the last part of its address; "" if the task has none."""
    outputs = () if project.labelling is None else project.labelling.outputs
    value = next((task.data.get(output.image.data_key) for output in outputs), None)
    if not isinstance(value, str):
        return ""
    try:
        path = urlsplit(value).path
    except ValueError:
        path = value
    return unquote(PurePosixPath(path).name)[-NAME_CHARACTERS:]


def place_in(given: Mapping[str, str], size_wh: tuple[int, int]) -> tuple[int, int] | None:
    """Return the pixel (x, y) of an image that a request asks about; None if it asks about none.

    A press on the image gives `at600.x` and `at600.y`: the place in CSS px of the image, shown 600 px wide. The two
    fields give `x` and `y` in px of the image.

    Raises:
        RequestError: what is given are no whole numbers.
    """
    pressed = next((match for name in given if (match := _CLICK.fullmatch(name))), None)
    if pressed is not None and (shown_px := int(pressed[1])):
        across, down = (_whole(given.get(f"at{pressed[1]}.{axis}", ""), axis) for axis in "xy")
        x, y = ((value + 0.5) * size_wh[0] / shown_px for value in (across, down))
        return min(max(int(x), 0), size_wh[0] - 1), min(max(int(y), 0), size_wh[1] - 1)
    if not (given.get("x") or given.get("y")):
        return None
    return _whole(given.get("x", ""), "x"), _whole(given.get("y", ""), "y")


def _whole(text: str, axis: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text.strip(), re.ASCII):
        raise RequestError(f"{axis}={text[:40]!r} is no whole number of pixels.")
    return int(text)


def _add_list(pages: Blueprint, service: Service) -> None:
    @pages.get(f"{PAGES}projects/<project>/tasks")
    def tasks(project: str) -> AnyResponse:
        known = service.looking.project(number_in(project, "project"))
        if asked := request.args.get("task", "").strip():
            task = number_in(asked, "task")
            return redirect(url_for("pages.task", project=known.number, task=task), HTTPStatus.SEE_OTHER)
        after = number_in(request.args.get("after", "0"), "task")
        found = service.looking.tasks(known, after, TASKS_A_PAGE)
        rows = [(task, image_name(task, known)) for task in found.tasks]
        return make_response(render_template("page/tasks.html", project=known, found=found, rows=rows, after=after))


def _add_task(pages: Blueprint, service: Service, settings: Settings, pictures: ServedPictures) -> None:
    @pages.get(f"{PAGES}projects/<project>/tasks/<task>")
    def task(project: str, task: str) -> Response:
        number, wanted = number_in(project, "project"), number_in(task, "task")
        with service.looking.opened(number, wanted, request.args.get("image", "")) as sight:
            view = task_view(sight, settings.output, pictures)
            place = place_in(request.args, view.image_wh)
            shown = None
            if place is not None:
                shown = evidence(sight, place, service.engine, pictures, view.picture_wh)
        page = render_template(
            "page/task.html",
            sight=sight,
            view=view,
            evidence=shown,
            name=image_name(sight.task, sight.project),
            engine=service.engine.preset.engine,
        )
        return make_response(page)
