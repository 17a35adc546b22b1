from backend.pages.searches.next_tasks import find_next_tasks
from backend.pages.searches.task_search import TaskSearch
from backend.serving.service import Service
from tests.backend.pages.searches.conftest import AddTask
from tests.fakes.searching_engine import BROKEN, TAUGHT, SearchingEngine


def test_open_tasks_come_in_the_order_of_what_they_teach_with_reasons(
    service: Service, engine: SearchingEngine, add_task: AddTask
) -> None:
    add_task(1, (0, 20))
    add_task(2, (0, 200))
    add_task(3, (TAUGHT, 250))
    add_task(4, (0, 120), annotations=1)
    add_task(5, (BROKEN, 0))
    search = TaskSearch(service.looking, service.looking.project(1), only_open=True)
    rows = find_next_tasks(search, engine)
    assert [row.task.id for row in rows] == [2, 1], "the one that the method doubts most comes first"
    assert rows[0].why == ("unsure of red/blue", "nobody has confirmed red")
    assert rows[0].words == ("red",)
    assert (search.looked, search.passed, search.failed) == (2, 2, 1)


def test_without_open_tasks_there_is_none(service: Service, engine: SearchingEngine) -> None:
    search = TaskSearch(service.looking, service.looking.project(1), only_open=True)
    assert find_next_tasks(search, engine) == ()
