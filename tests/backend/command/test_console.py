import io
import re
import sys

import pytest

from backend.command.console import ProgressLines, ask, complain, notice, progress_bar, say
from backend.errors import UsageError
from converters.console import answering


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_results_and_complaints_go_their_own_ways(capsys: pytest.CaptureFixture[str]) -> None:
    say("found")
    complain(ValueError("lost"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("found\n", "ovdiff: lost\n")


def test_with_json_results_are_not_text_and_notices_are_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(as_json=True):
        say("found")
        notice("built")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "built\n")
    with answering(quiet=True):
        say("found")
        notice("built")
    assert capsys.readouterr() == ("found\n", "")


def test_a_progress_bar_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shows in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_bar(2) as bar:
            bar.set_description("a")
            bar.update(1)
        assert ("a:" in stream.getvalue()) == shows


def test_quietly_nothing_is_shown_and_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with answering(quiet=True), progress_bar(2) as bar:
        bar.set_description("a")
        bar.update(2)
        assert bar.n == 2
    assert stream.getvalue() == ""
    with progress_bar(2) as bar:
        bar.set_description("b")
    assert "b:" in stream.getvalue()


def test_a_bar_says_the_time_left_and_the_rate_of_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for unit, rate in (("image", r", +[\d.?]+ ?image/s"), ("", r" *$")):
        monkeypatch.setattr(sys, "stderr", Terminal())
        with progress_bar(4, unit) as bar:
            bar.update(2)
            bar.set_description("a")
        (shown,) = re.findall(r"a: +50%[^\r]*", sys.stderr.getvalue())
        assert re.search(rf"\d\d:\d\d<\d\d:\d\d{rate}", shown), shown


def test_without_a_terminal_a_long_run_writes_a_line_now_and_then() -> None:
    """An hour's run in a container's log said nothing until its end."""
    stream, now_s = io.StringIO(), iter([0.0, 4.0, 10.0, 19.0, 21.0])
    lines = ProgressLines(4, "", stream, clock_s=lambda: next(now_s))
    for what in ("boat, generating", "boat, masks", "water, generating", "water, masks"):
        lines.set_description(what, refresh=False)
        lines.update(1)
    said = ["ovdiff: boat, masks: 50%, 10 s, about 10 s left", "ovdiff: water, masks: 100%, 21 s"]
    assert stream.getvalue().splitlines() == said
    assert lines.n == 4


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (0, "a: 0%, 20 s"),
        (5, "a: 5%, 20 s, about 380 s left, 4.00 s/image"),
        (50, "a: 50%, 20 s, about 20 s left, 2.50 image/s"),
    ],
)
def test_lines_say_the_time_left_and_the_rate_as_soon_as_they_are_known(done: float, said: str) -> None:
    stream, now_s = io.StringIO(), iter([0.0, 20.0])
    lines = ProgressLines(100, "image", stream, clock_s=lambda: next(now_s))
    lines.set_description("a")
    lines.update(done)
    assert stream.getvalue() == f"ovdiff: {said}\n"


def test_what_an_earlier_run_did_is_no_part_of_the_rate_of_this_one() -> None:
    """A training of 10,000 steps that went on after 9000 promised its end in a second; that was 16 minutes too soon."""
    stream, now_s = io.StringIO(), iter([0.0, 10.0])
    lines = ProgressLines(10_000, "step", stream, initial=9000, clock_s=lambda: next(now_s))
    lines.set_description("a")
    lines.update(10)
    assert stream.getvalue() == "ovdiff: a: 90%, 10 s, about 990 s left, 1.00 step/s\n"


def test_without_a_known_end_the_rate_is_told_and_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now_s = io.StringIO(), iter([0.0, 10.0])
    lines = ProgressLines(None, "row", stream, initial=7, clock_s=lambda: next(now_s))
    lines.set_description("a")
    lines.update(20)
    assert stream.getvalue() == "ovdiff: a: 27 rows, 10 s, 2.00 row/s\n"
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(None, "row") as bar:
        bar.update(2)
        bar.set_description("a")
    assert re.search(r"a: 2 rows, \d\d:\d\d, +[\d.?]+ ?row/s", sys.stderr.getvalue())


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
@pytest.mark.parametrize("quiet", [False, True])
def test_a_bar_goes_on_where_an_earlier_run_ended(
    stream: io.StringIO, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with answering(quiet=quiet), progress_bar(4, "step", initial=3) as bar:
        assert (bar.n, getattr(bar, "initial", 3)) == (3, 3)


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), (" Yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_only_a_yes_is_a_yes(
    answer: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-D is none, and ended in a traceback. The question is seen where stdout is a file, too."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert ask("Remove it?") == agreed
    assert capsys.readouterr() == ("", "Remove it? [y/N] ")


def test_letters_that_a_stream_lacks_are_written_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word of the vocabulary, or a file's name, ended the command in a traceback."""
    for name, encoding, said in (("stdout", "latin-1", b"b\xe5t, \\u8239\n"), ("stdout", "utf-8", b"caf\\udce9.png\n")):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        say("båt, 船" if encoding == "latin-1" else "caf\udce9.png")
        sys.stdout.flush()
        assert sys.stdout.buffer.getvalue() == said  # type: ignore[attr-defined]


def test_a_program_that_wants_json_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    with answering(as_json=True), pytest.raises(UsageError, match=r"say it with --yes"):
        ask("Remove it?")


def test_nobody_to_ask_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match=r"Remove it\? Nobody is there to answer; say it with --yes"):
        ask("Remove it?")
