"""Tasks that failed and were deleted in Label Studio since: nobody asks for them again, so nobody else clears them.

An event that tasks were deleted has the project read from Label Studio, and so are the tasks that are noted here.
"""

from __future__ import annotations

import logging

from backend.errors import LabelStudioAPIError
from backend.serving.predicting.failures import Failures
from backend.serving.projects import id_of
from backend.sources.label_studio import LabelStudioClient
from backend.sources.stored_predictions import in_requests
from backend.sources.task_filter import with_ids
from backend.sources.task_pages import Wanted, read_task_pages

logger = logging.getLogger(__name__)


def clear_deleted(label_studio: LabelStudioClient, project: str, failures: Failures) -> None:
    """Clear the failures of a project's tasks that Label Studio does not have; ask nothing if there are none.

    An error is logged: the next read of the project looks again.
    """
    number, failed = id_of(project), failures.tasks(project)
    if number is None or not failed:
        return
    try:
        for some in in_requests(failed):
            pages = read_task_pages(label_studio, number, Wanted(with_ids(some), whole=False))
            there = {int(task["id"]) for page in pages for task in page.tasks}
            for task in set(some) - there:
                logger.info("Project %s, task %s: it failed, and was deleted since.", project, task)
                failures.clear(project, task)
    except LabelStudioAPIError as error:
        logger.warning("Project %s: whether tasks that failed were deleted is not known: %s", project, error)
