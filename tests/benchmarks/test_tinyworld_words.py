from dataclasses import replace

from benchmarks.tinyworld_words import summary, table
from ovdiff.bank.judgement import Judgement

KNOWN = Judgement(8, 7, 0.12, "mug", 1, 0.8, "")


def test_known_and_unknown_words_are_counted_apart() -> None:
    doubtful = replace(KNOWN, agreeing=2, rival_images=6)
    rows = {"ball": {"42": KNOWN, "43": doubtful}, "crab": {"42": doubtful}, "gnu": {"42": KNOWN}}
    found = summary(rows)
    assert found["known"] == {"judged": 2, "doubtful": 1, "lowest": 0.25, "highest": 0.875}
    assert found["unknown"] == {"judged": 1, "doubtful": 1, "lowest": 0.25, "highest": 0.25}
    lines = table(rows, [42, 43]).splitlines()
    assert lines[3] == "| crab | 2/8 doubtful (+0.12, 'mug') |  |"
