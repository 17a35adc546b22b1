from pathlib import Path

import pytest

from ovdiff.errors import StorageError
from ovdiff.storage import is_stored, place


def test_what_is_no_address_is_a_path(tmp_path: Path) -> None:
    for text in ("bank", "./a:b", "C:/bank", "/bank"):
        assert place(text) == Path(text) and not is_stored(place(text))
    assert place(tmp_path) == tmp_path
    assert place("file:///bank/one") == Path("/bank/one")


def test_an_address_is_a_path_in_a_storage_and_asks_nobody() -> None:
    found = place("s3://bucket/bank/")
    assert is_stored(found) and str(found / "a.json") == "s3://bucket/bank/a.json"
    assert place(found) is found and (found / "a.json").stem == "a" and (found / "a.json").parent == found


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://ann:hush@bucket", r"s3://\.\.\.@bucket holds a user or a password. Leave them out"),
        ("s3://ANN:hu/sh@bucket/bank", r"s3://\.\.\.@bucket/bank holds a user or a password"),
        ("abfs://ann:hush@bucket", r"abfs://\.\.\.@bucket holds a user or a password"),
        ("ftpx://bucket", "ftpx://bucket cannot be used: Protocol not known"),
        ("oss://bucket", "oss://bucket cannot be used: Install ossfs"),
    ],
)
def test_an_address_that_cannot_be_used_is_said_in_words(address: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        place(address)
    assert "hush" not in str(caught.value) and "hu/sh" not in str(caught.value)


def test_an_address_that_lost_a_slash_is_not_taken_for_a_folder() -> None:
    with pytest.raises(StorageError, match="s3:/bucket/bank is an address of which a slash was lost"):
        place(Path("s3://bucket/bank"))
