from pathlib import Path

import numpy as np
import pytest
from PIL import ImageChops

from benchmarks.drawn_world import Bench, encode_crowded, vary
from benchmarks.learning_curve import Pupil, Row, costs, curve, draw_curve, orders_table, regions_of, table
from ovdiff import load_preset


def _row(miou: float, label_s: float = 0.1) -> Row:
    few = {"iou of the present": 0.7, "absent painted": 0.01}
    return {
        "miou": {"all": miou, "things": miou - 0.1},
        "few": few,
        "label_s": label_s,
        "lesson_s": 0.2,
        "fit_s": 0.4,
        "regions": 10,
    }


ROWS = {
    "42": {"0": _row(0.5), "8": _row(0.7, 0.12)},
    "43": {"0": _row(0.6), "8": _row(0.65, 0.12)},
}


def test_the_table_tells_means_and_the_smallest_gain() -> None:
    lines = table(ROWS).splitlines()
    assert [cell.strip() for cell in lines[3].split("|")[1:5]] == ["8", ".675 ± .025", ".575 ± .025", "+0.125"]
    assert lines[3].split("|")[5].strip() == "+0.050" and lines[3].split("|")[8].strip() == "1.20"


def test_costs_are_those_with_lessons() -> None:
    said = costs(ROWS)
    assert "0.20 s" in said and "0.40 s with 8 lessons" in said


def test_the_picture_shows_what_was_measured() -> None:
    first, same = draw_curve(ROWS), draw_curve(ROWS)
    other = draw_curve({**ROWS, "43": {"0": _row(0.6), "8": _row(0.9)}})
    assert ImageChops.difference(first, same).getbbox() is None
    assert ImageChops.difference(first, other).getbbox() is not None


def test_both_orders_stand_side_by_side() -> None:
    better = {seed: {"0": rows["0"], "8": _row(rows["8"]["miou"]["all"] + 0.1)} for seed, rows in ROWS.items()}
    cells = [cell.strip() for cell in orders_table(ROWS, better).splitlines()[3].split("|")[1:-1]]
    assert cells == ["8", "10 / 10", ".675 ± .025", ".775 ± .025", "+0.100", "+0.100"]
    assert ImageChops.difference(draw_curve(ROWS), draw_curve(ROWS, better)).getbbox() is not None


@pytest.mark.slow  # builds the prototypes of all words with two quick images each
def test_a_pupil_learns_from_other_scenes(tmp_path: Path) -> None:
    quick = vary(load_preset("tinyworld"), generation={"images": 2, "steps": 2})
    bench = Bench(quick, 42, tmp_path / "bank")
    scenes = encode_crowded(bench.engine(), "thresholds", range(20_000, 20_003))
    taught = encode_crowded(bench.engine(), "thresholds", range(30_000, 30_004))
    rows = curve(bench, scenes, taught, [0, 4])
    chosen = curve(bench, scenes, taught, [0, 2], chosen=True)
    fewest = min(regions_of(taught, place) for place in range(4))
    assert chosen["0"]["regions"] == 0 and chosen["2"]["regions"] >= 2 * fewest
    assert rows["4"]["miou"]["all"] > rows["0"]["miou"]["all"] + 0.02
    assert rows["0"]["lesson_s"] == 0 < rows["4"]["lesson_s"]
    assert not (tmp_path / "bank" / "lessons").exists()  # other measurements are not taught
    pupil = Pupil(bench, tmp_path / "pupil")
    assert pupil.engine.category_key("boat") == bench.engine().category_key("boat")
    assert np.isfinite([row["label_s"] for row in rows.values()]).all()
