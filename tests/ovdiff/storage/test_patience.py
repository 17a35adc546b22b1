import errno
import logging
import threading

import pytest

from ovdiff.errors import StorageError
from ovdiff.storage.patience import context_until, is_away, patiently, reason


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now_s, self.pauses_s = 0.0, list[float]()

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds


def test_a_storage_that_comes_back_is_asked_after_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()

    def ask() -> str:
        if clock.now_s < 60:
            raise ConnectionRefusedError("nobody listens")
        return "answer"

    with caplog.at_level(logging.WARNING):
        assert patiently(ask, "s3://b/x cannot be read", 180.0, clock_s=clock, sleep=clock.sleep) == "answer"
    assert clock.pauses_s[:6] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0] and set(clock.pauses_s[5:]) == {5.0}
    first, last = caplog.messages
    assert first == "s3://b/x cannot be read: nobody listens. It is asked again for up to 180 s."
    assert last.startswith("The storage answers again, after 6")


def test_patience_ends_with_an_error_in_words() -> None:
    clock = Clock()

    def ask() -> None:
        raise TimeoutError("no answer in time")

    with pytest.raises(StorageError) as caught:
        patiently(ask, "s3://b/x cannot be written", 30.0, clock_s=clock, sleep=clock.sleep)
    assert 20 < clock.now_s <= 30 and caught.value.is_away
    assert str(caught.value).startswith("s3://b/x cannot be written, and it was asked again for 2")
    assert "no answer in time. Look whether the storage runs and whether this machine reaches it" in str(caught.value)


def test_a_storage_is_not_asked_again_when_nobody_needs_its_answer() -> None:
    over, asked = threading.Event(), list[int]()

    def ask() -> None:
        asked.append(1)
        if len(asked) == 2:
            over.set()
        raise ConnectionError("away")

    with pytest.raises(StorageError, match=r"x cannot be read: away\. It is not asked again\.") as caught:
        context_until(over).run(patiently, ask, "x cannot be read", 3.0)
    assert len(asked) == 2 and caught.value.is_away


@pytest.mark.parametrize("error", [FileNotFoundError("x"), PermissionError("x"), OSError(errno.EINVAL, "x")])
def test_an_answer_is_no_reason_to_ask_again(error: OSError) -> None:
    clock = Clock()

    def ask() -> None:
        raise error

    with pytest.raises(type(error)):
        patiently(ask, "s3://b/x cannot be read", 30.0, clock_s=clock, sleep=clock.sleep)
    assert clock.pauses_s == [] and not is_away(error)


@pytest.mark.parametrize(
    ("code", "status", "away"),
    [
        ("XMinioStorageFull", 507, False), ("KMS.DisabledException", 400, False), ("QuotaExceeded", 403, False),
        ("InternalError", 500, True), ("BadGateway", 502, True), ("SlowDown", 503, True), ("RequestTimeout", 400, True),
    ],
)  # fmt: skip
def test_what_s3_refuses_is_an_answer_also_by_a_code_that_its_library_does_not_know(
    code: str, status: int, away: bool
) -> None:
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    said = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert is_away(translate_boto_error(ClientError(said, "PutObject"))) == away


def test_a_disk_that_fails_is_asked_again() -> None:
    assert is_away(OSError(errno.EIO, "Input/output error"))


def test_what_a_storage_says_is_told_without_secrets() -> None:
    assert reason(ValueError("no s3://k:hu/sh@b/x?sig=hush.")) == "no s3://...@b/x?..."


def test_what_means_that_a_storage_is_away() -> None:
    from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError

    away = [
        OSError(errno.EBUSY, "slow down"), OSError(errno.ECONNRESET, "reset"),
        EndpointConnectionError(endpoint_url="http://x"), ReadTimeoutError(endpoint_url="http://x"),
    ]  # fmt: skip
    assert all(map(is_away, away))
    assert not is_away(NoCredentialsError()) and not is_away(ValueError("x"))
