"""The table of an ablation: means over seeds, differences seed by seed, published figures beside ours."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.engines import load_any_preset
from ovdiff.evaluation.ablation_table import AblationTable, json_to_table, make_table, markdown
from ovdiff.evaluation.result import Result
from ovdiff.evaluation.rows import LeftOut, variants
from ovdiff.evaluation.shared_work import jobs_of

MIOU = {
    "full": (0.80, 0.82, 0.84),
    "no-windows": (0.70, 0.74, 0.75),
    "paper": (0.60, 0.62, 0.64),
    "paper-no-background": (0.50, 0.50, 0.50),
}


def result(miou: float) -> Result:
    measures = {"miou": miou, "boundary_iou": miou / 2, "pixel_accuracy": 0.9, "pq": None, "ap": None}
    words = {"words": {"all": {"absent painted": 0.25}}}
    return Result({}, (), {}, {}, {}, ("a", "b"), (), {"measures": {**measures, **words}}, {})


def made(folder: Path, dataset: str = "voc21") -> AblationTable:
    found, left_out = variants(load_any_preset("tinyworld"), [*MIOU, "k-8", "mae", "k-4"])
    jobs = jobs_of(found, (42, 43, 44), folder)
    for job in jobs:
        if job.row.name in MIOU and job.seed is not None:
            job.folder.mkdir(parents=True)
            result(MIOU[job.row.name][job.seed - 42]).write(job.folder)
    return make_table(dataset, "tinyworld", found, jobs, left_out)


def test_differences_are_taken_seed_by_seed(tmp_path: Path) -> None:
    rows = {row.name: row for row in made(tmp_path).rows}
    assert rows["full"].difference is None
    assert rows["full"].figures["miou"].mean == pytest.approx(0.82)
    difference = rows["no-windows"].difference
    assert difference is not None
    assert difference.mean == pytest.approx(-9.0)
    assert difference.deviation == pytest.approx(0.816, abs=0.001)  # of -10, -8 and -9
    assert rows["no-windows"].seeds == 3
    assert rows["no-windows"].images == 2
    assert rows["k-8"].same_as == "full"
    assert rows["k-8"].figures == rows["full"].figures
    assert rows["paper-no-background"].difference is not None
    assert rows["paper-no-background"].difference.mean == pytest.approx(-12.0)
    assert "pq" not in rows["full"].figures
    assert rows["full"].figures["absent painted"].mean == 0.25


def test_a_reference_that_equals_an_earlier_row_has_that_row_s_figures(tmp_path: Path) -> None:
    found, _ = variants(load_any_preset("tinyworld"), list(MIOU))
    found = tuple(replace(each, same_as="full") if each.row.name == "paper" else each for each in found)
    jobs = [job for job in jobs_of(found, (42, 43, 44), tmp_path) if job.row.name in ("full", "paper-no-background")]
    for job in jobs:
        assert job.seed is not None
        job.folder.mkdir(parents=True)
        result(MIOU[job.row.name][job.seed - 42]).write(job.folder)
    rows = {row.name: row for row in make_table("voc21", "tinyworld", found, jobs, ()).rows}
    assert (rows["paper"].same_as, rows["paper"].difference) == ("full", None)
    difference = rows["paper-no-background"].difference
    assert difference is not None
    assert difference.mean == pytest.approx(-32.0)


def test_published_figures_stand_beside_those_of_the_same_dataset(tmp_path: Path) -> None:
    table = made(tmp_path)
    row = next(row for row in table.rows if row.name == "paper-no-background")
    assert (row.published, row.published_difference) == ({"voc21": 53.6}, {"voc21": -10.0})
    told = markdown(table)
    assert "| published, voc21 | difference |" in told
    assert "| 53.6 | -10.0 |" in told
    assert "| .620 ± .016 | – |" in told
    assert "-12.0 ± 1.6" in told
    assert "(is `full`)" in told


def test_a_dataset_without_published_ablation_has_those_of_the_paper(tmp_path: Path) -> None:
    row = next(row for row in made(tmp_path, "drawn").rows if row.name == "paper-no-background")
    assert row.published_difference == {"voc21": -10.0, "context60": -1.5}


def test_rows_without_figures_are_named_with_the_reason(tmp_path: Path) -> None:
    table = made(tmp_path)
    why = {each.name: each.why for each in table.left_out}
    assert why["k-4"] == "it has no result yet"
    assert "does not build" in why["mae"]
    assert "- `k-4`: it has no result yet" in markdown(table)
    assert table.to_json()["left_out"][0]["name"] == "mae"
    built = replace(table, left_out=(LeftOut("k-4", "it could not be built: no foreground"),))
    assert "could not be built" in markdown(built)


def test_a_table_is_read_back_and_shown_by_families(tmp_path: Path) -> None:
    table = made(tmp_path)
    read = json_to_table(json.loads(json.dumps(table.to_json())))
    assert read == table
    shown = markdown(read, ["paper"])
    assert shown.startswith("| paper |") and "\n\n|" not in shown and "Left out" not in shown
    assert shown.strip() in markdown(read)
