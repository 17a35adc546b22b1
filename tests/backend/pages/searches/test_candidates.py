import pytest

from backend.pages.searches import candidates
from backend.pages.searches.candidates import find_candidates
from backend.pages.searches.task_search import TaskSearch
from backend.serving.service import Service
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.label_tag import label_line
from tests.backend.pages.searches.conftest import AddTask
from tests.fakes.searching_engine import SearchingEngine


@pytest.fixture
def search(service: Service, add_task: AddTask) -> TaskSearch:
    for number, green in ((1, 0), (2, 200), (3, 0)):
        add_task(number, (0, green), annotations=number % 2)
    return TaskSearch(service.looking, service.looking.project(1), only_open=False)


def test_regions_that_look_alike_are_a_candidate_with_crops_and_a_line(
    search: TaskSearch, engine: SearchingEngine
) -> None:
    first, second = find_candidates(search, engine)
    assert (first.word, round(first.share, 2), first.others[0][0]) == ('snow "man"', 0.9, "cup")
    assert (first.tasks, first.regions) == (3, 3)
    assert [crop.task for crop in first.crops] == [1, 2, 3], "annotated tasks are looked at too"
    assert max(first.crops[0].picture.size) == candidates.CROP_PX
    assert (second.word, second.tasks, second.crops[0].task) == ("cup", 1, 2)


def test_so_many_crops_are_kept_those_of_the_most_novel_regions(
    search: TaskSearch, engine: SearchingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "MOST_CROPS", 2)
    first, second = find_candidates(search, engine)
    assert (len(first.crops), first.regions) == (2, 3)
    assert second.crops == (), "less novel than the others"


@pytest.mark.parametrize("word", ["boat", 'snow "man"', "a<b>&c", "it's"])
def test_the_line_is_read_by_the_label_config(word: str) -> None:
    text = f'<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i">{label_line(word)}</BrushLabels></View>'
    (control,) = parse_label_config(text).controls
    assert [label.value for label in control.labels] == [word]
