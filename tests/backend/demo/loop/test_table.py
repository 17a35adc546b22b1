from typing import Any

from backend.demo.loop.table import advice, table


def row(touched: float) -> dict[str, float]:
    return {"miou": 0.5, "pq": 0.25, "touched": touched}


RESULTS: dict[str, Any] = {
    "protocol": {"counts": [0, 8, 16], "scenes": 24, "labels": 19},
    "ways": [{"name": "lessons", "given": "nothing"}, {"name": "head", "given": "a head"}],
    "rows": {"lessons": {"0": row(2.0), "8": row(1.5), "16": row(1.5)}, "head": {"8": row(3.0), "16": row(1.0)}},
}


def test_the_fewest_regions_to_touch_are_bold_and_what_was_not_measured_is_empty() -> None:
    lines = table(RESULTS).splitlines()
    assert lines[:5] == [
        "| corrected tasks | lessons | head |",
        "| --: | --- | --- |",
        "| 0 | 0.50, 0.25, **2.0** |  |",
        "| 8 | 0.50, 0.25, **1.5** | 0.50, 0.25, 3.0 |",
        "| 16 | 0.50, 0.25, 1.5 | 0.50, 0.25, **1.0** |",
    ]
    assert "lessons: nothing; head: a head" in lines[-1] and "24 crowded drawn scenes" in lines[-1]


def test_the_advice_follows_the_figures() -> None:
    said = advice(RESULTS)
    assert said == "Fewest regions to touch, by the number of corrected tasks: lessons after 0 to 8; head after 16."
