"""Prompts are taken beside a real Label Studio: every other character of the label config stays, and annotations do.

The labels are drawn by a stand-in of the method; what matters here is what Label Studio does with the edit.
"""

from pathlib import Path
from typing import Any

import pytest

from backend.demo.session import Session
from backend.pages.blueprint import add_pages
from backend.settings import LabelStudioSettings, Settings
from tests.backend.pages.taking.conftest import ABOUT, CONFIG, TAKEN
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.fixtures import MakeApp

pytestmark = pytest.mark.end_to_end


def test_prompts_are_taken_in_label_studio_and_undone(session: Session, make_app: MakeApp, tmp_path: Path) -> None:
    api, host = session.maker.api, session.label_studio
    number = api.create_project("Prompts", f"{CONFIG}\n")
    assert api.label_config(number) == CONFIG, "Label Studio keeps all but the spaces around it"
    api.call("POST", f"/api/projects/{number}/import", json=[{"image": "/nowhere.png"}])
    (task,) = api.tasks(number)
    region = {"from_name": "b", "to_name": "image", "type": "brushlabels", "original_width": 2, "original_height": 2}
    result = [{**region, "id": "a", "value": {"format": "rle", "rle": [0, 0, 0, 16, 0, 0], "brushlabels": ["red"]}}]
    predicted = {"task": task.id, "result": result, "model_version": "v1"}
    api.create_annotation(task.id, result, api.call("POST", "/api/predictions/", json=predicted)["id"])

    def stored() -> tuple[Any, Any]:
        return api.call("GET", f"/api/tasks/{task.id}/annotations/"), api.predictions(task.id)

    before = stored()
    assert [len(each) for each in before] == [1, 1]
    settings = Settings(
        data_dir=tmp_path / "data", label_studio=LabelStudioSettings(url=host.url, api_key=host.login.token)
    )
    app = make_app(settings, CuratingEngine(settings.bank_dir), add_pages=add_pages)
    uid = app.extensions["ovdiff"].label_studio.project(number).uid
    browser, about = app.test_client(), ABOUT | {"project": uid}
    browser.post("/setup", json={"project": uid, "schema": CONFIG})

    def field(path: str, name: str) -> str:
        return browser.get(path, query_string=about).text.partition(f'name="{name}" value="')[2].partition('"')[0]

    def send(path: str, **fields: str) -> int:
        return browser.post(path, data={**about, "token": field("/page/category", "token"), **fields}).status_code

    assert send("/page/category/try", prompts="red boat; ship") == 303
    assert send("/page/take", seen=field("/page/take", "seen")) == 303
    assert api.label_config(number) == TAKEN
    assert stored() == before, "annotations and predictions stay"
    assert send("/page/take/undo") == 303
    assert api.label_config(number) == CONFIG
    assert stored() == before
