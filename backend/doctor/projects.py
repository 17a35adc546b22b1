"""The projects of Label Studio: each one's connection, webhook, label config and images."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from backend.doctor import connection, storages
from backend.doctor.asking import Asker
from backend.doctor.findings import CHECK_WITHIN_S, Finding, attempt
from backend.doctor.service import own_address
from backend.errors import LabelStudioAPIError
from backend.serving.vocabulary import Labelling
from backend.settings import Settings
from backend.sources.deadline import Deadline
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource

IMAGE_WITHIN_S = 15.0
MOST_PROJECTS = 100
"""So many are looked at, the newest first."""


@dataclass(frozen=True)
class Questions:
    """What is to be looked at.

    Attributes:
        project: one project's number; None for all that the token's user may see.
        address: the URL by which Label Studio reaches this backend; "" for the one of the settings.
    """

    project: int | None = None
    address: str = ""


def examine(settings: Settings, questions: Questions, asker: Asker, deadline: Deadline) -> Iterator[Finding]:
    """Yield what is found of one project, or of all; of all only those that this backend is connected to.

    Args:
        settings: the settings in force.
        questions: which projects.
        asker: asks Label Studio.
        deadline: after it no further project is begun.
    """
    if questions.project is not None:
        yield from _one(settings, questions, asker, questions.project)
        return
    numbers = attempt("projects", lambda: _numbers(asker), CHECK_WITHIN_S)
    if isinstance(numbers, Finding):
        yield numbers
        return
    connected = 0
    for done, number in enumerate(numbers):
        if deadline.has_passed:
            yield Finding(
                "projects", "skipped", f"{len(numbers) - done} projects: no time was left", "Use --project N."
            )
            return
        findings = list(_one(settings, questions, asker, number))
        connected += findings[0].state != "skipped"
        yield from findings
    if not connected:
        said = f"this backend is connected to none of the {len(numbers)} projects that the token's user sees"
        yield Finding("projects", "warning", said, "`ovdiff doctor --project N` says of one project what is missing.")


def _numbers(asker: Asker) -> list[int]:
    """Return the numbers of the projects, the newest first.

    Raises:
        LabelStudioAPIError: Label Studio does not answer with projects.
    """
    params: dict[str, str | int] = {"page_size": MOST_PROJECTS, "ordering": "-created_at", "include": "id"}
    reply = asker.ask("/api/projects/", params)
    if not reply.is_success:
        raise LabelStudioAPIError(f"/api/projects/ answers {reply.status}. {reply.detail}".rstrip())
    return [row["id"] for row in reply.objects() if isinstance(row.get("id"), int)]


def _one(settings: Settings, questions: Questions, asker: Asker, number: int) -> Iterator[Finding]:
    """Yield what is found of a project, its connection first; no more if it is none of ours and nobody asked for it."""
    address, server = questions.address or own_address(settings.server), settings.server
    name = f"project {number}: connection"

    def look() -> tuple[Finding, str | None]:
        is_wanted = questions.project is not None
        return connection.check_connection(asker, number, address, server, is_wanted=is_wanted)

    looked = attempt(name, look, CHECK_WITHIN_S)
    found, url = (looked, None) if isinstance(looked, Finding) else looked
    yield found
    if found.state == "skipped":
        return
    if url is not None:
        there = url
        yield attempt(
            f"project {number}: webhook", lambda: connection.check_webhook(asker, number, there), CHECK_WITHIN_S
        )
    yield from _content(settings, asker, number)


def _content(settings: Settings, asker: Asker, number: int) -> Iterator[Finding]:
    """Yield what is found of a project's label config and of its images."""
    name, limit = f"project {number}: label config", settings.prediction.max_categories

    def look() -> tuple[Finding, Labelling | None]:
        return storages.check_label_config(number, asker.client.project(number).label_config, limit)

    looked = attempt(name, look, CHECK_WITHIN_S)
    found, labelling = (looked, None) if isinstance(looked, Finding) else looked
    yield found
    if labelling is None:
        return
    images, vocabulary = ImageSource(Fetcher(asker.client, settings.images)), labelling
    name = f"project {number}: images"
    samples = attempt(name, lambda: list(storages.samples(asker, number, vocabulary)), CHECK_WITHIN_S)
    if isinstance(samples, Finding):
        yield samples
        return
    if not samples:
        yield Finding(name, "skipped", "it has no task with an image that could be fetched")
    for sample in samples:
        title = f"project {number}: {sample.kind}"
        yield attempt(
            title, functools.partial(storages.check_image, images, number, sample, IMAGE_WITHIN_S), CHECK_WITHIN_S
        )
