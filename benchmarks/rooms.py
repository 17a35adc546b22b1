"""Count the house: rooms, the arrows between them, those that run up, and circles. About a second a checkout.

    python -m benchmarks.rooms [CHECKOUT ...]        # Markdown; without a checkout, the current folder

To compare with an earlier state: ``git worktree add ../before COMMIT``, then name both folders. What is counted:

- A *room* is a direct child of a package: a module or a folder. The package's own ``__init__`` is one too, called so,
  where an arrow begins or ends in it.
- An *arrow* leads from a room to another if at least one module of the one imports a module of the other: anywhere in
  the file, in functions, under ``TYPE_CHECKING`` and by string too (`benchmarks.import_graph`). That importing
  ``a.b.c`` also runs ``a/__init__.py`` makes no arrow.
- An arrow *runs up* unless it leads to a lower floor; one to a neighbour on the same floor counts too. Floors are those
  that the checkout declares in ``tests/boundaries/test_floors.py``. A checkout that declares none is measured against
  the order of its rooms in which the fewest arrows run up (exact, by dynamic programming).
- A *circle* is a set of rooms (or of modules) in which each reaches every other, as large as it gets; the table says
  how many rooms stand in circles. Several loops through the same room are one circle.
"""

import argparse
import ast
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grimp

from benchmarks.import_graph import PACKAGES, import_graph, unseen_files

FACE = "__init__"
"""The room that is a package's own ``__init__``."""
Arrow = tuple[str, str]
Floors = Sequence[Sequence[str]]
"""The rooms of each floor, the top floor first."""
_DECLARED_IN = "tests/boundaries/test_floors.py"
_LARGEST_CIRCLE = 20  # 2^n steps: a second for 16 rooms, half a minute for 20


def package_of(module: str) -> str:
    """Return the package of a module: the first part of its dotted name."""
    return module.partition(".")[0]


def room_of(module: str) -> str:
    """Return the room of a module: the part of its dotted name after the package's."""
    return (*module.split("."), FACE)[1]


def module_imports(graph: grimp.ImportGraph, package: str) -> set[Arrow]:
    """Return who imports whom, among the modules of a package."""
    own = {module for module in graph.modules if package_of(module) == package}
    return {(module, other) for module in own for other in graph.find_modules_directly_imported_by(module) & own}


def arrows(graph: grimp.ImportGraph, package: str) -> dict[Arrow, list[Arrow]]:
    """Return the arrows between a package's rooms, each with the imports that it stands for."""
    found: dict[Arrow, list[Arrow]] = defaultdict(list)
    for module, other in sorted(module_imports(graph, package)):
        if room_of(module) != room_of(other):
            found[room_of(module), room_of(other)].append((module, other))
    return dict(found)


def rooms(graph: grimp.ImportGraph, package: str) -> set[str]:
    """Return a package's rooms."""
    children = {room_of(module) for module in graph.modules if module.startswith(f"{package}.")}
    return children | {room for arrow in arrows(graph, package) for room in arrow}


def running_up(between: Iterable[Arrow], floors: Floors) -> list[Arrow]:
    """Return the arrows that do not lead to a lower floor.

    Raises:
        ValueError: an arrow's room stands on no floor.
    """
    depth = {room: number for number, floor in enumerate(floors) for room in floor}
    between = sorted(between)
    if homeless := {room for arrow in between for room in arrow} - set(depth):
        raise ValueError(f"Rooms on no floor: {', '.join(sorted(homeless))}. Add them to FLOORS in {_DECLARED_IN}.")
    return [(room, other) for room, other in between if depth[room] >= depth[other]]


def circles(between: Iterable[Arrow]) -> list[list[str]]:
    """Return the circles of a graph: largest sets of more than one node in which each reaches every other."""
    following: dict[str, set[str]] = defaultdict(set)
    for node, other in between:
        following[node].add(other)
    reached = {node: _reached_from(node, following) for node in list(following)}
    groups = {
        frozenset(other for other in reach if node in reached.get(other, ()))
        for node, reach in reached.items()
        if node in reach
    }
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reached_from(node: str, following: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [node]
    while waiting:
        new = following.get(waiting.pop(), set()) - reached
        reached |= new
        waiting.extend(new)
    return reached


def fewest_running_up(between: Collection[Arrow]) -> int:
    """Return how many arrows run up in the best order of the rooms; only those within circles can.

    Raises:
        ValueError: a circle is too large for the exact count.
    """
    return sum(
        _fewest_within(circle, [arrow for arrow in between if set(arrow) <= set(circle)]) for circle in circles(between)
    )


def _fewest_within(circle: Sequence[str], between: Iterable[Arrow]) -> int:
    """Fill a house of one room a floor from the ground: fewest[s] is the least cost of the set s at the bottom.

    A room that comes to stand upon the set s costs one for each of its rooms that imports the newcomer.
    """
    if len(circle) > _LARGEST_CIRCLE:
        raise ValueError(f"A circle of {len(circle)} rooms is too large to order: at most {_LARGEST_CIRCLE}.")
    bit = {room: 1 << number for number, room in enumerate(circle)}
    importers = {bit[room]: 0 for room in circle}
    for room, other in between:
        importers[bit[other]] |= bit[room]
    fewest = [0] * (1 << len(circle))
    for below in range(1, len(fewest)):
        fewest[below] = min(
            fewest[below ^ top] + ((below ^ top) & who).bit_count() for top, who in importers.items() if below & top
        )
    return fewest[-1]


def declared_floors(root: Path) -> dict[str, Floors]:
    """Return the floors that a checkout declares, or nothing; its test module is read, not run."""
    file = root / _DECLARED_IN
    if not file.is_file():
        return {}
    for statement in ast.parse(file.read_text("utf-8")).body:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.AnnAssign) and isinstance(target, ast.Name) and target.id == "FLOORS":
            floors: dict[str, Floors] = ast.literal_eval(statement.value) if statement.value else {}
            return floors
    return {}


@dataclass(frozen=True)
class PackageCount:
    """What was counted in a package; `floors` says against what arrows run up: ``declared`` or ``best order``."""

    package: str
    rooms: int
    arrows: int
    running_up: int
    floors: str
    circles: list[list[str]]
    module_circles: list[list[str]]


def count(graph: grimp.ImportGraph, package: str, floors: Floors | None) -> PackageCount:
    """Count a package's rooms, arrows and circles, against its floors or, without any, the best order."""
    between = arrows(graph, package)
    return PackageCount(
        package,
        len(rooms(graph, package)),
        len(between),
        fewest_running_up(between) if floors is None else len(running_up(between, floors)),
        "best order" if floors is None else "declared",
        circles(between),
        circles(module_imports(graph, package)),
    )


def table(counts: Iterable[tuple[str, PackageCount]]) -> str:
    """Return a Markdown table, one row a checkout (by its name) and package."""
    lines = [
        "| checkout | package | rooms | arrows | run up | circles of rooms | circles of modules | floors |",
        "| --- | --- | --: | --: | --: | --: | --: | --- |",
    ]
    for name, c in counts:
        of_rooms, of_modules = _in_words(c.circles, "rooms"), _in_words(c.module_circles, "modules")
        lines.append(
            f"| {name} | `{c.package}` | {c.rooms} | {c.arrows} | {c.running_up} | {of_rooms} | {of_modules} "
            f"| {c.floors} |"
        )
    return "\n".join(lines)


def _in_words(found: list[list[str]], noun: str) -> str:
    return f"{len(found)} ({sum(map(len, found))} {noun})" if found else "0"


def checkout_name(root: Path) -> str:
    """Return the short commit of a checkout, or the name of a folder that is none."""
    if not (root / ".git").exists():
        return root.resolve().name
    git = ["git", "-C", str(root), "describe", "--always", "--dirty=, changed"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.rooms", description="Count rooms, arrows and circles.")
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path()], metavar="CHECKOUT")
    counted = []
    for root in parser.parse_args(words).checkouts:
        graph, floors = import_graph(root), declared_floors(root)
        if unseen := unseen_files(graph, root):
            parser.error(f"Not counted, because in a folder without __init__.py or named as no module: {unseen}.")
        counted += [(checkout_name(root), count(graph, package, floors.get(package))) for package in PACKAGES]
    print(table(counted))


if __name__ == "__main__":
    main()
