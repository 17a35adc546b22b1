"""The routes of a category's page: what it shows, its pictures, and what changes it.

    GET  /page/category?project=UID&name=LABEL           the page
    GET  /page/category/support.png?...&number=3         a support image, its object outlined
    GET  /page/category/background.png?...&number=3      places of a background prototype, after they were looked for
    POST /page/category/CHANGE                           a change, with the project and the name in the form

A change is written into the category's curation, and the worker of the service then builds the category again; nothing
is drawn anew. What runs models, to number the background, is done outside the request (`backend.pages.work`).
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for

from backend.errors import RequestError
from backend.pages.annotated_tasks import marked_image
from backend.pages.asked_changes import Act, asked_change, asked_fields, asked_number
from backend.pages.category import (
    ADDRESS_DIGITS,
    SupportView,
    background_rows,
    changes,
    curation_of,
    most_places,
    prompts_attribute,
    support_view,
)
from backend.pages.pictures import Kept, Pictures, outlined, support_pictures, to_png
from backend.pages.taking.tag_change import TakenPrompts, cannot_take
from backend.pages.trials import Trials
from backend.pages.work import Work
from backend.serving.service import Service
from converters.label_studio.label_tag import label_line
from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.support import SupportSet
from ovdiff.curation.curation import Curation
from ovdiff.engines.building import HasSupportSets
from ovdiff.engines.curating import CategoryCurator, Curates
from ovdiff.vocabulary import Category

ANNOTATED = "add-annotated"
"""The change that adds what people marked in a task of the project."""
LONG_CHANGES = {
    "ban": ("number", "Background {number} of {name} is being ruled out"),
    ANNOTATED: ("from", "What people marked as {name} in task {number} is being fetched and added"),
}
"""What runs models or asks Label Studio, so that it is done outside the request: a field of its form, and words."""
OF_DRAWN_IMAGES = ("reject", "restore")
"""The changes that name drawn images by their numbers."""
PLACES_PX = 110
"""The side of a picture of background places: many stand side by side."""
MOST_SETS = 2
"""Support sets that are kept in memory: one of 32 images of 512 px takes 70 MB."""
MOST_VIEWS = 64
"""What pages say of support sets: texts, kept because a page that is open asks every few seconds."""


class CategoryPages:
    """The pages of all categories: what their routes share. Threads may share it."""

    def __init__(self, service: Service, work: Work, *, max_px: int) -> None:
        """Show and change categories of a service; uploaded images have at most `max_px` pixels."""
        self.service, self.work, self.max_px = service, work, max_px
        self.trials = Trials(service.precompute, self._labels)
        self.taken = TakenPrompts()
        self.pictures: Kept[Pictures] = Kept()
        self.sets: Kept[SupportSet] = Kept(MOST_SETS)
        self.views: Kept[SupportView] = Kept(MOST_VIEWS)

    def asked(self) -> tuple[str, Category]:
        """Return the project and the category that a request is about.

        Raises:
            RequestError: the project is not known, or has no such label.
        """
        project, name = request.values.get("project", ""), request.values.get("name", "")
        for category in self.service.labelling(project).categories:
            if category.name == name:
                return project, category
        raise RequestError(f"The label config in force of project {project[:60]!r} has no label {name[:60]!r}.")

    def _labels(self) -> dict[tuple[str, str], Category]:
        found = self.service.labellings().items()
        return {(project, category.name): category for project, labelling in found for category in labelling.categories}

    def curator(self) -> CategoryCurator:
        """Return what changes categories.

        Raises:
            RequestError: the engine's categories cannot be changed.
        """
        engine = self.service.engine
        if not isinstance(engine, Curates):
            raise RequestError(
                f"The engine {engine.preset.engine!r} has no support images that people can change; the engine "
                "'ovdiff' has."
            )
        return engine.curator

    def act(self, name: str, project: str) -> Act:
        """Return the change that a form asks for; what it needs of Label Studio is asked for when it is done.

        Raises:
            RequestError: there is no such change, the form lacks what it needs, or the page that was sent is old.
        """
        if name == "ban":
            return self._ban()
        if name in OF_DRAWN_IMAGES:
            self._require_drawn()
        if name != ANNOTATED:
            return asked_change(name, self.service.images.room, max_px=self.max_px)
        task, alone = asked_number("from"), "alone" in request.form

        def add(curator: CategoryCurator, category: Category) -> Curation:
            found = marked_image(self.service, project, task, category.name)
            return curator.add_exemplar(category, found.pixels, found.mask, found.name, f"task {task}", alone=alone)

        return add

    def draw_support(self, category: Category) -> Pictures:
        """Return the pictures of a category's support images."""
        key = self.service.engine.category_key(category)
        return self.pictures.of(key, lambda: support_pictures(self.support_set(category)))

    def support_set(self, category: Category) -> SupportSet:
        """Return the support images of a category, which a page asks for once for each of its pictures."""
        engine = self.service.engine
        if not isinstance(engine, HasSupportSets):
            abort(HTTPStatus.NOT_FOUND)
        return self.sets.of(engine.category_key(category), lambda: engine.support_set(category))

    def draw_places(self, category: Category, found: BackgroundPrototype) -> Pictures:
        """Return the pictures of a background prototype's places, by the numbers of the images that show most."""
        images = {item.number: item.image for item in self.support_set(category).images}
        return {
            number: to_png(outlined(images[number], found.places[number], side_px=PLACES_PX))
            for number in most_places(found)
            if number in images
        }

    def _ban(self) -> Act:
        """Return the change that rules out a background, which is named by its number.

        Each build of a category numbers its background anew. So the form says which build its number is from, and is
        refused where the category is another one by now, also at the moment when it is done.
        """
        act, key = asked_change("ban", self.service.images.room, max_px=self.max_px), request.form.get("key", "")

        def ban(curator: CategoryCurator, category: Category) -> Curation:
            self.require_key(category, key)
            return act(curator, category)

        self.require_key(self.asked()[1], key)
        return ban

    def _require_drawn(self) -> None:
        """Refuse the numbers of images that were drawn from other phrases than the label has now.

        What others left out meanwhile changes no number, so it is no reason to refuse.
        """
        _, category = self.asked()
        if request.form.get("drawn", "") != self.curator().drawn_key(category):
            raise RequestError(
                f"Nothing was changed: the page is old. The images of {category.name!r} are drawn from other words "
                "now, so a number means another image. Load the page again and tick the images there."
            )

    def require_pictures_of(self, category: Category) -> None:
        """Answer 404 where the address of a picture names another state of the category than the present one.

        A browser keeps the picture under this address for good, and would show it where that state comes back.
        """
        key = self.service.engine.category_key(category)
        if request.args.get("key", "") != key[:ADDRESS_DIGITS]:
            abort(
                HTTPStatus.NOT_FOUND, "The label was changed since this picture's page was made. Load the page again."
            )

    def require_key(self, category: Category, key: str) -> None:
        """Refuse the number of a background that was numbered in another build than the label's present one.

        Raises:
            RequestError: the category was changed since.
        """
        if key != self.service.engine.category_key(category):
            raise RequestError(
                f"Nothing was changed: the page is old. {category.name!r} was changed since its background was "
                "numbered, so a number may now be another place. Load the page again and look for the background anew."
            )

    def background_work(self, category: Category) -> tuple[str, str]:
        """Return what the search for a category's background is about: another curation is another search."""
        return "background", self.service.engine.category_key(category)

    def places(self, category: Category) -> dict[int, BackgroundPrototype]:
        """Return the background prototypes that were found, by their numbers; none before they were looked for."""
        piece = self.work.of(self.background_work(category))
        found = piece.result if piece is not None and piece.state == "done" else ()
        return {item.number: item for item in found}


def add_category_pages(pages: Blueprint, shared: CategoryPages) -> None:
    """Add the routes."""
    _add_page(pages, shared)
    _add_pictures(pages, shared)
    _add_changes(pages, shared)
    _add_background(pages, shared)
    _add_long_changes(pages, shared)
    _add_trials(pages, shared)


def _add_page(pages: Blueprint, shared: CategoryPages) -> None:
    @pages.get("/page/category")
    def category() -> str:
        project, asked = shared.asked()
        shared.trials.drop_over()
        service, tried = shared.service, shared.trials.of(project, asked.name)
        about = shared.background_work(asked)
        found = shared.work.of(about)
        changing = shared.work.of(("change", project, asked.name))
        return render_template(
            "page/category.html",
            project=project,
            category=asked,
            entry=service.label_status(asked),
            support=support_view(service.engine, asked, shared.views),
            curates=isinstance(service.engine, Curates),
            drawn=service.engine.curator.drawn_key(asked) if isinstance(service.engine, Curates) else "",
            changes=changes(curation_of(service.engine, asked)),
            label_line=label_line,
            others=[each.name for each in service.labelling(project).categories if each.name != asked.name],
            looking=found,
            numbered_in=about[1],
            backgrounds=background_rows(found.result if found is not None and found.state == "done" else ()),
            changing=changing,
            tried=tried,
            tried_status=None if tried is None else service.precompute.status(tried),
            tried_support=None if tried is None else support_view(service.engine, tried, shared.views),
            taken=shared.taken.in_force(project, asked),
            cannot_take=cannot_take(service, project),
            tried_attribute="" if tried is None else prompts_attribute(tried.prompts),
        )


def _add_pictures(pages: Blueprint, shared: CategoryPages) -> None:
    @pages.get("/page/category/support.png")
    def support() -> Response:
        project, asked = shared.asked()
        shown = shared.trials.of(project, asked.name) if "tried" in request.args else asked
        if shown is None:
            abort(HTTPStatus.NOT_FOUND)
        shared.require_pictures_of(shown)
        return picture(shared.draw_support(shown).get(asked_number()))

    @pages.get("/page/category/background.png")
    def background() -> Response:
        _, asked = shared.asked()
        found = shared.places(asked).get(asked_number())
        if found is None:
            abort(HTTPStatus.NOT_FOUND)
        shared.require_pictures_of(asked)
        key = (shared.service.engine.category_key(asked), found.number)
        return picture(
            shared.pictures.of(key, lambda: shared.draw_places(asked, found)).get(
                request.args.get("image", -1, type=int)
            )
        )


def _add_changes(pages: Blueprint, shared: CategoryPages) -> None:
    @pages.post("/page/category/<any(reject, restore, draw, 'add-exemplar', 'remove-exemplar', unban):name>")
    def change(name: str) -> Response:
        project, asked = shared.asked()
        shared.act(name, project)(shared.curator(), asked)
        return back(project, asked)


def _add_background(pages: Blueprint, shared: CategoryPages) -> None:
    @pages.post("/page/category/look-for-background")
    def look_for_background() -> Response:
        project, asked = shared.asked()
        curator = shared.curator()
        title = f"The background of {asked.name} is being looked for"
        shared.work.start(shared.background_work(asked), title, lambda: curator.backgrounds(asked))
        return back(project, asked, "background")


def _add_long_changes(pages: Blueprint, shared: CategoryPages) -> None:
    @pages.post(f"/page/category/<any(ban, '{ANNOTATED}'):name>")
    def long_change(name: str) -> Response:
        project, asked = shared.asked()
        curator, act = shared.curator(), shared.act(name, project)
        field, words = LONG_CHANGES[name]
        title = words.format(name=asked.name, number=asked_number(field))
        about = "change", project, asked.name
        shared.work.start(about, title, lambda: act(curator, asked), what=asked_fields())
        return back(project, asked)


def _add_trials(pages: Blueprint, shared: CategoryPages) -> None:
    @pages.post("/page/category/try")
    def try_prompts() -> Response:
        project, asked = shared.asked()
        shared.curator()  # an engine without support images has nothing to be looked at
        shared.trials.start(project, asked, request.form.get("prompts", ""))
        return back(project, asked, "trial")

    @pages.post("/page/category/end-trial")
    def end_trial() -> Response:
        shared.trials.end(request.form.get("project", ""), request.form.get("name", ""))
        project, asked = shared.asked()  # behind the end: a trial ends also where its label is gone
        return back(project, asked, "trial")


def back(project: str, category: Category, part: str = "changes") -> Response:
    """Return to the page of a category after a change, so that reloading it repeats nothing."""
    address = url_for("pages.category", project=project, name=category.name, _anchor=part)
    return make_response(redirect(address, HTTPStatus.SEE_OTHER))


def picture(png: bytes | None) -> Response:
    """Return a PNG as an answer that a browser may keep, for its address holds what shapes it; 404 if there is none."""
    if png is None:
        abort(HTTPStatus.NOT_FOUND)
    answer = Response(png, mimetype="image/png")
    answer.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return answer
