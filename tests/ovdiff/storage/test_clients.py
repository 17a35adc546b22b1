import sys

import pytest

from ovdiff.errors import MissingExtraError
from ovdiff.storage import place
from ovdiff.storage.clients import advice
from ovdiff.storage.patience import is_away, reason

AZURES_OWN = "abfs://container@account.dfs.core.windows.net/bank"  # with an @, and no secret


@pytest.mark.parametrize(
    ("address", "library", "extra"),
    [("s3://b", "s3fs", "cloud"), (AZURES_OWN, "adlfs", "azure"), ("gs://b", "gcsfs", "google")],
)
def test_a_storage_whose_library_is_not_there_names_the_extra(
    address: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"needs {library}, which is not installed.*\[{extra}\]"):
        place(address)


def test_what_to_look_at_is_that_of_the_storage() -> None:
    said = {each: advice(each, ValueError()) for each in ("s3", "abfs", "gs", "sftp")}
    assert "AWS_PROFILE" in said["s3"] and "AZURE_STORAGE_CONNECTION_STRING" in said["abfs"]
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said["gs"] and len(set(said.values())) == 4
    assert "s3:GetObject" in advice("s3", PermissionError())


@pytest.mark.parametrize("name", ["status_code", "code"])
def test_a_busy_server_is_away_and_one_that_refuses_is_not(name: str) -> None:
    busy, refusing = type("Error", (Exception,), {name: 503}), type("Error", (Exception,), {name: 403})
    assert is_away(busy()) and not is_away(refusing())


def test_of_a_long_answer_the_first_line_is_told() -> None:
    assert reason(ValueError("The container does not exist.\nRequestId:1\nTime:2")) == "The container does not exist"
