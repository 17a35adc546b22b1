"""Checks of how requests are answered, on a project of its own: tasks opened too early and twice at once, many tasks
at once, and clicks.

As in :mod:`backend.demo.checks` only what Label Studio stored counts.
"""

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from backend.demo.api import StoredTask
from backend.demo.checks import NO_PROTOTYPES, Demo
from backend.demo.errors import CheckError
from backend.demo.project import IMAGE_TAG, DemoScene, demo_labels, label_config, write_images
from converters.encodings.brush import brush_rle_to_mask

TITLE = "OVDiff demo: answers"
NEW_LABEL = "blue ball"
TASK_COUNT = 60
MOST_CLICKS = 5
_OLD_LABELS = 3
_SIZE_PX = 128
_LOG_LINE = re.compile(r"Project (\d+)\.\d+: \d+ tasks? asked for, (\d+) answered, ")


def check_answers(demo: Demo) -> None:
    """Check that each of many tasks has exactly one prediction with all labels, whatever the order of requests."""
    maker = demo.session.maker
    labels = [*demo_labels()[:_OLD_LABELS], NEW_LABEL]
    scenes = [DemoScene(number, things=1) for number in range(TASK_COUNT)]
    images = write_images(scenes, demo.folder / "answers", _SIZE_PX)
    project = maker.ensure_project(TITLE, label_config(labels), images)
    tasks = maker.api.tasks(project)
    maker.connect(project)
    _check_opened_too_early(demo, project, tasks[0])
    _check_deep_link(demo, project, tasks[1])
    _check_retrieve(demo, project, tasks)
    _check_clicks(demo, project, tasks)


def _check_opened_too_early(demo: Demo, project: int, task: StoredTask) -> None:
    api, early, at_once = demo.session.maker.api, "predictions of a task opened too early", "predictions of it at once"
    shown = api.open_task(project, task.id)
    if demo.abilities.makes_prototypes:
        demo.report.add(early, 0, shown)
        demo.report.leave_out(at_once, "prototypes come first")
    else:
        demo.report.leave_out(early, NO_PROTOTYPES)
        demo.report.add(at_once, 1, shown)
    demo.session.backend.wait_for_prototypes(project, demo.session.maker.console)
    demo.report.add("predictions when it is opened again", 1, api.open_task(project, task.id))


def _check_deep_link(demo: Demo, project: int, task: StoredTask) -> None:
    """Open a task twice at the same time: a browser that follows a link to a task does that."""
    api = demo.session.maker.api
    with ThreadPoolExecutor(2) as pool:
        shown = list(pool.map(lambda _: api.open_task(project, task.id), range(2)))
    demo.report.add("predictions shown to two who open a task at once", [1, 1], shown)
    demo.report.add("predictions stored of it", 1, len(api.predictions(task.id)))


def _check_retrieve(demo: Demo, project: int, tasks: Sequence[StoredTask]) -> None:
    api, version, clicks = demo.session.maker.api, demo.model_version(project), 0
    while clicks < MOST_CLICKS and not all(api.predictions(task.id) for task in tasks):
        api.retrieve_predictions(project, [task.id for task in tasks])
        clicks += 1
    stored = [[prediction["model_version"] for prediction in api.predictions(task.id)] for task in tasks]
    demo.report.add(f"tasks of {TASK_COUNT} with one prediction of all labels", TASK_COUNT, stored.count([version]))
    demo.report.add("clicks on Retrieve predictions for them", "told", clicks, True)
    lines = _LOG_LINE.findall(demo.session.backend.log())
    answered = sum(int(count) for number, count in lines if int(number) == project)
    demo.report.add("tasks answered, by the backend's log", sum(map(len, stored)), answered)


def _check_clicks(demo: Demo, project: int, tasks: Sequence[StoredTask]) -> None:
    """Click twice on the same place of the first task that has a mask, in this mask; images without a label have none.

    Raises:
        CheckError: no task has a mask.
    """
    api = demo.session.maker.api
    api.make_interactive(project)
    painted = ((task, region) for task in tasks for item in api.predictions(task.id) for region in item["result"])
    found = next(painted, None)
    if found is None:
        raise CheckError(f"None of the {len(tasks)} tasks of project {project} has a mask to click in.")
    task, prompt = found[0], _click_in(found[1])
    answers, seconds = [], []
    for _ in range(2):
        begun = time.monotonic()
        answers.append(api.click(project, task.id, prompt))
        seconds.append(time.monotonic() - begun)
    demo.report.add("masks for a click in a mask, and once more", [1, 1], list(map(len, answers)))
    demo.report.add("the same mask both times", True, answers[0] == answers[1])
    demo.report.add("seconds of the two clicks", "told", ", ".join(f"{each:.2f}" for each in seconds), True)


def _click_in(region: Mapping[str, Any]) -> dict[str, Any]:
    """Return a click, with the label of a brush region, on a pixel of this region."""
    height, width = region["original_height"], region["original_width"]
    row, column = np.argwhere(brush_rle_to_mask(region["value"]["rle"], (height, width)))[0]
    place = {"x": 100 * (column + 0.5) / width, "y": 100 * (row + 0.5) / height, "width": 0.2}
    value = place | {"keypointlabels": region["value"]["brushlabels"]}
    return {"type": "keypointlabels", "from_name": "click", "to_name": IMAGE_TAG, "origin": "manual", "value": value}
