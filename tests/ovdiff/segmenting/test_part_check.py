from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff import Bank, Engine, load_preset
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.segmenting_settings import PartCheckSettings
from ovdiff.segmentation import PartEvidence
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.part_check import (
    Part,
    _in_fragments,
    _nearest_part,
    check_parts,
    cut_crop,
    find_parts,
    leave_uncertain_stuff,
    redecide,
    to_background,
)
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.tinyworld.world import NAMES, render, sample_scene
from ovdiff.vocabulary import Category, Vocabulary

SETTINGS = PartCheckSettings(enabled=True, min_part_px=2, crop_px=8)


def test_parts_are_connected_and_not_too_small() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:3, 1:4] = mask[4:6, 5:8] = mask[0, 7] = True
    parts = find_parts(mask, 3, SETTINGS)
    assert [part.box for part in parts] == [(1, 3, 1, 4), (4, 6, 5, 8)]
    assert [int(part.mask.sum()) for part in parts] == [6, 6]
    assert {part.label for part in parts} == {3}
    assert find_parts(mask, 3, replace(SETTINGS, min_part_px=7)) == []


def test_a_bonus_changes_the_thing_and_moves_no_border() -> None:
    scores = torch.tensor([[[0.5, 0.2]], [[0.4, 0.6]], [[0.3, 0.55]]])  # background and two things, at two pixels
    bonus = torch.tensor([[[0.0, -4.0]], [[0.0, 0.0]]])
    decided = redecide(scores, [1, 2], bonus, pixel_scale=20.0)
    assert decided.argmax(dim=0).tolist() == [[0, 2]]  # .6 - 4 / 20 is less than .55
    torch.testing.assert_close(decided[1:].amax(dim=0), scores[1:].amax(dim=0))
    assert scores[1, 0, 1] == pytest.approx(0.6)  # The input is left alone.
    kept = redecide(scores, [1, 2], bonus, pixel_scale=200.0)
    assert kept.argmax(dim=0).tolist() == [[0, 1]]  # pixels weigh ten times as much


def test_specks_of_things_become_background(preset: Preset, models: LoadedModels) -> None:
    parts = SegmentingParts(preset_with(preset, min_part_px=4), models)
    scores = torch.full((3, 8, 8), 0.1)
    scores[0] = 0.5
    scores[1, 0, :3] = 0.9  # three pixels of the first thing, alone
    scores[1, 4:6, :3] = scores[2, 6, 0] = 0.9  # six of it, and one of the second thing that touches them
    encoded = EncodedImage((8, 8), np.zeros((8, 8, 3), dtype=np.uint8), {}, None)
    words = Vocabulary((Category("ball"), Category("boat")))
    with models.lock:
        maps, seen = check_parts(parts, encoded, ScoreMaps(scores, (0, 1, 2)), Competition(words, 2), frozenset())
    found = maps.scores.argmax(dim=0)
    assert not found[0].any()
    assert np.count_nonzero(found) == 7
    assert len(seen) == 1


def test_fragments_follow_the_part_that_is_nearest() -> None:
    """A ball in fragments of many words must not stay one of these words where a fragment is too small to be seen."""
    large, far = np.zeros((6, 12), dtype=bool), np.zeros((6, 12), dtype=bool)
    large[1:4, 0:4], far[1:4, 9:12] = True, True
    parts = [Part(large, (1, 4, 0, 4), 1), Part(far, (1, 4, 9, 12), 2)]
    nearest = _nearest_part(parts, (6, 12))
    assert (nearest[2, 5], nearest[2, 8], nearest[5, 0]) == (0, 1, 0)


def test_a_region_of_fragments_alone_is_one_part_of_its_commonest_word() -> None:
    best = np.zeros((4, 6), dtype=int)
    best[0, :3], best[1, :2], best[3, 4:] = 1, 2, 3
    region = find_parts(best > 0, 0, SETTINGS)
    found = _in_fragments(region, [Part(best == 3, (3, 4, 4, 6), 3)], best)
    assert [(part.label, part.box) for part in found] == [(1, (0, 2, 0, 3))]


def preset_with(preset: Preset, **check: object) -> Preset:
    return replace(preset, part_check=PartCheckSettings(enabled=True, crop_px=64, **check))  # type: ignore[arg-type]


def test_background_takes_the_things_of_a_part_and_no_stuff() -> None:
    scores = torch.tensor([[[0.1, 0.1, 0.1]], [[0.7, 0.2, 0.7]], [[0.3, 0.8, 0.3]]])  # background, thing, stuff
    changed = to_background(scores, torch.tensor([[True, True, False]]), [1])
    assert changed.argmax(dim=0).tolist() == [[0, 2, 1]]


def _stuff_maps(shares: Sequence[float], margins: Sequence[float]) -> ScoreMaps:
    """Label 1 on all but the given shares of 100 pixels, which labels 2, 3 ... win by the given margins."""
    scores = torch.full((1 + len(shares), 10, 10), -0.9)
    scores[0] = 0.5
    flat, start = scores.flatten(1), 0
    for row, (share, margin) in enumerate(zip(shares, margins, strict=True), start=1):
        flat[row, start : start + round(100 * share)] = 0.5 + margin
        start += round(100 * share)
    return ScoreMaps(flat.view_as(scores), tuple(range(1, 2 + len(shares))))


def test_stuff_that_is_small_and_uncertain_goes_to_the_runner_up() -> None:
    settings = replace(SETTINGS, stuff_min_share=0.05, stuff_min_margin=0.04)
    maps = _stuff_maps([0.04, 0.04, 0.20], [0.03, 0.10, 0.03])  # small and uncertain; small; uncertain
    found = leave_uncertain_stuff(maps, frozenset({0, 1, 2, 3}), settings).scores.argmax(dim=0)
    assert np.bincount(found.flatten(), minlength=4).tolist() == [76, 0, 4, 20]
    untouched = leave_uncertain_stuff(maps, frozenset({0, 1, 2, 3}), replace(settings, stuff_min_share=0.0))
    assert torch.equal(untouched.scores, maps.scores)
    things = leave_uncertain_stuff(maps, frozenset({0}), settings).scores
    assert torch.equal(things, maps.scores)


@pytest.mark.parametrize(("wider", "rows", "columns"), [(0.0, (4, 8), (4, 8)), (1.0, (2, 10), (2, 10))])
def test_a_crop_is_the_box_with_its_surroundings(wider: float, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    crop = cut_crop(image, (4, 8, 4, 8), wider, replace(SETTINGS, crop_px=rows[1] - rows[0]))
    np.testing.assert_array_equal(crop, image[slice(*rows), slice(*columns)])


def test_a_narrow_box_is_widened_and_a_crop_ends_at_the_border() -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    image[:, 5:15] = 255
    narrow = cut_crop(image, (0, 20, 9, 11), 0.0, replace(SETTINGS, min_aspect=0.5, crop_px=20))
    assert narrow.shape == (20, 20, 3)
    assert narrow.min() > 250  # the crop is 10 px wide, which is all white
    thin = cut_crop(image, (0, 20, 4, 6), 0.0, replace(SETTINGS, min_aspect=0.0, crop_px=20))
    assert thin[:, :5].max() == 0  # the left one of its two columns, enlarged


# The real models of the drawn world, without prototype sets of anchors: CLIP alone rules out what is not there.

BOAT_AND_WATER = Vocabulary((Category("boat"), Category("water")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bank")


def _engine(folder: Path, models: LoadedModels, **check: object) -> Engine:
    preset = load_preset("tinyworld")
    preset = replace(preset, part_check=replace(preset.part_check, **check))  # type: ignore[arg-type]
    engine = Engine(preset, Bank(folder), models=models)
    for category in BOAT_AND_WATER.categories:
        engine.build(category)
    return engine


def _scenes(count: int) -> list[tuple[NDArray[np.uint8], float]]:
    """Scenes of the `thresholds` split with clear things of which none is a boat, and one scene with a boat."""
    found = [render(sample_scene(number, "thresholds", 3), 256) for number in range(60)]
    boats = [float((each.label_map == NAMES.index("boat")).mean()) for each in found]
    without = [each.image for each, share in zip(found, boats, strict=True) if share == 0][:count]
    with_boat = max(range(len(found)), key=lambda number: boats[number])
    return [(image, 0.0) for image in without] + [(found[with_boat].image, boats[with_boat])]


@pytest.mark.slow
def test_things_that_nobody_asked_for_are_not_painted_as_the_only_thing_that_was_asked_for(
    folder: Path, models: LoadedModels
) -> None:
    checked, by_pixels = _engine(folder, models), _engine(folder, models, enabled=False)
    painted: dict[bool, list[float]] = {True: [], False: []}
    evidence: list[PartEvidence] = []
    for image, share in _scenes(6):
        encoded = checked.encode(image)  # which the check has no part in
        found = checked.label(encoded, BOAT_AND_WATER)
        if share:
            assert abs(float(found.mask(0).mean()) - share) < 0.6 * share
        else:
            painted[True].append(float(found.mask(0).mean()))
            painted[False].append(float(by_pixels.label(encoded, BOAT_AND_WATER).mask(0).mean()))
            evidence += found.parts
    assert sum(area > 0.005 for area in painted[False]) >= 4  # what the check is for
    assert sum(area > 0.005 for area in painted[True]) <= 2
    assert sum(painted[True]) < 0.3 * sum(painted[False])
    ruled_out = [part for part in evidence if part.by_pixels == "boat" and part.became is None]
    assert ruled_out
    for part in ruled_out:
        shares = dict(part.shares)
        assert shares["boat"] < 0.3 * max(shares.values())
        assert 0 <= part.box[0] < part.box[2] <= 1 and 0 < part.area_share < 1
