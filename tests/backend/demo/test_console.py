import io

import pytest

from backend.demo.console import Console


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_each_change_is_a_line() -> None:
    console = Console(io.StringIO())
    for text, detail in (("1 of 2", "10 %"), ("1 of 2", "20 %"), ("2 of 2", "")):
        console.progress(text, detail)
    console.say("done")
    assert console.stream.getvalue() == "  1 of 2\n  2 of 2\ndone\n"  # type: ignore[attr-defined]


def test_on_a_terminal_progress_is_rewritten_in_place() -> None:
    console = Console(_Terminal())
    console.progress("1 of 2", "10 %")
    console.progress("2 of 2")
    console.say("done")
    assert console.stream.getvalue() == "\r\x1b[K  1 of 2 (10 %)\r\x1b[K  2 of 2\ndone\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("stream", [io.StringIO(), _Terminal()])
def test_ending_progress_that_never_was_writes_nothing(stream: io.StringIO) -> None:
    Console(stream).end_progress()
    assert stream.getvalue() == ""
