"""The figures of explanations, from explanations and engines that agree or do not."""

import pytest

from benchmarks.explanations import look, summary
from tests.fakes.explanations import explanation


def test_a_difference_and_a_label_that_is_another_are_seen() -> None:
    same = look(explanation(), final=0, plain=1, maps=[0.3, 0.7, 0.6])
    other = look(explanation(), final=1, plain=0, maps=[0.3, 0.75, 0.6])
    assert (same["final"], same["before refinement"], same["changed by"]) == (True, True, ["part check"])
    assert (other["final"], other["before refinement"]) == (False, False)
    found = summary([same, same, same, other])
    assert found["largest difference"] == pytest.approx(0.05) and found["pixels"] == 4
    assert (found["same label at the end"], found["same label before refinement"]) == (0.75, 0.75)
    assert found["changed by"] == {"part check": 4}
