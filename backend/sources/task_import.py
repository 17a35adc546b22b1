"""New tasks of a project, with their predictions, and the addresses of the images that its tasks have already.

Label Studio 1.23.2 takes a task as often as it is sent, and its import answers with counts. Enterprise answers before
the tasks are there. So whoever imports looks afterwards which tasks are there.

Tested by tests/backend/command/test_prelabel_manifest.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_pages import Wanted, read_task_pages

IMPORT_WITHIN_S = 180.0  # Label Studio 1.23.2 updates the counts of the whole project before it answers


@dataclass(frozen=True)
class TaskImport:
    """The tasks of one project, by their images.

    Attributes:
        client: asks Label Studio.
        project: the number of the project.
        image_name: the name of the image in the data of a task.
    """

    client: LabelStudioClient
    project: int
    image_name: str

    def pages(self, after: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the images' addresses of the tasks behind an id, a page at a time, with the page's last id.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        for page in read_task_pages(self.client, self.project, Wanted(after=after, whole=False)):
            data = [task.get("data") for task in page.tasks]
            found = [each.get(self.image_name) for each in data if isinstance(each, Mapping)]
            yield int(page.tasks[-1]["id"]), [address for address in found if isinstance(address, str)]

    def add(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Import tasks, each with its `data` and `predictions`: all of them or none.

        Raises:
            LabelStudioRefusedError: Label Studio took none of them, because of one that it does not take.
            LabelStudioAPIError: Label Studio refused or did not answer. It may have taken them all the same.
        """
        self.client.post(f"/api/projects/{self.project}/import", list(tasks), answer_within_s=IMPORT_WITHIN_S)
