"""Which datasets there are."""

import sys
from collections.abc import Callable
from importlib import metadata
from types import ModuleType

import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation import catalogue
from ovdiff.evaluation.catalogue import BUILT_IN, dataset_kind, dataset_names
from ovdiff.evaluation.datasets.drawn import CATEGORIES, USUAL

Adds = Callable[..., None]


@pytest.fixture
def adds(monkeypatch: pytest.MonkeyPatch) -> Adds:
    """Return what makes installed packages add datasets, by their entry points."""

    def add(*values: str, name: str = "plankton") -> None:
        entries = [metadata.EntryPoint(name, value, catalogue.GROUP) for value in values]

        def entry_points(*, group: str, name: str = "") -> list[metadata.EntryPoint]:
            assert group == catalogue.GROUP
            return [entry for entry in entries if entry.name == (name or entry.name)]

        monkeypatch.setattr(metadata, "entry_points", entry_points)

    return add


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_each_built_in_dataset_has_its_name_and_a_vocabulary(name: str) -> None:
    kind = dataset_kind(name)
    assert kind.name == name
    assert len(kind.vocabulary.categories) == len(kind.categories)
    assert kind.title
    assert kind.obtain or not kind.needs_folder


def test_another_package_adds_a_dataset(adds: Adds, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("plankton")
    module.PLANKTON = USUAL  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plankton", module)
    adds("plankton:PLANKTON")
    assert "plankton" in dataset_names()
    assert dataset_kind("plankton") is USUAL


def test_an_unknown_dataset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match=r"no dataset 'voc2121'. Known: .*drawn"):
        dataset_kind("voc2121")


def test_a_dataset_that_cannot_be_imported_is_named(adds: Adds) -> None:
    adds("no_such_package:PLANKTON")
    with pytest.raises(DatasetError, match=r"'plankton' \(no_such_package:PLANKTON\) cannot be imported"):
        dataset_kind("plankton")


def test_an_object_that_is_no_dataset_is_refused(adds: Adds) -> None:
    adds("ovdiff.evaluation.datasets.drawn:CATEGORIES")
    assert CATEGORIES
    with pytest.raises(DatasetError, match="is tuple; expected a DatasetKind"):
        dataset_kind("plankton")


def test_a_dataset_of_two_packages_is_refused(adds: Adds) -> None:
    adds("one:A", "two:B")
    with pytest.raises(DatasetError, match="Several packages add the dataset 'plankton': one:A, two:B"):
        dataset_kind("plankton")
