"""What a command tells the person in front of it, and the exit status that follows."""

import argparse
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from converters.console import (
    DONE,
    LEFT_BEHIND,
    answer,
    answering,
    complain,
    describe_commands,
    say,
    say_counts,
    say_left_out,
    show_examples,
)
from converters.selection import Tally


def test_the_help_of_a_command_begins_with_what_it_does() -> None:
    """That of most commands was its options alone."""
    parser = argparse.ArgumentParser(prog="tool")
    commands = parser.add_subparsers()
    inner = commands.add_parser("cut", help="cut or sew").add_subparsers()
    for name, given in (
        ("one", {"help": "cut one"}),
        ("all", {"help": "cut all", "description": "All of them."}),
        ("x", {}),
    ):
        inner.add_parser(name, **given)
    describe_commands(parser)
    said = {name: command.description for name, command in inner.choices.items()}
    assert said == {"one": "Cut one.", "all": "All of them.", "x": None}
    assert commands.choices["cut"].description == "Cut or sew."


@dataclass
class Counts:
    images_in: int


def test_counts_are_said_in_order_and_nothing_left_behind_is_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    tally.images_in, tally.images_out, tally.regions_in, tally.regions_out = 3, 2, 7, 9
    tally.note("regions whose holes were filled", 4)
    assert say_counts(tally.counts(), "lowest IoU: 0.9") == DONE
    assert capsys.readouterr().out.splitlines() == [
        "images: 3 read, 2 written",
        "regions: 7 read, 9 entries written",
        "regions whose holes were filled: 4",
        "lowest IoU: 0.9",
    ]


def test_what_was_left_behind_is_said_with_ten_of_its_places(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    for number in range(12):
        tally.leave_out("region without a label", f"task {number}")
    assert say_counts(tally.counts()) == LEFT_BEHIND
    said = capsys.readouterr().out.splitlines()[2:]
    assert said[0] == "left out, region without a label: 12"
    assert said[1] == "  region without a label: task 0" and len(said) == 1 + 10 + 1
    assert said[-1] == "  and 2 more"


def test_few_places_are_all_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert say_left_out({"a": 1}, ["a: here"]) == LEFT_BEHIND
    assert capsys.readouterr().out == "left out, a: 1\n  a: here\n"
    assert say_left_out({}, []) == DONE and capsys.readouterr().out == ""


def test_letters_that_the_terminal_lacks_do_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    say("größe 🦊")
    complain("convert coco", ValueError("größe"))
    written = []
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        written.append(stream.buffer.getvalue())  # type: ignore[attr-defined]
    assert written == [rb"gr\xf6\xdfe \U0001f98a" + b"\n", rb"convert coco: gr\xf6\xdfe" + b"\n"]


def test_with_json_stdout_holds_one_document_and_without_it_text(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        with answering(as_json=as_json):
            say("text")
            answer({"file": Path("a/ö.png"), "iou": float("nan"), "counts": Counts(3), "two": (1, 2.5)})
    text, _, document = capsys.readouterr().out.partition("\n")
    assert text == "text"
    assert json.loads(document) == {"file": "a/ö.png", "iou": None, "counts": {"images_in": 3}, "two": [1, 2.5]}
    answer("nobody asked")
    assert capsys.readouterr().out == ""


def test_a_name_that_is_no_text_is_escaped_in_json(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A file's name may be of any bytes; the answer ended in a traceback."""
    with answering(as_json=True):
        answer({"image": Path("caf\udce9.png"), "word": "café"})
    assert json.loads(capsysbinary.readouterr().out) == {"image": "caf\udce9.png", "word": "café"}


def test_json_stays_json_where_the_terminal_lacks_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    with answering(as_json=True):
        answer({"name": "größe"})
    sys.stdout.flush()
    assert json.loads(sys.stdout.buffer.getvalue()) == {"name": "größe"}


def test_quiet_leaves_out_what_is_well_and_says_what_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    tally.images_in, tally.images_out = 3, 2
    tally.leave_out("region without a label", "task 1")
    with answering(quiet=True):
        assert say_counts(tally.counts(), "lowest IoU: 0.9") == LEFT_BEHIND
    assert capsys.readouterr().out == "left out, region without a label: 1\n  region without a label: task 1\n"


def test_the_help_of_each_command_ends_with_its_own_examples() -> None:
    parser = argparse.ArgumentParser(prog="tool", description="Does things. " * 20)
    commands = parser.add_subparsers()
    for name in ("cut", "cut-all"):
        commands.add_parser(name)
    show_examples(parser, "The tool.\n\n    tool cut a.png     cut one\n    tool cut-all\n    another tool\ntool cut\n")
    assert parser.format_help().endswith("\nexamples:\n    tool cut a.png     cut one\n    tool cut-all\n")
    assert max(map(len, parser.format_help().splitlines())) <= 80  # the description is wrapped as before
    helps = {name: command.format_help() for name, command in commands.choices.items()}
    assert helps["cut"].endswith("\nexamples:\n    tool cut a.png     cut one\n")
    assert helps["cut-all"].endswith("\nexamples:\n    tool cut-all\n")
