import threading
import time

import pytest

from backend.doctor.findings import Finding, attempt
from backend.errors import LabelStudioAPIError
from ovdiff.errors import WeightsError

FINE = Finding("a", "ok", "fine")


def test_what_a_check_returns_is_returned() -> None:
    assert attempt("a", lambda: FINE, 5.0) == FINE
    assert attempt("a", lambda: (FINE, 3), 5.0) == (FINE, 3)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LabelStudioAPIError("Set the token."), "Set the token."),
        (WeightsError("No weights."), "No weights."),
        (PermissionError(13, "Permission denied", "/secret/place"), "PermissionError: Permission denied"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "ovdiff doctor needs torch, which is not installed.",
        ),
        (RuntimeError("token 1234"), "the check itself failed (RuntimeError)"),
        (RecursionError(), "the check itself failed (RecursionError)"),
    ],
)
def test_what_a_check_raises_is_a_finding_without_a_traceback(error: Exception, said: str) -> None:
    def fail() -> Finding:
        raise error

    found = attempt("a", fail, 5.0)
    assert (found.name, found.state) == ("a", "failed") and found.found.startswith(said)
    assert "1234" not in str(found)


def test_a_check_that_hangs_is_given_up() -> None:
    over = threading.Event()
    begun_s = time.monotonic()
    found = attempt("disk", lambda: over.wait(30) and FINE, 0.1)
    over.set()
    assert found == Finding("disk", "failed", "no answer within 0.1 s", "Look whether this machine is overloaded.")
    assert time.monotonic() - begun_s < 10
