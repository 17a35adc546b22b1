import pytest

from benchmarks.precompute_wait import measure


@pytest.mark.parametrize("building", [False, True])
def test_it_measures_either_state_of_the_bank(building: bool) -> None:
    waits = measure(2, 3, 2, building=building)
    assert 0 < waits.median_s <= waits.longest_s
