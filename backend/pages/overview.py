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
        project: the uid of the project that it concerns; "" if none.
        label: the label of that project; "" if it is the label config as a whole.
    """

    level: str
    where: str
    text: str
    project: str = ""
    label: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether the service is ready, as the page's heading, with what to do next.

    Attributes:
        level: "good", "going" while something is being made, or "problem".
        title: the heading.
        text: what it means and what to do next, with `code` between backticks.
    """

    level: str
    title: str
    text: str


@dataclass(frozen=True)
class Overview:
    """What the first page shows.

    Attributes:
        verdict: whether all is ready, and what to do next.
        figures: the numbers at the top.
        notices: what needs a person, problems first.
        is_busy: whether something changes by itself, so that the page looks again soon.
    """

    verdict: Verdict
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
    notices = tuple(sorted(_notices(status), key=lambda notice: notice.level != "problem"))
    is_busy = bool(status["queue"]) or states["building"] > 0
    return Overview(_verdict(status, states, notices, is_busy=is_busy), figures, notices, is_busy)


def project_name(uid: str) -> str:
    """Return how a project is called: by the number that its address in Label Studio has."""
    number = id_of(uid)
    return f"Project {uid}" if number is None else f"Project {number}"


def decider(reason: str | None) -> str:
    """Say in words who decided whether a category is a thing or stuff; "" if nobody has."""
    return "" if reason is None else DECIDERS.get(reason, reason)


def with_code(text: str) -> Markup:
    """Return a text of ours as HTML: what is between `backticks` is code, and everything is escaped.

    Browsers break lines behind a dash, which would tear "--anchors" apart: an option is marked to stay whole.
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an odd backtick is no pair
        return escape(text)
    return Markup("").join(_code(part) if number % 2 else escape(part) for number, part in enumerate(parts))


def _code(text: str) -> Markup:
    words = (
        Markup('<span class="whole">{}</span>' if word.startswith("-") else "{}").format(word)
        for word in text.split(" ")
    )
    return Markup("<code>{}</code>").format(Markup(" ").join(words))


def size(count: int) -> str:
    """Return a number of bytes as people read it: "3.4 MB"."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_UNITS[unit]}"


def _verdict(status: Entry, states: Counter[str], notices: tuple[Notice, ...], *, is_busy: bool) -> Verdict:
    """Say whether all is ready; what does not work is said before what is going on."""
    problems = sum(notice.level == "problem" for notice in notices) + bool(status["failed_tasks"])
    made = f"{states['ready']} of {states.total()} labels are made"
    if problems:
        title = "One thing needs you" if problems == 1 else f"{problems} things need you"
        return Verdict("problem", title, f"{made}. What does not work stands below, with what to do.")
    if not status["projects"]:
        return Verdict("going", "No project yet", "Connect this backend to a project in Label Studio.")
    if is_busy or LOADING in status["missing"].values():
        what = "Labels are being made" if is_busy else "Models are being loaded"
        return Verdict("going", what, f"{made}. Tasks get their whole predictions as soon as all are.")
    hints = (
        f" {len(notices)} {'hint' if len(notices) == 1 else 'hints'} below may make predictions better."
        if notices
        else ""
    )
    number = next((number for uid in status["projects"] if (number := id_of(uid)) is not None), None)
    whole = (
        "" if number is None else f", or have all tasks of a project predicted: `ovdiff prelabel --project {number}`"
    )
    return Verdict("good", "Ready", f"All {states.total()} labels are made.{hints} Open a task in Label Studio{whole}.")


def _notices(status: Entry) -> Iterator[Notice]:
    for name, reason in status["missing"].items():
        level = "advice" if reason == LOADING else "problem"
        yield Notice(level, MISSING.get(name, name), reason)
    for uid, project in status["projects"].items():
        where = project_name(uid)
        if project["error"]:
            yield Notice("problem", f"{where}, label config", project["error"], uid)
        for warning in project["warnings"]:
            yield Notice("advice", f"{where}, label config", warning, uid)
        for category in project["categories"]:
            what = f"{where}, {category['name']}"
            if category["state"] == "failed":
                yield Notice("problem", what, category["reason"], uid, category["name"])
            if category["advice"]:
                yield Notice("advice", what, category["advice"], uid, category["name"])
    if problem := status["learning"]["obstacle"] or status["learning"]["problem"]:
        yield Notice("problem", "Learning from annotations", problem)
    yield from _background_notices(status["prelabelling"])
    if advice := status["anchors"]["advice"]:
        built, words = status["anchors"]["built"], status["anchors"]["words"]
        yield Notice(
            "advice",
            "Anchors",
            f"{built} of {words} are made. Until all are, labels are painted where another word would fit: {advice}.",
        )


def _background_notices(prelabelling: Entry) -> Iterator[Notice]:
    """Yield why the last runs that predicted whole projects by themselves did not go to their end."""
    going = (prelabelling["running"] or {}).get("project")
    for uid, last in prelabelling["last"].items():
        if last["ended"] and uid != going:
            yield Notice("advice", f"{project_name(uid)}, predictions in the background", last["ended"])
