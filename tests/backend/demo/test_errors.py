import inspect
from pathlib import Path

from backend.demo import errors
from backend.demo.errors import DemoError, log_tail
from backend.errors import BackendError


def test_every_error_is_one_of_the_demo_and_drawn_in_the_tree() -> None:
    found = {
        name: value
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if value.__module__ == errors.__name__
    }
    assert set(found) == {"DemoError", "ServerError", "ApiError", "CheckError"}
    assert issubclass(DemoError, BackendError)
    for name, error in found.items():
        assert issubclass(error, DemoError)
        assert name in (errors.__doc__ or "")


def test_the_end_of_a_log_is_shown_below_its_name(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"one\ntwo\nth\xffree\n")
    assert log_tail(log, lines=2) == f"The end of {log}:\n    two\n    th\N{REPLACEMENT CHARACTER}ree"


def test_a_log_without_a_line_and_a_log_that_was_never_written_say_so(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    for name in ("empty.log", "missing.log"):
        assert log_tail(tmp_path / name) == f"The end of {tmp_path / name}:\n    (empty)"
