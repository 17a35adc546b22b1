from backend.demo.report import Report


def test_a_row_passes_if_found_is_what_was_wanted() -> None:
    report = Report()
    report.add("predictions", 24, 24)
    report.add("sizes", 24, 23)
    assert [row.passed for row in report.rows] == [True, False]
    assert [row.check for row in report.failures] == ["sizes"]


def test_a_row_may_be_judged_by_the_caller() -> None:
    report = Report()
    report.add("mean IoU", "at least 0.30", "0.41", passed=True)
    assert report.failures == []


def test_the_table_is_aligned() -> None:
    report = Report()
    report.add("predictions", 24, 24)
    report.add("a", "long words", 3)
    assert report.table().splitlines() == [
        "        check        wanted      found",
        "------  -----------  ----------  -----",
        "ok      predictions  24          24",
        "FAILED  a            long words  3",
    ]


def test_a_check_that_is_left_out_says_why_and_neither_passes_nor_fails() -> None:
    report = Report()
    report.add("predictions", 24, 24)
    assert report.summary() == "0 of 1 checks failed."
    report.leave_out("prototypes", "there are none")
    assert report.failures == [] and [row.check for row in report.left_out] == ["prototypes"]
    assert report.table().splitlines()[-1] == "left out  prototypes           there are none"
    assert report.summary() == (
        "0 of 1 checks failed. 1 more do not fit this engine and were left out; the table says why."
    )
