import io
import json
import logging
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.test import Client

from backend.logs import REQUEST_ID, JsonLines, TextLines
from backend.serving.http.request_ids import HEADER


@pytest.fixture
def lines() -> Iterator[list[io.StringIO]]:
    """The log of the backend's own lines, as text and as JSON."""
    streams = [io.StringIO(), io.StringIO()]
    handlers = [logging.StreamHandler(stream) for stream in streams]
    for handler, form in zip(handlers, (TextLines(), JsonLines()), strict=True):
        handler.setFormatter(form)
        logging.getLogger("backend").addHandler(handler)
    before = logging.getLogger("backend").level
    logging.getLogger("backend").setLevel("INFO")
    yield streams
    logging.getLogger("backend").setLevel(before)
    for handler in handlers:
        logging.getLogger("backend").removeHandler(handler)


def test_a_request_and_its_lines_have_one_number(app: Flask, lines: list[io.StringIO]) -> None:
    answer = Client(app).post("/webhook", json={"action": "TASKS_CREATED"})
    number = answer.headers[HEADER]
    text, as_json = (stream.getvalue() for stream in lines)
    assert len(number) == 12 and f"Event 'TASKS_CREATED' {{}} [request {number}]" in text
    events = [said for line in as_json.splitlines() if (said := json.loads(line))["message"].startswith("Event")]
    assert [said["request"] for said in events] == [number]
    assert REQUEST_ID.get() == ""


def test_errors_have_the_number_too(app: Flask) -> None:
    numbers = [Client(app).get(path).headers[HEADER] for path in ("/nowhere", "/versions")]
    assert len(set(numbers)) == 2 and all(numbers)


@pytest.mark.parametrize(("given", "kept"), [("proxy-1.2_3", True), ("", False), ("a b", False), ("x" * 65, False)])
def test_a_proxys_number_is_kept_if_it_could_stand_in_a_log(given: str, kept: bool, app: Flask) -> None:
    assert (Client(app).get("/versions", headers={HEADER: given}).headers[HEADER] == given) == kept
