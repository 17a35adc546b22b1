"""The page of a task beside a real Label Studio: it gives the task, is asked for nothing else, and stores nothing."""

import re
from pathlib import Path

import pytest
import requests

from backend.demo.project import DemoScene, write_images
from backend.demo.session import Session

pytestmark = pytest.mark.end_to_end

_CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">'
    '<Label value="balloon" background="#FF8800"/></BrushLabels></View>'
)


def test_a_task_of_label_studio_is_shown_and_nothing_is_stored_there(session: Session, tmp_path: Path) -> None:
    maker, url = session.maker, session.backend.url
    scenes = [DemoScene(111, things=1), DemoScene(112, things=1)]
    project = maker.ensure_project("Looked at", _CONFIG, write_images(scenes, tmp_path, 256))
    # With this setting Label Studio evaluates predictions of the tasks that a list shows, by asking this backend.
    maker.api.call("PATCH", f"/api/projects/{project}", json={"evaluate_predictions_automatically": True})
    maker.connect(project)
    session.backend.wait_for_prototypes(project, maker.console)
    listed = requests.get(f"{url}/page/projects/{project}/tasks", timeout=60)
    assert listed.status_code == 200, listed.text
    numbers = [int(number) for number in re.findall(rf"/page/projects/{project}/tasks/(\d+)", listed.text)]
    assert len(numbers) == 2
    page = requests.get(f"{url}/page/projects/{project}/tasks/{numbers[0]}?x=128&y=128", timeout=120)
    assert page.status_code == 200, page.text
    assert "What was found" in page.text
    assert "Winner by votes" in page.text
    assert "#ff8800" in page.text
    missing = requests.get(f"{url}/page/projects/{project}/tasks/{max(numbers) + 1000}", timeout=60)
    assert missing.status_code == 404
    assert all(maker.api.predictions(number) == [] for number in numbers), "looking stores nothing"
    asked = re.search(rf"Project {project}\.\d+: \d+ tasks? asked for", session.backend.log())
    assert asked is None, "and Label Studio was not led to ask for predictions"
