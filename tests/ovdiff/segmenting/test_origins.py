"""Each row of a table says which prototype it is, through every filter and every join."""

import numpy as np
import pytest
import torch

from ovdiff.bank.prototypes import KINDS, FeatureSpacePrototypes, Prototypes
from ovdiff.presets.building_settings import PrototypeKind
from ovdiff.segmenting.origins import NOT_STORED, joined, stored_origins
from ovdiff.segmenting.segmenter import BACKGROUND, PrototypeTable, make_table

ALL: tuple[PrototypeKind, ...] = ("class", "instance", "part")
DEPTH = 6


def _side(images: tuple[int, ...], parts: int, seed: int) -> Prototypes:
    """A side as it is stored: class, then an instance for each image, then parts."""
    kinds = np.repeat(np.arange(3, dtype=np.uint8), [1, len(images), parts])
    numbers = np.array([-1, *images, *([-1] * parts)], dtype=np.int32)
    vectors = np.random.default_rng(seed).normal(size=(len(kinds), DEPTH)).astype(np.float32)
    return Prototypes(vectors, kinds, numbers)


@pytest.fixture
def sets() -> list[FeatureSpacePrototypes]:
    """Three categories; some support images gave no prototype, so numbers of images have gaps."""
    return [
        FeatureSpacePrototypes(_side((0, 2, 5), 3, 0), _side((2, 5), 2, 1)),
        FeatureSpacePrototypes(_side((1, 3), 2, 2), _side((1,), 1, 3)),
        FeatureSpacePrototypes(_side((4,), 1, 4), _side((4,), 2, 5)),
    ]


def _check(table: PrototypeTable, sets: list[FeatureSpacePrototypes]) -> None:
    """Look each row up where its origin says that it is stored."""
    for row, vector in enumerate(table.vectors):
        origin = table.origin(row)
        stored = getattr(sets[origin.owner], origin.side)
        assert origin.number is not None
        torch.testing.assert_close(vector * np.linalg.norm(stored.vectors[origin.number]).item(),
                                   torch.from_numpy(stored.vectors[origin.number]))  # fmt: skip
        assert origin.kind == KINDS[stored.kinds[origin.number]]
        assert origin.image == (stored.images[origin.number] if origin.kind == "instance" else None)
        assert (table.classes[row] == BACKGROUND) == (origin.side == "background")


@pytest.mark.parametrize("kinds", [ALL, ("instance",), ("part", "class")])
def test_each_row_is_the_stored_prototype_that_its_origin_names(
    sets: list[FeatureSpacePrototypes], kinds: tuple[PrototypeKind, ...]
) -> None:
    table = make_table(sets, {2}, kinds=kinds)
    _check(table, sets)
    assert {table.origin(row).kind for row in range(len(table.vectors))} == set(kinds)


def test_origins_go_along_through_gate_stuff_filter_and_device(sets: list[FeatureSpacePrototypes]) -> None:
    table = make_table(sets, {2}, kinds=ALL)
    stuff_like = FeatureSpacePrototypes(sets[2].background, sets[2].background)
    alike = [sets[0], FeatureSpacePrototypes(sets[1].foreground, sets[0].background), stuff_like]
    _check(table.gated([1, 2]).to(torch.device("cpu")), sets)
    filtered = make_table(alike, {1}, kinds=ALL).without_stuff_in_background({1}, 0.3, torch.device("cpu"))
    assert len(filtered.vectors) < len(make_table(alike, {1}, kinds=ALL).vectors)
    _check(filtered, alike)


def test_joining_keeps_order_and_types() -> None:
    stored = stored_origins(_side((0,), 1, 0), ALL)
    both = joined([stored, stored.taken(np.array([1]))])
    assert both.kinds.dtype == np.uint8 and both.numbers.dtype == both.images.dtype == np.int32
    assert both.numbers.tolist() == [0, 1, 2, 1] and both.images.tolist() == [NOT_STORED, 0, NOT_STORED, 0]
