import pytest

from backend.command.complaints import Complaints


def test_all_are_counted_the_first_are_told_and_more_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    complaints = Complaints("Further rows are counted.")
    for number in range(1, 1101):
        complaints.add(f"row {number}: no", {"row": number})
    lines = capsys.readouterr().err.splitlines()
    assert lines == [*(f"ovdiff: row {number}: no" for number in range(1, 21)), "ovdiff: Further rows are counted."]
    assert complaints.count == 1100 and complaints.told == [{"row": number} for number in range(1, 1001)]
