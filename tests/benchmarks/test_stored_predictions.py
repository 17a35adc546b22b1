from benchmarks.service_memory import SIZES_WH, size_of
from benchmarks.stored_predictions import Answers, percentile, small


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
