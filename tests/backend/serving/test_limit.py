import pytest

from backend.errors import BusyError
from backend.serving.limit import Limit


def test_further_requests_are_turned_away_until_one_leaves() -> None:
    limit = Limit(2, "clicks")
    with limit:
        with limit:
            assert limit.in_use == 2
            with pytest.raises(BusyError, match=r"2 clicks are being answered .*OVDIFF_THREADS"), limit:
                pytest.fail("it is full")
            assert limit.in_use == 2, "who was turned away takes nobody's place along"
        with limit:
            pass
    assert limit.in_use == 0
