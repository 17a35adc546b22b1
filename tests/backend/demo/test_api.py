import json
from pathlib import Path

import pytest

from backend.demo.api import LabelStudioApi, StoredTask
from backend.demo.errors import ApiError
from tests.fakes.scripted_server import ScriptedServer

_URL = "http://127.0.0.1:9090"


@pytest.fixture
def api(server: ScriptedServer) -> LabelStudioApi:
    return LabelStudioApi(server.url, "the token")


def _lines(server: ScriptedServer) -> list[str]:
    return [request.line for request in server.requests]


def test_the_token_is_sent_and_the_environment_has_no_say(
    server: ScriptedServer, api: LabelStudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.answers["GET /api/current-user/whoami"] = 200, {"email": "a@example.com"}
    assert api.whoami() == "a@example.com"
    assert server.requests[0].headers["Authorization"] == "Token the token"


def test_a_refusal_shows_what_label_studio_says(server: ScriptedServer, api: LabelStudioApi) -> None:
    server.answers["POST /api/projects"] = 400, {"detail": "title is too short"}
    with pytest.raises(ApiError, match=r"POST /api/projects: Label Studio answers 400: .*title is too short"):
        api.create_project("x", "<View/>")


def test_an_answer_that_is_not_json_is_shown(server: ScriptedServer, api: LabelStudioApi) -> None:
    server.answers["GET /api/current-user/whoami"] = 200, b"<html>"
    with pytest.raises(ApiError, match="not JSON: '<html>'"):
        api.whoami()


def test_a_label_studio_that_is_gone_is_named() -> None:
    with pytest.raises(ApiError, match=r"GET /api/current-user/whoami: Label Studio does not answer"):
        LabelStudioApi("http://127.0.0.1:1", "t").whoami()


def test_the_newest_project_of_a_title_is_found(server: ScriptedServer, api: LabelStudioApi) -> None:
    projects = [{"id": 3, "title": "a"}, {"id": 7, "title": "a"}, {"id": 9, "title": "b"}]
    server.answers["GET /api/projects"] = 200, {"results": projects}
    assert api.find_project("a") == 7
    assert api.find_project("c") is None


def test_each_image_is_uploaded_under_a_field_of_its_own(
    server: ScriptedServer, api: LabelStudioApi, tmp_path: Path
) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(path.name.encode())
    server.answers["POST /api/projects/5/import"] = 201, {"task_count": 2}
    api.upload_images(5, paths)
    body = server.requests[0].body
    assert body.count(b'name="file0"; filename="a.png"') == 1
    assert body.count(b'name="file1"; filename="b.png"') == 1


def test_lost_uploads_are_noticed(server: ScriptedServer, api: LabelStudioApi, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    server.answers["POST /api/projects/5/import"] = 201, {"task_count": 0}
    with pytest.raises(ApiError, match="1 images were uploaded, but Label Studio made 0 tasks"):
        api.upload_images(5, [tmp_path / "a.png"])


def test_tasks_come_in_order_with_the_names_they_were_uploaded_under(
    server: ScriptedServer, api: LabelStudioApi
) -> None:
    images = {9: "/data/upload/1/0123abcd-b-1.png", 4: "/data/upload/1/89abcdef-a.png"}
    tasks = [{"id": number, "data": {"image": image}} for number, image in images.items()]
    server.answers["GET /api/tasks"] = 200, {"tasks": tasks}
    assert api.tasks(1) == [StoredTask(4, "a.png", images[4]), StoredTask(9, "b-1.png", images[9])]


def test_a_connected_backend_is_left_alone(server: ScriptedServer, api: LabelStudioApi) -> None:
    record = {"id": 1, "title": "OVDiff", "url": _URL, "state": "CO"}
    server.answers["GET /api/ml"] = 200, [record]
    assert api.connect_backend(5, _URL, "OVDiff") == record
    assert _lines(server) == ["GET /api/ml?project=5"]


def test_a_moved_backend_is_connected_anew_without_its_old_webhook(server: ScriptedServer, api: LabelStudioApi) -> None:
    old = {"id": 1, "title": "OVDiff", "url": "http://127.0.0.1:1", "state": "DI"}
    server.answers |= {
        "GET /api/ml": (200, [old]),
        "GET /api/webhooks/": (200, [{"id": 8}]),
        "DELETE /api/ml/1": (204, b""),
        "DELETE /api/webhooks/8/": (204, b""),
        "POST /api/ml": (201, {"id": 2}),
    }
    assert api.connect_backend(5, _URL, "OVDiff") == {"id": 2}
    assert {"DELETE /api/ml/1", "DELETE /api/webhooks/8/"} < set(_lines(server))
    assert json.loads(server.requests[-1].body) == {"url": _URL, "project": 5, "title": "OVDiff"}


def test_predictions_are_retrieved_for_the_given_tasks_alone(server: ScriptedServer, api: LabelStudioApi) -> None:
    server.answers["POST /api/dm/actions"] = 200, {}
    api.retrieve_predictions(5, [3, 4])
    assert _lines(server) == ["POST /api/dm/actions?id=retrieve_tasks_predictions&project=5"]
    assert json.loads(server.requests[0].body) == {"selectedItems": {"all": False, "included": [3, 4]}}


def test_predictions_come_oldest_first(server: ScriptedServer, api: LabelStudioApi) -> None:
    server.answers["GET /api/predictions"] = 200, [{"id": 12}, {"id": 11}]
    assert [prediction["id"] for prediction in api.predictions(3)] == [11, 12]


def test_opening_a_task_says_how_many_predictions_are_shown(server: ScriptedServer, api: LabelStudioApi) -> None:
    server.answers["GET /api/tasks/3"] = 200, {"id": 3, "predictions": [{"id": 11}, {"id": 12}]}
    assert api.open_task(5, 3) == 2
    assert _lines(server) == ["GET /api/tasks/3?project=5"]


def test_a_backend_is_made_interactive_and_stays_what_it_was(server: ScriptedServer, api: LabelStudioApi) -> None:
    record = {"id": 8, "title": "OVDiff", "url": _URL, "project": 5, "state": "CO"}
    server.answers |= {"GET /api/ml": (200, [record]), "PATCH /api/ml/8": (200, {})}
    api.make_interactive(5)
    sent = json.loads(server.requests[-1].body)
    assert sent == {"title": "OVDiff", "url": _URL, "project": 5, "is_interactive": True}


def test_a_click_is_answered_with_regions_or_an_error(server: ScriptedServer, api: LabelStudioApi) -> None:
    server.answers |= {
        "GET /api/ml": (200, [{"id": 8}]),
        "POST /api/ml/8/interactive-annotating": (200, {"data": {"result": [{"id": "a"}]}}),
    }
    assert api.click(5, 3, {"type": "keypointlabels"}) == [{"id": "a"}]
    assert json.loads(server.requests[-1].body) == {"task": 3, "context": {"result": [{"type": "keypointlabels"}]}}
    server.answers["POST /api/ml/8/interactive-annotating"] = 200, {"errors": ["not interactive"]}
    with pytest.raises(ApiError, match=r"gave no mask for a click on task 3: .*not interactive"):
        api.click(5, 3, {})
