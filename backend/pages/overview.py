"""What the first page shows, made of what /status says: figures, what needs a person, projects, queue and stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from backend.serving.projects import id_of
from backend.serving.readiness import LOADING

Entry = Mapping[str, Any]
"""An object of /status."""

DECIDERS = {
    "category": "the label says it by kind=",
    "preset": "the preset lists the word",
    "table": "a table of known words",
    "default": "no rule knows the word",
}
"""Who decided whether a category is a thing or stuff, in words; who is not here is the nearest known word."""

STATES = {
    "ready": "ready",
    "building": "being made",
    "queued": "waiting",
    "failed": "failed",
    "unwanted": "not wanted",
}

MISSING = {  # what /ready says is missing
    "models": "Models",
    "bank": "Prototype bank",
    "state file": "State file",
}

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Figure:
    """A number at the top of the page: what it counts, and whether a person should look at it."""

    value: str
    text: str
    is_bad: bool = False


@dataclass(frozen=True)
class Notice:
    """Something that needs a person: where, and what it is with what to do.

    Attributes:
        level: "problem" if something does not work, "advice" if it might be better.
        where: what it concerns.
        text: what is wrong and what to do.
    """

    level: str
    where: str
    text: str


@dataclass(frozen=True)
class Overview:
    """What the first page shows.

    Attributes:
        figures: the numbers at the top.
        notices: what needs a person, problems first.
        is_busy: whether something changes by itself, so that the page looks again soon.
    """

    figures: tuple[Figure, ...]
    notices: tuple[Notice, ...]
    is_busy: bool


def overview(status: Entry) -> Overview:
    """Return what the first page shows of a /status."""
    states: Counter[str] = Counter()
    for project in status["projects"].values():
        states.update(project["counts"])
    failed = len(status["failed_tasks"])
    figures = (
        Figure(f"{states['ready']} of {states.total()}", "labels are ready"),
        Figure(str(len(status["queue"])), "wait for their turn"),
        Figure(str(states["failed"]), "labels failed", states["failed"] > 0),
        Figure(str(failed), "tasks without a prediction", failed > 0),
    )
    notices = sorted(_notices(status), key=lambda notice: notice.level != "problem")
    return Overview(figures, tuple(notices), is_busy=bool(status["queue"]) or states["building"] > 0)


def project_name(uid: str) -> str:
    """Return how a project is called: by the number that its address in Label Studio has."""
    number = id_of(uid)
    return f"Project {uid}" if number is None else f"Project {number}"


def decider(reason: str | None) -> str:
    """Say in words who decided whether a category is a thing or stuff; "" if nobody has."""
    return "" if reason is None else DECIDERS.get(reason, reason)


def with_code(text: str) -> Markup:
    """Return a text of ours as HTML: what is between `backticks` is code, and everything is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an odd backtick is no pair
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def size(count: int) -> str:
    """Return a number of bytes as people read it: "3.4 MB"."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_UNITS[unit]}"


def _notices(status: Entry) -> Iterator[Notice]:
    for name, reason in status["missing"].items():
        level = "advice" if reason == LOADING else "problem"
        yield Notice(level, MISSING.get(name, name), reason)
    for uid, project in status["projects"].items():
        where = project_name(uid)
        if project["error"]:
            yield Notice("problem", f"{where}, label config", project["error"])
        for warning in project["warnings"]:
            yield Notice("advice", f"{where}, label config", warning)
        for category in project["categories"]:
            what = f"{where}, {category['name']}"
            if category["state"] == "failed":
                yield Notice("problem", what, category["reason"])
            if category["advice"]:
                yield Notice("advice", what, category["advice"])
    if advice := status["anchors"]["advice"]:
        built, words = status["anchors"]["built"], status["anchors"]["words"]
        yield Notice(
            "advice",
            "Anchors",
            f"{built} of {words} are made. Until all are, labels are painted where another word would fit: {advice}.",
        )
