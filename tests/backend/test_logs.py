import io
import json
import logging

import pytest

from backend.logs import REQUEST_ID, JsonLines, TextLines, log_to, without_word_notices


def record(message: str, *, fails: bool = False) -> logging.LogRecord:
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        failure = (type(error), error, error.__traceback__) if fails else None
    return logging.LogRecord("backend.x", logging.INFO, "x.py", 1, message, ("é",), failure)


def test_text_is_as_before_with_the_request_behind() -> None:
    assert TextLines().format(record("say %s")).endswith(" INFO backend.x: say é")
    token = REQUEST_ID.set("1f2e")
    try:
        assert TextLines().format(record("say %s")).endswith(" INFO backend.x: say é [request 1f2e]")
    finally:
        REQUEST_ID.reset(token)


def test_json_is_one_line_with_the_traceback() -> None:
    line = JsonLines().format(record("say %s\n", fails=True))
    said = json.loads(line)
    assert "\n" not in line and said["message"] == "say é\n" and "ValueError: a\nb" in said["traceback"]
    assert said["level"] == "INFO" and said["logger"] == "backend.x" and said["time"].endswith("+00:00")
    assert "request" not in said and "traceback" not in json.loads(JsonLines().format(record("%s")))


@pytest.mark.parametrize("form", [TextLines(), JsonLines()])
def test_a_line_gives_no_access_to_an_address(form: logging.Formatter) -> None:
    try:
        raise ValueError("cannot read https://host/a.png?sig=hush")
    except ValueError as error:
        failure = (ValueError, error, error.__traceback__)
    told = ("https://me:hush@host/a.png",)
    line = form.format(logging.LogRecord("backend.x", logging.INFO, "x.py", 1, "look at %s", told, failure))
    assert "hush" not in line and "https://...@host/a.png" in line and "https://host/a.png?..." in line


@pytest.mark.parametrize(("form", "formatter"), [("text", TextLines), ("json", JsonLines)])
def test_the_form_of_the_settings(form: str, formatter: type, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)
    stream = io.StringIO()
    log_to("INFO", form, stream)
    (handler,) = root.handlers
    assert isinstance(handler.formatter, formatter) and root.level == logging.INFO
    root.info("hello")
    assert "hello" in stream.getvalue()


@pytest.mark.parametrize(("level", "kept"), [(logging.INFO, ["warned"]), (logging.DEBUG, ["told", "warned"])])
def test_what_engines_tell_about_words_can_be_left_out(
    level: int, kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    told = logging.getLogger("ovdiff.segmenting.anchors")
    with caplog.at_level(level), without_word_notices():
        told.info("told")
        told.warning("warned")
    assert caplog.messages == kept
    with caplog.at_level(logging.INFO):
        told.info("afterwards")
    assert caplog.messages == [*kept, "afterwards"]
