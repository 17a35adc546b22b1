"""Links from a report into Label Studio: the page of a task, in the project's Data Manager."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from converters.errors import EvaluationError


@dataclass(frozen=True)
class LabelStudioPages:
    """Where Label Studio is; the project is needed only where the export does not name it.

    Raises:
        EvaluationError: the address is none that a browser could open.
    """

    url: str
    project: int | None = None

    def __post_init__(self) -> None:
        """Refuse anything but an http(s) address: it becomes a link that people click."""
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_address = False
        if not is_address:
            raise EvaluationError(
                f"expected the address of Label Studio, such as http://localhost:8080, got {self.url!r:.100}"
            )

    def task(self, task_id: int | str | None, project: int | None = None) -> str | None:
        """Return the address of a task's page, None if its number or its project is not known.

        Args:
            task_id: the number of the task.
            project: the number of the project as the export says it; the project of this object wins.
        """
        number = project if self.project is None else self.project
        if not isinstance(task_id, int) or number is None:
            return None
        return f"{self.url.rstrip('/')}/projects/{number}/data?task={task_id}"
