from converters.report.breakdowns import (
    PEOPLE_COLUMNS,
    SIZE_COLUMNS,
    people_rows,
    people_section,
    size_rows,
    size_section,
)
from tests.fakes.corrections import box, corrected, region, scores_of

CAT = box(0, 0, 6, 4)


def test_each_person_has_a_row_and_few_regions_have_no_percent() -> None:
    many = [corrected([region("a", CAT)], [region("a", CAT)], task_id=n, annotator="<ann>") for n in range(20)]
    few = corrected([region("a", CAT)], [], task_id=30, annotator="bo", lead_time_s=7.0)
    report = scores_of(*many, few).report("x")
    rows = [dict(zip(PEOPLE_COLUMNS, row, strict=True)) for row in people_rows(report)]
    assert [(row["Annotator"], row["Accepted"], row["Median time"]) for row in rows] == [
        ("<ann>", "100 % (84 to 100 %)", "–"),
        ("bo", "0 of 1 (too few to say)", "7.0 s"),
    ]
    section = people_section(report)
    assert "&lt;ann&gt;" in section and "compare the same tasks before you judge" in section


def test_one_person_is_compared_with_nobody() -> None:
    report = scores_of(corrected([region("a", CAT)], [])).report("x")
    assert "there is nobody to compare with" in people_section(report)
    assert "(unknown)" in people_section(report)


def test_each_size_has_a_row() -> None:
    records = [corrected([], [region("a", CAT)], task_id=n) for n in range(10)]
    found = [corrected([region("a", CAT)], [region("a", CAT)], task_id=n) for n in range(20, 30)]
    report = scores_of(*records, *found).report("x")
    rows = [dict(zip(SIZE_COLUMNS, row, strict=True)) for row in size_rows(report)]
    assert [row["Objects"] for row in rows] == [
        "small (below 32 x 32 px)",
        "medium (below 96 x 96 px)",
        "large (from 96 x 96 px)",
    ]
    assert (rows[0]["Missed"], rows[0]["Found"], rows[0]["Mean IoU"]) == ("10", "50 % (30 to 70 %)", "1.000")
    assert (rows[2]["Found"], rows[2]["Mean IoU"]) == ("–", "–")
    assert "50 % (30 to 70 %)" in size_section(report)


def test_a_long_table_of_people_is_folded() -> None:
    many = [corrected([region("a", CAT)], [], task_id=n, annotator=f"p{n:02}") for n in range(21)]
    assert "<summary>All 21 people</summary>" in people_section(scores_of(*many).report("x"))
    assert "<summary>" not in people_section(scores_of(*many[:20]).report("x"))
