"""The routes of the pages: what the first page and its neighbours show, in HTML.

    GET  /             the first page; whoever does not ask for HTML, as clients of label-studio-ml, is told of health
    GET  /page/...     further pages, the style sheet, the script of live progress

Every page needs the password that the service needs, works without its script, and shows no token. A change is a POST
of a form with a token (`backend.pages.form_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from http import HTTPStatus

from flask import Blueprint, Flask, Response, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from backend.errors import BackendError, BusyError, LabelStudioAPIError, NoSuchTaskError, NothingThereError
from backend.pages import overview as shown
from backend.pages.category_routes import CategoryPages, add_category_pages
from backend.pages.form_tokens import FIELD, FormTokens
from backend.pages.headers import with_headers
from backend.pages.lessons.routes import add_lesson_pages
from backend.pages.preview_routes import add_preview_pages
from backend.pages.promotions import add_promotion_pages
from backend.pages.searches.routes import add_search_pages
from backend.pages.served_pictures import ServedPictures
from backend.pages.taking.routes import add_taking_pages
from backend.pages.tasks.routes import add_task_pages
from backend.pages.work import Work
from backend.serving.http.app import health_answer
from backend.serving.http.bodies import PAGES
from backend.serving.http.error_answers import unexpected_message
from backend.serving.limit import Limit
from backend.serving.projects import id_of
from backend.serving.service import Service
from backend.settings import Settings
from ovdiff.errors import OVDiffError

QUICK = frozenset({"pages.first", "pages.static", "pages.picture"})
"""What is answered at once from memory, and waits for nobody: it needs no place among the pages. Label Studio and
watchdogs may ask for the first page."""


def add_pages(app: Flask, settings: Settings) -> None:
    """Add the pages to an application of `backend.serving.http.app`."""
    service: Service = app.extensions["ovdiff"]
    pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static")
    pages.static_url_path = f"{PAGES}static"
    tokens = FormTokens()
    _add_limit(pages, Limit(settings.server.page_requests, "pages or pictures of pages"))
    _add_frame(pages, tokens, settings)
    _add_first_page(pages, service)
    labels = CategoryPages(service, Work(), max_px=settings.images.image_max_px)
    add_category_pages(pages, labels)
    add_promotion_pages(pages, labels)
    add_preview_pages(pages, labels)
    add_taking_pages(pages, labels)
    add_lesson_pages(pages, service)
    pictures = ServedPictures()
    add_task_pages(pages, service, settings, pictures)
    add_search_pages(pages, service, pictures)
    app.register_blueprint(pages)


def _add_limit(pages: Blueprint, limit: Limit) -> None:
    """Turn pages away while too many are being made: each holds a thread, and requests of Label Studio need some."""

    @pages.before_request
    def enter() -> None:
        if request.endpoint not in QUICK:
            turn = ExitStack()
            turn.enter_context(limit)
            g.page_turn = turn

    @pages.teardown_request
    def leave(_error: BaseException | None) -> None:
        if (turn := g.pop("page_turn", None)) is not None:
            turn.close()


def _add_frame(pages: Blueprint, tokens: FormTokens, settings: Settings) -> None:
    """Add what all pages have in common: headers, tokens of forms, errors as pages, and what templates may use."""
    pages.after_request(with_headers)
    pages.after_request(tokens.keep_cookie)

    @pages.before_request
    def only_own_forms() -> None:
        if request.method == "POST":
            tokens.require()

    @pages.context_processor
    def frame() -> dict[str, object]:
        return {
            "form_token": tokens.token,
            "token_field": FIELD,
            "STATES": shown.STATES,
            "label_studio_url": settings.label_studio.url_for_people,
        }

    pages.add_app_template_filter(shown.project_name, "project_name")
    pages.add_app_template_filter(id_of, "project_number")
    pages.add_app_template_filter(shown.decider, "decider")
    pages.add_app_template_filter(shown.size, "size")
    pages.add_app_template_filter(shown.with_code, "with_code")

    @pages.errorhandler(BackendError)
    @pages.errorhandler(OVDiffError)
    def refused(error: Exception) -> Response:
        return _error_page(_status_of(error), str(error))

    @pages.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        message = unexpected_message(error)
        return _error_page(HTTPStatus.INTERNAL_SERVER_ERROR, message, asked=request.args)

    @pages.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        size, most = request.content_length or 0, settings.server.max_body_bytes
        why = (
            f"the form has {size} bytes, more than {most} (OVDIFF_MAX_BODY_BYTES)"
            if size > most
            else "a field is too long"
        )
        return _error_page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Nothing was changed: {why}.", asked=request.args)

    @pages.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _error_page(HTTPStatus(error.code or 500), error.description or error.name)


def _add_first_page(pages: Blueprint, service: Service) -> None:
    @pages.get("/")
    def first() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
            answer = health_answer()
        else:
            status = service.status()
            answer = make_response(render_template("page/overview.html", status=status, shown=shown.overview(status)))
        answer.vary.add("Accept")
        return answer


def _status_of(error: Exception) -> HTTPStatus:
    """Return the status of an error: not there, too busy, Label Studio's fault, or a request that cannot be done."""
    if isinstance(error, NothingThereError | NoSuchTaskError):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, BusyError):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.BAD_GATEWAY if isinstance(error, LabelStudioAPIError) else HTTPStatus.BAD_REQUEST


def _error_page(status: HTTPStatus, message: str, asked: Mapping[str, str] | None = None) -> Response:
    """Return a page that says what is wrong, with a way back to the label that was asked about.

    `asked` is what the request says (None: its form too, which must be one that can be read).
    """
    about = request.values if asked is None else asked
    page = render_template("page/error.html", title=status.phrase, message=message, about=about)
    return make_response(page, status)
