"""Counting the house: small graphs counted by hand, the best order against all orders, the command on a checkout."""

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import grimp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.import_graph import PACKAGES, import_graph
from benchmarks.rooms import (
    FACE,
    arrows,
    circles,
    count,
    declared_floors,
    fewest_running_up,
    room_of,
    rooms,
    running_up,
    table,
)

ROOT = Path(__file__).parents[2]


def graph_of(*imports: tuple[str, str]) -> grimp.ImportGraph:
    graph = grimp.ImportGraph()
    for module in {module for pair in imports for module in pair}:
        graph.add_module(module)
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported)
    return graph


def test_rooms_are_the_direct_children_and_the_face_if_an_arrow_touches_it() -> None:
    assert [room_of(module) for module in ("p", "p.a", "p.a.b.c")] == [FACE, "a", "a"]
    assert rooms(graph_of(("p.a.b", "p.c"), ("p.a.d", "torch")), "p") == {"a", "c"}
    assert rooms(graph_of(("p", "p.c")), "p") == {FACE, "c"}


def test_many_imports_between_two_rooms_are_one_arrow() -> None:
    graph = graph_of(("p.a.b", "p.c.d"), ("p.a", "p.c"), ("p.a", "p.a.b"), ("p.a", "q.c"))
    assert arrows(graph, "p") == {("a", "c"): [("p.a", "p.c"), ("p.a.b", "p.c.d")]}


def test_an_arrow_to_the_same_floor_does_not_lead_down() -> None:
    floors = (("roof",), ("left", "right"), ("ground",))
    down, level, up = ("roof", "ground"), ("left", "right"), ("ground", "left")
    assert running_up([down, level, up], floors) == [up, level]
    with pytest.raises(ValueError, match=r"^Rooms on no floor: attic\. Add them to FLOORS"):
        running_up([("attic", "ground")], floors)


def test_circles_that_touch_are_one() -> None:
    assert circles(["ab", "bc", "ca", "cd", "dc", "de", "fg", "gf"]) == [["a", "b", "c", "d"], ["f", "g"]]
    assert circles(["ab", "bc", "ac"]) == []


@given(st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")).filter(lambda pair: pair[0] != pair[1])))
def test_the_best_order_is_the_best_of_all_orders(between: set[tuple[str, str]]) -> None:
    fewest = min(len(running_up(between, order)) for order in permutations("abcdef"))
    assert fewest_running_up(between) == fewest


def test_a_circle_too_large_to_order_is_refused() -> None:
    ring = [(str(number), str((number + 1) % 21)) for number in range(21)]
    with pytest.raises(ValueError, match=r"^A circle of 21 rooms is too large to order: at most 20\.$"):
        fewest_running_up(ring)


def test_the_table_says_against_what_was_counted() -> None:
    graph = graph_of(("p.a", "p.b"), ("p.b", "p.a"), ("p.b.x", "p.c"))
    rows = table([("then", count(graph, "p", None)), ("now", count(graph, "p", (("a",), ("b",), ("c",))))])
    assert rows.splitlines()[2:] == [
        "| then | `p` | 3 | 3 | 1 | 1 (2 rooms) | 1 (2 modules) | best order |",
        "| now | `p` | 3 | 3 | 1 | 1 (2 rooms) | 1 (2 modules) | declared |",
    ]


def test_the_command_counts_a_checkout_without_floors(tmp_path: Path) -> None:
    for package in ("ovdiff", "converters", "backend"):
        (tmp_path / package).mkdir()
        for name, text in {"__init__": "", "low": "", "high": f"from {package} import low"}.items():
            (tmp_path / package / f"{name}.py").write_text(text, "utf-8")
    assert declared_floors(tmp_path) == {}
    command = [sys.executable, "-m", "benchmarks.rooms", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"| {tmp_path.name} | `ovdiff` | 2 | 1 | 0 | 0 | 0 | best order |" in printed


def test_floors_are_read_from_the_checkout_that_declares_them() -> None:
    assert set(declared_floors(ROOT)) == {"ovdiff", "converters", "backend"}


def test_a_package_from_another_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^The package 'converters' was looked for in .* Run this from that checkout"):
        import_graph(tmp_path, ["converters"])


def test_architecture_tells_what_is_counted_now() -> None:
    graph = import_graph(ROOT)
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for package in PACKAGES:
        row = f"| `{package}`, now | {len(rooms(graph, package))} | {len(arrows(graph, package))} | 0 | 0 | 0 |"
        assert row in text, f"`python -m benchmarks.rooms` counts otherwise: {row}"
