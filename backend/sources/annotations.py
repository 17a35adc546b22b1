"""Where an annotation is: its task and its project, as Label Studio says."""

from __future__ import annotations

from dataclasses import dataclass

from backend.errors import LabelStudioAPIError, NoSuchProjectError
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_pages import ANSWER_WITHIN_S, MOST_PAGE_BYTES


@dataclass(frozen=True)
class Place:
    """The numbers of an annotation's project and task."""

    project: int
    task: int


def place_of(client: LabelStudioClient, annotation: int) -> Place | None:
    """Return where an annotation is; None if there is none of this number, or none that the token's user may see.

    Raises:
        LabelStudioAPIError: Label Studio refused or did not answer.
    """
    path = f"/api/annotations/{annotation}/"
    try:
        body = client.get(path, answer_within_s=ANSWER_WITHIN_S, most_bytes=MOST_PAGE_BYTES).body
    except NoSuchProjectError:
        return None
    try:
        return Place(int(body["project"]), int(body["task"]))
    except (KeyError, TypeError, ValueError) as error:
        raise LabelStudioAPIError(
            f"{path} did not answer with an annotation ({error!r:.200}). This was written for Label Studio 1.23."
        ) from error
