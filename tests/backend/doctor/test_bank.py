import pytest

from backend.doctor import bank
from backend.doctor.bank import check_bank
from backend.settings import Settings
from ovdiff.storage import place
from tests.storages import Cable, new_bucket


def test_a_bank_in_a_bucket_is_written_and_left_as_it_was(bucket: str) -> None:
    found = check_bank(Settings(bank=f"{bucket}/bank"))
    assert (found.state, found.found) == ("ok", f"{bucket}/bank can be written, and leases hold there")
    assert not place(f"{bucket}/bank").is_dir()


def test_a_storage_without_conditional_puts_is_a_warning(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "replace", lambda _path, _data, _version: "written all the same")
    found = check_bank(Settings(bank=f"{bucket}/bank"))
    assert found.state == "warning" and "knows no conditional puts" in found.found


def test_a_bank_that_cannot_be_reached_or_is_not_there_fails(cable: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "_PATIENCE_S", 0.0)
    address = new_bucket()
    found = check_bank(Settings(bank="s3://nobodys-bucket/bank"))
    assert found.state == "failed" and "The specified bucket does not exist" in found.found
    cable.cut()
    found = check_bank(Settings(bank=address))
    assert found.state == "failed" and "Could not connect" in found.found and "docs/storage.md" in found.advice
