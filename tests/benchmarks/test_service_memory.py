"""The parts of the memory benchmark that need no service: its images, and what it says of its samples."""

import io
from collections import Counter

from PIL import Image

from benchmarks.service_memory import KINDS, SIZES_WH, picture, size_of, summary


def test_images_have_mixed_sizes_and_no_two_are_alike() -> None:
    assert Counter(map(size_of, range(KINDS))) == dict(zip(SIZES_WH, (17, 2, 1), strict=True))
    assert picture(0) != picture(12)  # of the same scene
    assert Image.open(io.BytesIO(picture(6))).size == SIZES_WH[1]


def test_the_summary_keeps_the_highest_of_each_part() -> None:
    done = [(number, 1.0 + number, number != 3) for number in range(40)]
    samples = [(0, 100.0), (1, 150.0), (2, 120.0), (39, 300.0)]
    found = summary(done, samples, start_mib=90.0, end_mib=200.0)
    assert (found["predictions"], found["without_a_result"]) == (40, 1)
    assert (found["start_mib"], found["highest_mib"], found["end_mib"]) == (90, 300, 200)
    assert {count: mib for count, mib in found["mib_by_predictions"].items() if mib} == {0: 150, 2: 120, 38: 300}
    assert found["median_seconds_by_size"]["3464x3464"] == 30.0
