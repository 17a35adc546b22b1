import pytest

from backend.serving.preparing.standing import UNWANTED, Status


@pytest.mark.parametrize(
    ("status", "phrase", "settled"),
    [
        (Status("queued"), "queued", False),
        (Status("building", stage="generating", progress=0.4), "building: generating, 40%", False),
        (
            Status("building", stage="generating", progress=0.4, failed_before=True),
            "building: generating, 40%",
            True,
        ),
        (Status("ready", progress=1.0), "ready", True),
        (Status("failed", reason="No image shows it."), "failed: No image shows it.", True),
        (
            UNWANTED,
            "unwanted: the label config in force does not have it; opening the project's page renews that",
            False,
        ),
    ],
)
def test_a_status_is_a_phrase_and_says_whether_waiting_is_of_use(status: Status, phrase: str, settled: bool) -> None:
    assert (str(status), status.is_settled) == (phrase, settled)
