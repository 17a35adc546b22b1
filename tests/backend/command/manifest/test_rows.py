"""Rows as they are written become images to segment, or say what is wrong with them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from backend.command.manifest.rows import BadRow, Batch, Columns, Row, RowMaker, Unreadable, batches, json_value


def nowhere(row: Row) -> str:
    return ""


@pytest.fixture
def maker() -> Iterator[RowMaker]:
    made = RowMaker(Columns())
    yield made
    made.close()


def test_a_row_is_an_image_with_an_id_a_size_and_whatever_else_it_says(maker: RowMaker) -> None:
    said = {"image": "a.png", "id": 17, "width": 6, "height": 4, "source": "camera", "note": None}
    assert maker.row(1, said) == Row(1, "a.png", 17, "", (6, 4), {"source": "camera"})
    assert maker.row(2, {"image": "b.png", "id": 0}) == Row(2, "b.png", 0)


def test_without_ids_that_are_numbers_an_image_has_the_number_of_its_row(maker: RowMaker) -> None:
    assert maker.row(1, {"image": "a.png", "id": "first"}) == Row(1, "a.png", 1, "first")
    assert maker.row(2, {"image": "b.png"}) == Row(2, "b.png", 2)
    assert maker.row(3, {"image": "c.png", "id": 1}) == Row(3, "c.png", 3, "1")


@pytest.mark.parametrize(
    ("said", "value", "reason"),
    [
        ({"file": "a.png"}, "None", r"expected the path or address .* under 'image'.*--image-column .*has 'file'"),
        ({"image": 3}, "3", "expected the path or address of an image under 'image'"),
        ({"image": "\ud800.png"}, r"'\\ud800.png'", "expected the path or address of an image"),
        ({"image": "a\0b"}, r"'a\\x00b'", "expected the path or address of an image"),
        ({"image": "a.png", "id": "x"}, "'x'", "expected a whole number from 0 to .* under 'id', as in the first row"),
        ({"image": "a.png", "id": -1}, "-1", "expected a whole number from 0"),
        ({"image": "a.png", "id": 2**53}, str(2**53), "expected a whole number from 0"),
        ({"image": "a.png", "id": 17}, "17", "row 1 has this id already; give each row an id of its own"),
        (
            {"image": "a.png", "id": 18, "width": 0, "height": 4},
            r"\(0, 4\)",
            "expected .* whole numbers of pixels .* leave both",
        ),
        ({"image": "a.png", "id": 18, "width": 4}, r"\(4, None\)", "expected width and height as whole numbers"),
        ({"image": ["s3://k:hu/sh@b/a.png"]}, r"\['s3://\.\.\.@b/a.png'\]", "expected the path"),
        (["a.png"], r"\['a.png'\]", "expected an object with the image's path"),
        (Unreadable("'{'", "expected JSON"), "'{'", "expected JSON"),
        ({"image": ["x" * 500]}, r"\['x+\.\.\.", "expected the path"),
    ],
)
def test_a_bad_row_says_its_value_and_what_to_do(maker: RowMaker, said: Any, value: str, reason: str) -> None:
    assert isinstance(maker.row(1, {"image": "a.png", "id": 17}), Row)
    found = maker.row(7, said)
    assert isinstance(found, BadRow) and found.number == 7
    assert re.fullmatch(value, found.value) and re.match(reason, found.reason), found
    assert found.text() == f"row 7, {found.value}: {found.reason}"
    assert isinstance(maker.row(8, {"image": "a.png", "id": 19}), Row), "the others go on"


def test_numbers_as_pandas_writes_them_are_whole_numbers(maker: RowMaker) -> None:
    said = {"image": "a.png", "id": 7.0, "width": 640.0, "height": 480.0}
    assert maker.row(1, said) == Row(1, "a.png", 7, "", (640, 480))
    for bad in (float("nan"), 7.5, float("inf")):
        assert isinstance(maker.row(2, {"image": "a.png", "id": bad}), BadRow)
    assert isinstance(maker.row(3, {"image": "a.png", "id": 7}), BadRow), "the same id"


def test_half_a_character_is_no_id_and_is_carried_as_a_question_mark() -> None:
    maker = RowMaker(Columns())
    assert isinstance(maker.row(1, {"image": "a.png", "id": "\ud800"}), BadRow)
    row = maker.row(2, {"image": "a.png", "x": "\ud800", "y\udfff": ["\ud800", {"\ud800": "\u00e9"}]})
    assert isinstance(row, Row) and row.carried == {"x": "?", "y?": ["?", {"?": "\u00e9"}]}
    maker.close()


def test_columns_are_named_and_chosen() -> None:
    maker = RowMaker(Columns("path", "key", ("source",)))
    row = maker.row(1, {"path": "a.png", "key": 5, "id": 6, "source": 1, "more": 2})
    assert row == Row(1, "a.png", 5, "", None, {"source": 1})
    maker.close()


def test_values_of_a_table_become_json() -> None:
    values = {
        "t": datetime(2026, 1, 2, 3),
        "d": date(2026, 1, 2),
        "n": Decimal("1.5"),
        "x": float("nan"),
        "l": (1, b""),
    }
    expected = {"t": "2026-01-02T03:00:00", "d": "2026-01-02", "n": "1.5", "x": None, "l": [1, "b''"]}
    assert json_value(values) == expected


def test_rows_come_in_batches_and_a_batch_is_known_by_all_that_is_said_in_it(maker: RowMaker) -> None:
    rows = [(number, {"image": f"{number}.png", "source": "a"}) for number in range(1, 6)]
    found = list(batches(iter(rows), maker, 2))
    assert [(batch.index, batch.first, batch.last) for batch in found] == [(0, 1, 2), (1, 3, 4), (2, 5, 5)]
    again = next(batches(iter(rows), RowMaker(Columns()), 2))
    assert again.digest(nowhere) == found[0].digest(nowhere)
    changed = [found[0].rows[0], Row(2, "2.png", 2, "", None, {"source": "b"})]
    assert Batch(0, 1, changed).digest(nowhere) != found[0].digest(nowhere)
    first, second = (Batch(0, 1, (BadRow(1, "x", reason),)).digest(nowhere) for reason in "yz")
    assert first != second


def test_where_images_are_looked_for_is_part_of_a_batch_and_a_new_signature_is_not() -> None:
    batch = Batch(0, 1, (Row(1, "a.png", 1),))
    assert batch.digest(nowhere) != batch.digest(lambda row: "one") != batch.digest(lambda row: "two")
    first, second = (Batch(0, 1, (Row(1, f"https://h/a.png?sig={sig}", 1),)).digest(nowhere) for sig in "ab")
    assert first == second


# Not ru_maxrss, which a process takes over from the one that started it.
_PEAK = r"""
import re, sys
from pathlib import Path
from backend.command.manifest.rows import Columns, RowMaker, batches

maker, count = RowMaker(Columns()), int(sys.argv[1])
rows = ((number, {"image": "a.png", "id": number * 7919 % 1_000_003}) for number in range(1, count + 1))
for _ in batches(rows, maker, 100):
    pass
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_ids_that_were_seen_are_not_in_memory() -> None:
    peaks_kib = []
    for count in (20_000, 320_000):
        done = subprocess.run([sys.executable, "-c", _PEAK, str(count)], capture_output=True, text=True, check=True)
        peaks_kib.append(int(done.stdout))
    assert peaks_kib[1] - peaks_kib[0] < 2560, (
        "KiB for 300,000 ids; in memory they are 3900, and the cache of a file 1500"
    )
