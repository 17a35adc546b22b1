import pytest

from backend.errors import UsageError
from backend.sources.task_filter import ALL_TASKS, TaskFilter, has_version, to_filter, with_ids, within


def condition(value: int, **more: object) -> dict[str, object]:
    return {"filter": "filter:tasks:id", "operator": "less", "type": "Number", "value": value, **more}


BEHIND_7 = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": 7}


def items(only: TaskFilter) -> object:
    return only.query()["filters"]["items"]


def test_a_condition_is_added_to_and() -> None:
    for only in (to_filter({"items": [condition(1)]}), to_filter({"conjunction": "and", "items": [condition(1)]})):
        assert items(only.after(7)) == [condition(1), BEHIND_7]
    assert items(ALL_TASKS.after(7)) == [BEHIND_7]
    assert items(within(3, 9).after(7))[1] == BEHIND_7  # type: ignore[index]


def test_a_condition_holds_besides_each_part_of_or() -> None:
    only = to_filter({"conjunction": "or", "items": [condition(1), condition(2)]}).after(7)
    assert only.query()["filters"]["conjunction"] == "or"
    assert items(only) == [condition(1, child_filter=BEHIND_7), condition(2, child_filter=BEHIND_7)]
    with pytest.raises(UsageError, match='Join them by "and", or name the tasks by their ids'):
        only.after(8)


def test_an_empty_or_means_all_tasks() -> None:
    for found in (None, {}, {"conjunction": "or", "items": []}):
        query = to_filter(found).after(7).query()
        assert (query["filters"], query["ordering"]) == ({"conjunction": "and", "items": [BEHIND_7]}, ["tasks:id"])


def test_ids_and_versions_are_asked_for_together() -> None:
    query = with_ids([3, 4]).besides(has_version("v1")).query()
    assert query["selectedItems"] == {"all": False, "included": [3, 4]}
    assert query["filters"]["items"][0]["value"] == ["v1"]
    assert "selectedItems" not in ALL_TASKS.query()


@pytest.mark.parametrize("found", [1, "x", {"items": 1}, {"items": [{"filter": "x"}]}, {"conjunction": 1, "items": []}])
def test_what_is_no_filter_is_named(found: object) -> None:
    with pytest.raises(UsageError, match=r"no (filter|conditions).* Expected .*conjunction"):
        to_filter(found)
