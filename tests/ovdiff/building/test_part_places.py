"""Part prototypes are the means of the places that are found for them: the test of k-means' own fixed point."""

from dataclasses import replace

import numpy as np
import pytest

from ovdiff.bank.prototypes import FeatureSpacePrototypes
from ovdiff.bank.support import SupportSet
from ovdiff.building.part_places import NO_PART, part_places
from ovdiff.building.parts import BuildingParts
from ovdiff.building.prototypes import cell_mask
from ovdiff.building.steps import make_prototype_set, make_support_set, masked_features
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset

NAME = "clip"


@pytest.fixture(scope="module")
def parts(preset: Preset) -> BuildingParts:
    used = replace(preset.extractors, use=(NAME,))
    return BuildingParts(
        replace(preset, extractors=used, prototypes=replace(preset.prototypes, parts=4)), LoadedModels()
    )


@pytest.fixture(scope="module")
def support(parts: BuildingParts) -> SupportSet:
    """The second image shows nothing, so its background gives no prototype either."""
    drawn = make_support_set(parts, ["boat"], lambda *_: None).images
    return SupportSet((drawn[0], replace(drawn[1], foreground=np.zeros_like(drawn[1].foreground)), drawn[2]))


@pytest.fixture(scope="module")
def space(parts: BuildingParts, support: SupportSet) -> FeatureSpacePrototypes:
    return make_prototype_set(parts, support, lambda *_: None).spaces[NAME]


@pytest.mark.parametrize("side", ["foreground", "background"])
def test_each_part_prototype_is_the_mean_of_its_places(
    parts: BuildingParts, support: SupportSet, space: FeatureSpacePrototypes, side: str
) -> None:
    index = ("foreground", "background").index(side)
    maps = [both[index] for both in part_places(parts, NAME, support.images, space)]
    features = [both[index] for both in masked_features(parts, NAME, support.images)]
    stored = getattr(space, side)
    numbers = np.flatnonzero(stored.kinds == 2)
    assert len(numbers) == 4
    assert {int(number) for each in maps for number in np.unique(each)} == {NO_PART, *numbers.tolist()}
    for number in numbers:
        rows = np.concatenate([one.rows[each[one.cells] == number] for one, each in zip(features, maps, strict=True)])
        np.testing.assert_allclose(rows.mean(axis=0), stored.vectors[number], rtol=1e-3, atol=1e-3)


def test_cells_outside_of_the_side_have_no_part(
    parts: BuildingParts, support: SupportSet, space: FeatureSpacePrototypes
) -> None:
    for item, maps in zip(support.images, part_places(parts, NAME, support.images, space), strict=True):
        for mask, found in zip((item.foreground, item.background), maps, strict=True):
            covered = cell_mask(mask, found.shape, parts.preset.prototypes.mask_coverage)
            shown = item.foreground.any()
            np.testing.assert_array_equal(found != NO_PART, covered if shown else np.zeros_like(covered))


def test_a_set_without_parts_has_no_places(
    parts: BuildingParts, support: SupportSet, space: FeatureSpacePrototypes
) -> None:
    whole = FeatureSpacePrototypes(space.foreground.of_kinds(("class", "instance")), space.background)
    found = part_places(parts, NAME, support.images, whole)
    assert all((foreground == NO_PART).all() for foreground, _ in found)
    assert any((background != NO_PART).any() for _, background in found)
