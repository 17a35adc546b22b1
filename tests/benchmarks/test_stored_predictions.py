from backend.serving.vocabulary import read_labelling
from backend.sources.upload_addresses import is_upload
from backend.sources.web_url import WebUrl
from benchmarks.service_memory import CONFIG, SIZES_WH, size_of
from benchmarks.stored_predictions import CLICKS_TOO, Answers, by_tenths, percentile, small, table, upload


def test_the_percentile_is_one_of_the_numbers() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert (percentile(ordered, 0.95), percentile(ordered, 0.5), percentile([7.0], 0.95)) == (95.0, 50.0, 7.0)


def test_the_tasks_are_of_small_images_alone() -> None:
    numbers = small(50)
    assert len(set(numbers)) == 50 and {size_of(number) for number in numbers} == {SIZES_WH[0]}


def test_what_was_not_answered_is_counted() -> None:
    answers = Answers()
    assert answers.summary()["p95_s"] is None
    for seconds in (0.1, 0.2, 0.3):
        answers.note(seconds, good=seconds < 0.25)
    assert answers.summary() == {"requests": 3, "without_a_result": 1, "p50_s": 0.2, "p95_s": 0.3}


def test_the_images_have_addresses_of_uploads_each_its_own() -> None:
    numbers = [*small(300), 20 * 1_795_200_099]
    assert len({upload(number) for number in numbers}) == 301
    assert all(is_upload(WebUrl.parse(f"http://ls{upload(number)}")) for number in numbers)


def test_the_tool_for_clicks_changes_no_prediction() -> None:
    """Otherwise a click would be on an image that was not looked at with these words."""
    assert read_labelling(CLICKS_TOO, max_categories=9) == read_labelling(CONFIG, max_categories=9)


def test_memory_is_told_by_tenths() -> None:
    assert by_tenths([float(mib) for mib in range(1000, 1100)]) == list(range(1009, 1100, 10))
    assert by_tenths([1.0, 3.0, 2.0]) == [1, 3, 2]


def test_the_table_has_all_three_and_what_else_ran() -> None:
    figures = {"clients": 8, "requests": 1234, "without_a_result": 0, "p50_s": 0.0134, "p95_s": 3.94}
    results = {
        "minutes": 10.0,
        "stored": figures | {"clients": 50},
        "new": figures,
        "clicks": figures | {"clients": 1, "labels_built_meanwhile": 6},
        "mib_by_tenths": [1500, 1510],
        "machine": "2 cores",
        "load_average": [1.5, 2.0, 3.25],
    }
    text = table(results)
    assert "| a stored prediction, every 5 s | 50 | 1,234 | 0 | 13 ms | 3.9 s |" in text
    assert "tenth of the run: 1,500, 1,510 MiB." in text and "6 labels were built" in text
    assert "*10 minutes, the embedded models on 2 cores; load average 1.5, 2, 3.25" in text
