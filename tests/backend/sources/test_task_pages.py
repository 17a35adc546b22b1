import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backend.errors import LabelStudioAPIError, LabelStudioSlowError
from backend.settings import LabelStudioSettings
from backend.sources import task_pages
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_pages import read_task_pages
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio
from tests.fakes.scripted_server import scripted_server


def task(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": f"s3://bucket/{number}.png"}, "annotations": [], "predictions": [], **more}


def client(url: str) -> LabelStudioClient:
    return LabelStudioClient(LabelStudioSettings(url=url, api_key=LEGACY_TOKEN))


def asked_sizes(fake: FakeLabelStudio) -> list[int]:
    queries = [parse_qs(urlsplit(path).query) for path in fake.paths() if path.startswith("/api/tasks?")]
    return [int(query["page_size"][0]) for query in queries]


def test_all_tasks_come_in_order_and_pages_grow_while_they_are_small(label_studio: FakeLabelStudio) -> None:
    label_studio.tasks = [task(number) for number in range(3, 103)]
    pages = list(read_task_pages(client(label_studio.url), 1))
    assert [t["id"] for page in pages for t in page.tasks] == list(range(3, 103))
    assert [page.left for page in pages] == [90, 70, 30, 0]
    assert asked_sizes(label_studio) == [10, 20, 40, 80]


def test_large_pages_shrink(label_studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_pages, "SMALL_PAGE_BYTES", 1_000)
    monkeypatch.setattr(task_pages, "LARGE_PAGE_BYTES", 2_000)
    label_studio.tasks = [task(number, annotations=[{"result": "x" * 1_500}]) for number in range(1, 21)]
    assert [len(page.tasks) for page in read_task_pages(client(label_studio.url), 1)] == [10, 5, 2, 1, 1, 1]


def test_a_task_that_is_deleted_meanwhile_hides_no_other(label_studio: FakeLabelStudio) -> None:
    label_studio.tasks = [task(number) for number in range(1, 31)]
    seen = []
    for page in read_task_pages(client(label_studio.url), 1):
        seen += [t["id"] for t in page.tasks]
        label_studio.tasks = [t for t in label_studio.tasks if t["id"] != 1]
    assert seen == list(range(1, 31))


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_page_that_fails_is_asked_for_in_smaller_pages_from_then_on(
    label_studio: FakeLabelStudio, status: int
) -> None:
    label_studio.tasks = [task(number) for number in range(1, 7)]
    label_studio.task_faults = [status]
    assert [len(page.tasks) for page in read_task_pages(client(label_studio.url), 1)] == [2, 2, 2]
    assert asked_sizes(label_studio) == [10, 2, 2, 2]


def test_a_single_task_that_fails_ends_it(label_studio: FakeLabelStudio) -> None:
    label_studio.task_faults = [500] * 3
    with pytest.raises(LabelStudioSlowError, match=r"answered 500 at .*/api/tasks\.$"):
        list(read_task_pages(client(label_studio.url), 1))
    assert asked_sizes(label_studio) == [10, 2, 1]


def test_addresses_are_not_signed_and_drafts_and_table_cells_left_out(label_studio: FakeLabelStudio) -> None:
    label_studio.tasks = [task(1, drafts=[{}], annotations_results="[{", predictions_results="[{", meta={"a": 1})]
    (page,) = read_task_pages(client(label_studio.url), 1)
    assert page.tasks == (task(1, meta={"a": 1}),)
    query = parse_qs(urlsplit(label_studio.paths()[-1]).query)
    assert (query["resolve_uri"], query["fields"], query["project"]) == (["false"], ["all"], ["1"])


def test_a_project_without_tasks_has_no_page(label_studio: FakeLabelStudio) -> None:
    assert list(read_task_pages(client(label_studio.url), 1)) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"results": []}, "did not answer with a page of tasks (KeyError('tasks'))"),
        ({"tasks": [{}], "total": 1}, "did not answer with a page of tasks (KeyError('id'))"),
        ({"tasks": [{"id": 4}, {"id": 4}], "total": 2}, "the tasks after 0 in order, and answered with [4, 4]"),
    ],
)
def test_an_answer_that_is_no_page_is_an_error(body: object, message: str) -> None:
    with scripted_server() as server:
        server.answers["GET /api/tasks"] = (200, json.dumps(body).encode())
        with pytest.raises(LabelStudioAPIError, match=re.escape(message)):
            list(read_task_pages(client(server.url), 1))


def test_a_server_that_ignores_the_filter_is_not_asked_for_ever() -> None:
    with scripted_server() as server:
        server.answers["GET /api/tasks"] = (200, {"tasks": [task(1)], "total": 5})
        with pytest.raises(LabelStudioAPIError, match="after 1 in order"):
            list(read_task_pages(client(server.url), 1))
