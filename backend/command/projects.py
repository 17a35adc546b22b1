"""`ovdiff projects`: list the projects that the service has stored, and forget some.

Both work on the state file, whether the service runs or not. A running service notices within seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from backend.command.console import say
from backend.command.table import table
from backend.errors import UnusableLabelConfigError, UsageError
from backend.serving.projects import id_of
from backend.serving.store import Store, StoredProject
from backend.serving.vocabulary import read_labelling
from backend.settings import Settings
from converters.console import answer
from ovdiff.vocabulary import Category

SHOWN_LABELS = 5


def list_projects(settings: Settings) -> None:
    """Print the stored projects: a line for each of them, or all that is known as JSON.

    Raises:
        StoreError: the state file cannot be read.
    """
    stored = _stored(settings)
    answer([_as_json(project, settings) for project in stored])
    if not stored:
        say(f"no projects in {settings.state_file}: the first /setup of a project, when it is connected, stores it")
    else:
        header = ("project", "created", "labels", "config changed", "which")
        say(table([header, *(_row(project, settings) for project in stored)], right=(0, 2)))


def forget_projects(settings: Settings, texts: Sequence[str]) -> None:
    """Forget projects, each named by its number in Label Studio or by its uid. Prototypes stay in the bank.

    Raises:
        UsageError: a text names no stored project; nothing is forgotten.
        StoreError: the state file cannot be read or written.
    """
    stored = _stored(settings)
    chosen = dict.fromkeys(project.uid for text in texts for project in _find(stored, text, settings))
    store = _store(settings)
    for uid in chosen:
        store.mark_forgotten(uid)
    answer({"forgotten": list(chosen)})
    say(f"forgotten: {', '.join(chosen)}. Prototypes stay in the bank; see `ovdiff prototypes`.")
    say("A project that is still connected in Label Studio comes back when one of its pages is opened.")


def known_projects(settings: Settings) -> dict[str, tuple[Category, ...]]:
    """Return the categories of each stored project, by its uid, without projects whose label config cannot be used.

    Raises:
        StoreError: the state file cannot be read.
    """
    if not settings.state_file.is_file():
        return {}
    stored = _store(settings).label_configs().items()
    known = {uid: _categories(label_config, settings) for uid, label_config in stored}
    return {uid: categories for uid, categories in known.items() if categories is not None}


def _find(stored: Sequence[StoredProject], text: str, settings: Settings) -> list[StoredProject]:
    found = [project for project in stored if text in (project.uid, str(id_of(project.uid)))]
    if not found:
        known = ", ".join(project.uid for project in stored) or "none"
        raise UsageError(f"There is no project {text!r:.80} in {settings.state_file}; it has: {known}.")
    return found


def _stored(settings: Settings) -> list[StoredProject]:
    """Return the stored projects in the order of their numbers; no project if there is no state file yet."""
    if not settings.state_file.is_file():
        return []
    return sorted(_store(settings).projects(), key=lambda project: (id_of(project.uid) or 0, project.uid))


def _store(settings: Settings) -> Store:
    return Store(settings.state_file, event_rows=settings.prediction.event_rows)


def _labels(project: StoredProject, settings: Settings) -> list[str] | None:
    """Return the names of the project's categories; None if its label config cannot be used with these settings."""
    categories = _categories(project.label_config, settings)
    return None if categories is None else [category.name for category in categories]


def _categories(label_config: str, settings: Settings) -> tuple[Category, ...] | None:
    try:
        return read_labelling(label_config, max_categories=settings.prediction.max_categories).categories
    except UnusableLabelConfigError:
        return None


def _row(project: StoredProject, settings: Settings) -> Sequence[str]:
    labels, created = _labels(project, settings), _created_at(project.uid)
    return (
        str(id_of(project.uid) or project.uid),
        "" if created is None else f"{created:%Y-%m-%d %H:%M} UTC",
        "" if labels is None else str(len(labels)),
        f"{datetime.fromisoformat(project.changed_at):%Y-%m-%d %H:%M} UTC",
        "its label config cannot be used" if labels is None else _shortened(labels),
    )


def _shortened(labels: Sequence[str]) -> str:
    more = [f"and {len(labels) - SHOWN_LABELS} more"] if len(labels) > SHOWN_LABELS else []
    return ", ".join([*labels[:SHOWN_LABELS], *more])


def _created_at(uid: str) -> datetime | None:
    """Return when Label Studio made a project, by the second half of its uid; None if it has none."""
    try:
        return datetime.fromtimestamp(int(uid.partition(".")[2]), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _as_json(project: StoredProject, settings: Settings) -> dict[str, object]:
    created = _created_at(project.uid)
    return {
        "uid": project.uid,
        "project": id_of(project.uid),
        "created_at": None if created is None else created.isoformat(),
        "labels": _labels(project, settings),
        "label_config_changed_at": project.changed_at,
    }
