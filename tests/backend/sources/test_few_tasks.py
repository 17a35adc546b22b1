from urllib.parse import parse_qs, urlsplit

import pytest

from backend.errors import LabelStudioAPIError, NoSuchTaskError
from backend.settings import LabelStudioSettings
from backend.sources.few_tasks import MOST_ID, BareTask, one_task, tasks_after
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio
from tests.fakes.scripted_server import scripted_server


def client(url: str) -> LabelStudioClient:
    return LabelStudioClient(LabelStudioSettings(url=url, api_key=LEGACY_TOKEN))


@pytest.fixture
def some(label_studio: FakeLabelStudio) -> LabelStudioClient:
    label_studio.tasks = [{"id": n, "data": {"image": f"/{n}.png"}, "total_annotations": n % 2} for n in (3, 5, 9)]
    return client(label_studio.url)


def test_the_next_tasks_come_in_order_and_the_rest_is_counted(some: LabelStudioClient) -> None:
    found = tasks_after(some, 1, 3, 1)
    assert found.tasks == (BareTask(5, {"image": "/5.png"}, 1),)
    assert found.left == 1
    assert [task.id for task in tasks_after(some, 1, 0, 10).tasks] == [3, 5, 9]


def test_label_studio_is_not_led_to_ask_us_for_predictions(
    some: LabelStudioClient, label_studio: FakeLabelStudio
) -> None:
    """Without review=true Label Studio 1.23.2 may evaluate predictions, so ask this service, which waits for it."""
    one_task(some, 1, 5)
    query = parse_qs(urlsplit(label_studio.paths()[-1]).query)
    assert query["review"] == ["true"]
    assert query["resolve_uri"] == ["false"], "addresses as they were imported, not links that expire"
    assert query["page_size"] == ["1"]


@pytest.mark.parametrize("number", [4, 10, 0, -1, MOST_ID + 1])
def test_a_task_that_is_not_there_is_said_to_be_missing(some: LabelStudioClient, number: int) -> None:
    with pytest.raises(NoSuchTaskError, match=rf"Project 1 has no task {number}, .*behind \?task="):
        one_task(some, 1, number)


@pytest.mark.parametrize(
    "answer", [{"total": 1}, {"tasks": [{"id": 1}], "total": 1}, {"tasks": 7, "total": 1}, {"tasks": [[]], "total": 1},
               {"tasks": [{"id": 1, "data": "x"}], "total": 1}, {"tasks": [{"id": "x", "data": {}}], "total": 1}]
)  # fmt: skip
def test_an_answer_without_tasks_is_refused(answer: object) -> None:
    with scripted_server() as server, pytest.raises(LabelStudioAPIError, match="did not answer with tasks"):
        server.answers["GET /api/tasks"] = 200, answer
        tasks_after(client(server.url), 1, 0, 5)
