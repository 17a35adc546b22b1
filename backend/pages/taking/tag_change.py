"""Prompts that were tried are written into a project's label config, through Label Studio's own API.

A label's prompts come from the label config, and a person may edit that at any time. So a change is looked at first:
the tag of the label as it stands in Label Studio and as it would be. It is made only if Label Studio has the very label
config from which it was looked at, and nothing but the attribute `prompts` of this label differs afterwards.

Label Studio 1.23.2 keeps the text as it is sent, without spaces around it, and changes neither annotations nor
predictions (tests/end_to_end/test_taking_prompts.py). It has no condition like `If-Match`: an edit of another person in
the same moment, between our last look and our request, would be lost; the window is one request.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import sha256

from backend.errors import (
    LabelStudioAPIError,
    LabelStudioDownError,
    LabelStudioSlowError,
    RequestError,
)
from backend.serving.projects import id_of
from backend.serving.service import Service
from backend.serving.vocabulary import Labelling, read_labelling
from converters.errors import LabelConfigError
from converters.label_studio.label_tag import LabelTag, find_label_tag
from converters.label_studio.own_attributes import PROMPTS
from ovdiff.vocabulary import Category

MOST = 64
"""Changes that can be undone by a button; the oldest are forgotten, and all of them with the process."""


@dataclass(frozen=True)
class TagChange:
    """The tag of a label in a project's label config, as it stands and as it is to be.

    Attributes:
        number: the project's number in Label Studio.
        label: the label's name.
        before: the tag as it stands.
        after: the tag as it is to be.
        config: the whole label config as it is to be.
        phrases: what the label is drawn from then; () where the tag is put back as it was.
        seen: what the change was made from, as a hash: a change of another label config or to other words differs.
    """

    number: int
    label: str
    before: str
    after: str
    config: str
    phrases: tuple[str, ...]
    seen: str


def prompts_change(service: Service, project: str, category: Category, tried: Category) -> TagChange:
    """Return what taking other prompts would change in Label Studio. Nothing is changed.

    Args:
        service: gives Label Studio.
        project: the project's uid.
        category: the label as it is.
        tried: the label with the other prompts.

    Raises:
        RequestError: the project has no number, or its label config is another one than the service knows.
        LabelStudioAPIError: no token is set, or Label Studio refused or did not answer.
    """
    number, config = _present(service, project)
    tag = _tag(service.labelling(project), config, category)
    after = tag.with_attribute(PROMPTS, "; ".join(tried.phrases))
    change = _change(number, category.name, tag, after, tried.phrases)
    _require_one_label(config, change.config, category, tried)
    return change


def cannot_take(service: Service, project: str) -> str:
    """Say why no label config of a project can be changed from here, without asking Label Studio; "" if it may be."""
    if id_of(project) is None:
        return "Label Studio gives this project no number here, so its label config cannot be changed from this page."
    if not service.label_studio.has_token:
        return "This page cannot change the label config: LABEL_STUDIO_API_KEY is not set."
    return ""


def make_change(service: Service, project: str, change: TagChange) -> None:
    """Write a changed label config into Label Studio, and have the service read it.

    Raises:
        LabelStudioAPIError: Label Studio refused, did not answer, or keeps another text; the message says which.
    """
    path, is_taken = f"/api/projects/{change.number}/", False
    try:
        service.label_studio.patch(path, {"label_config": change.config})
        is_taken = True
        stored = service.label_studio.project(change.number).label_config
    except LabelStudioAPIError as error:
        if is_taken or isinstance(error, LabelStudioSlowError | LabelStudioDownError):
            service.read_soon(project)
            raise LabelStudioAPIError(
                f"{error} So it is not known whether {change.label!r} was changed. Look at the label config there."
            ) from error
        raise LabelStudioAPIError(
            f"Nothing was changed: {error} Or set the attribute yourself, in Label Studio's settings of the project."
        ) from error
    service.read_now(project)
    if stored.strip() != change.config.strip():
        raise LabelStudioAPIError(
            f"Label Studio keeps another label config of project {change.number} than it was sent: somebody changed it "
            "in the same moment. Look at it there."
        )


class TakenPrompts:
    """The changes that were made, so that each can be undone. Threads may share it."""

    def __init__(self, most: int = MOST) -> None:
        """Know no change yet."""
        self._most, self._lock = most, threading.Lock()
        self._made: OrderedDict[tuple[str, str], TagChange] = OrderedDict()

    def of(self, project: str, label: str) -> TagChange | None:
        """Return the last change of a label that can be undone; None if there is none."""
        with self._lock:
            return self._made.get((project, label))

    def in_force(self, project: str, category: Category) -> TagChange | None:
        """Return the last change of a label while the label has its prompts; None if it has others."""
        made = self.of(project, category.name)
        return made if made is not None and made.phrases == category.phrases else None

    def add(self, project: str, change: TagChange) -> None:
        """Remember a change that was made; of a label the last one counts."""
        with self._lock:
            self._made.pop((project, change.label), None)
            self._made[project, change.label] = change
            while len(self._made) > self._most:
                self._made.popitem(last=False)

    def undo(self, service: Service, project: str, category: Category) -> None:
        """Put the tag of a label back as it was before its last change. What else was edited since stays.

        Raises:
            RequestError: nothing was changed here, or somebody edited this label since.
            LabelStudioAPIError: as `make_change` raises it.
        """
        made = self.of(project, category.name)
        if made is None:
            raise RequestError(f"No change of {category.name!r} is known that could be undone.")
        number, config = _present(service, project)
        tag = _tag(service.labelling(project), config, category)
        if tag.text != made.after:
            raise RequestError(
                f"Nothing was changed: the label {category.name!r} was edited in Label Studio since its prompts were "
                f"taken here. Its tag is now {tag.text}."
            )
        make_change(service, project, _change(number, category.name, tag, made.before))
        with self._lock:
            self._made.pop((project, category.name), None)


def _present(service: Service, project: str) -> tuple[int, str]:
    """Return the number of a project and the label config that Label Studio has now."""
    number = id_of(project)
    if number is None:
        raise RequestError(f"The project {project!r} has no number, so its label config cannot be changed from here.")
    found = service.label_studio.project(number)
    if project not in (found.uid, str(number)):  # label-studio-ml shortens a uid to the number
        raise RequestError(
            f"Nothing was changed: project {number} of Label Studio is another one than the project of this page."
        )
    return number, found.label_config


def _tag(labelling: Labelling, config: str, category: Category) -> LabelTag:
    """Return the tag of a label in a label config, in the control that draws it."""
    control = next(output.control for output in labelling.outputs if output.category == category)
    try:
        return find_label_tag(config, control, category.name)
    except LabelConfigError as error:
        raise RequestError(
            f"Nothing was changed: the label config in Label Studio is not the one that this page knows ({error}). "
            "Load the page again in a moment."
        ) from error


def _change(number: int, label: str, tag: LabelTag, after: str, phrases: tuple[str, ...] = ()) -> TagChange:
    try:
        config = tag.replaced(after)
    except LabelConfigError as error:
        raise RequestError(f"Nothing was changed: {error}.") from error
    seen = sha256("\0".join((tag.before, tag.text, tag.after, after)).encode()).hexdigest()
    return TagChange(number, label, tag.text, after, config, phrases, seen)


def _require_one_label(old: str, new: str, category: Category, tried: Category) -> None:
    """Refuse a changed label config that is read otherwise than with the other prompts of this one label.

    So it is where another control says other prompts of the same label first, for example since the service read it.
    """
    # No bound of ours on the number of labels: each takes several characters.
    before, after = (read_labelling(each, max_categories=len(each)) for each in (old, new))
    expected = tuple(
        replace(output, category=replace(output.category, prompts=tried.prompts))
        if output.category.name == category.name
        else output
        for output in before.outputs
    )
    if after.outputs != expected:
        raise RequestError(
            f"Nothing was changed: the prompts of {category.name!r} would not be read from this tag. Set them in the "
            "label config yourself."
        )
