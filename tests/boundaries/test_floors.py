"""The floors of the house: imports run down, none in a circle; each rule is shown to be able to fail.

A room is a direct child of a package (`benchmarks.rooms` defines it and counts the house). Rooms on one floor do not
import one another. A new room is added here, on a floor above all that it imports.
"""

from collections.abc import Callable

import grimp
import pytest

from benchmarks.rooms import FACE, arrows, circles, module_imports, package_of, rooms, running_up
from tests.boundaries.conftest import Plant

FLOORS: dict[str, tuple[tuple[str, ...], ...]] = {  # The top floor first. A literal: `benchmarks.rooms` reads it.
    "ovdiff": (
        ("__init__",),
        ("api", "calibration", "blast_radius", "evaluation"),
        ("distributed",),
        ("engines",),
        ("engine", "odise", "baselines"),
        ("explaining", "forecasting", "learning", "novelties"),
        ("building", "segmenting"),
        ("proposals",),
        ("bank", "extractors"),
        ("models", "curation", "without_prototypes"),
        ("vocabulary", "tinyworld", "segmentation"),
        ("region_scores",),
        ("presets", "images", "storage", "planning"),
        ("extras", "garbage"),
        ("errors",),
    ),
    "converters": (
        ("__main__",),
        ("cli",),
        ("commands",),
        ("report", "console", "option_values"),
        ("datasets", "corrections"),
        ("label_studio",),
        ("selection",),
        ("records",),
        ("files", "metrics"),
        ("encodings", "workers"),
        ("errors",),
    ),
    "backend": (
        ("command", "demo"),
        ("pages", "doctor"),
        ("serving",),
        ("sources", "engine", "presentation"),
        ("settings", "logs"),
        ("errors", "__init__"),
    ),
}

# The two halves of the method meet in the engine alone: what builds sees no window, what segments sees no generator.
# The baselines use the windows and the clean-up of the right half, and nothing of the left one.
SEEN_BY_A_HALF = {
    "bank",
    "curation",
    "models",
    "extractors",
    "proposals",
    "presets",
    "vocabulary",
    "extras",
    "garbage",
    "images",
    "storage",
    "errors",
    "region_scores",
    "segmentation",
}
SEES_THE_HALVES = {"engine", "baselines", "explaining", "forecasting", "learning", "novelties"}
HALVES = ("building", "segmenting")


def misplaced(graph: grimp.ImportGraph, package: str) -> set[str]:
    """Return the rooms that stand on no floor, and the names on a floor that are no room's, or stand there twice."""
    placed = [room for floor in FLOORS[package] for room in floor]
    return (rooms(graph, package) ^ set(placed)) | {room for room in placed if placed.count(room) > 1}


def imports_up(graph: grimp.ImportGraph, package: str) -> list[str]:
    """Say which imports do not lead to a lower floor."""
    between = arrows(graph, package)
    return [
        f"{module} imports {imported}, but {room} does not stand above {other}"
        for room, other in running_up(between, FLOORS[package])
        for module, imported in between[room, other]
    ]


def beyond_its_half(graph: grimp.ImportGraph) -> list[str]:
    """Say which imports between ovdiff's rooms reach into a half, or out of it, where they should not."""
    return [
        f"{module} imports {imported}"
        for (room, other), imports in arrows(graph, "ovdiff").items()
        if (room in HALVES and other not in SEEN_BY_A_HALF) or (other in HALVES and room not in SEES_THE_HALVES)
        for module, imported in imports
    ]


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_every_room_stands_on_a_floor(house: grimp.ImportGraph, package: str) -> None:
    assert misplaced(house, package) == set(), "FLOORS must name each room once"


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_no_import_runs_up(house: grimp.ImportGraph, package: str) -> None:
    assert imports_up(house, package) == []


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_no_circle_between_rooms(house: grimp.ImportGraph, package: str) -> None:
    assert circles(arrows(house, package)) == []


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_no_circle_between_modules(house: grimp.ImportGraph, package: str) -> None:
    assert circles(module_imports(house, package)) == []


def test_the_halves_of_the_method_meet_in_the_engine(house: grimp.ImportGraph) -> None:
    assert beyond_its_half(house) == []


# The rules above would pass on an empty house; these show that they can fail.


def test_meta_the_house_is_not_empty(house: grimp.ImportGraph) -> None:
    assert ("ovdiff.engine.halves", "ovdiff.building.steps") in module_imports(house, "ovdiff")
    assert FACE in rooms(house, "ovdiff")
    assert {package for package in FLOORS if len(arrows(house, package)) > 10} == set(FLOORS)


def test_meta_a_room_without_a_floor_is_seen(plant: Plant) -> None:
    assert "attic" in misplaced(plant("ovdiff.attic.loft", "ovdiff.errors"), "ovdiff")
    assert "attic" in misplaced(plant("converters.attic", "converters.errors"), "converters")
    assert FACE in misplaced(plant("converters", "converters.errors"), "converters")


def test_meta_a_name_on_a_floor_that_is_no_room_is_seen(house: grimp.ImportGraph) -> None:
    smaller = grimp.ImportGraph()
    for module in (name for name in house.modules if not name.startswith("backend.settings")):
        smaller.add_module(module)
    assert "settings" in misplaced(smaller, "backend")


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("ovdiff.errors", "ovdiff.engine"),
        ("ovdiff.presets.text", "ovdiff.models.keys"),
        ("ovdiff.bank.files", "ovdiff"),
        ("ovdiff.bank.files", "ovdiff.extractors.clip"),
        ("converters.encodings.brush", "converters.files.png"),
        ("converters.datasets.coco", "converters.corrections.pairs"),
        ("backend.settings", "backend.serving.http.app"),
        ("backend.command.cli", "backend.demo.run"),
    ],
)
def test_meta_an_import_up_or_to_a_neighbour_is_seen(plant: Plant, importer: str, imported: str) -> None:
    offences = imports_up(plant(importer, imported), package_of(importer))
    assert [offence for offence in offences if offence.startswith(f"{importer} imports {imported}, but ")]


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("ovdiff.segmenting.windows", "ovdiff.building.generation.diffusion"),
        ("ovdiff.building.steps", "ovdiff.segmenting.windows"),
        ("ovdiff.building.steps", "ovdiff.tinyworld.world"),
        ("ovdiff", "ovdiff.building.steps"),
    ],
)
def test_meta_a_half_that_sees_too_much_is_seen(plant: Plant, importer: str, imported: str) -> None:
    assert f"{importer} imports {imported}" in beyond_its_half(plant(importer, imported))


@pytest.mark.parametrize("between", [arrows, module_imports])
def test_meta_a_circle_is_seen(
    plant: Plant, between: Callable[[grimp.ImportGraph, str], dict[tuple[str, str], object]]
) -> None:
    found = circles(between(plant("converters.errors", "converters.cli"), "converters"))
    assert len(found) == 1
    assert {"errors", "cli"} <= {module.split(".")[-1] for module in found[0]}
