"""Eq. 4 against a slow reference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes
from ovdiff.models.pamr import pamr
from ovdiff.presets.building_settings import PrototypeKind
from ovdiff.presets.segmenting_settings import RefineSettings
from ovdiff.segmenting import segmenter
from ovdiff.segmenting.segmenter import (
    BACKGROUND,
    ScoreMerger,
    class_scores,
    class_scores_with_rows,
    decide,
    make_table,
)
from ovdiff.segmenting.windows import Window

ALL: tuple[PrototypeKind, ...] = ("class", "instance", "part")
DEPTH = 5
CPU = torch.device("cpu")


def _side(count: int, seed: int) -> Prototypes:
    vectors = np.random.default_rng(seed).normal(size=(count, DEPTH)).astype(np.float32) * 4
    return Prototypes(vectors, (np.arange(count) % 3).astype(np.uint8), np.full(count, -1, np.int32))


@pytest.fixture
def sets() -> list[FeatureSpacePrototypes]:
    """Three categories; the third has no background prototypes."""
    return [FeatureSpacePrototypes(_side(4, s), _side(3 * (s < 2), s + 10)) for s in range(3)]


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def _slow_scores(
    features: Tensor, sets: list[FeatureSpacePrototypes], candidates: list[int], stuff: set[int]
) -> np.ndarray:
    """Eq. 4's score of background and each candidate at each place, by its definition."""
    banks = [[row for c in candidates if c not in stuff for row in sets[c].background.vectors]]
    banks += [list(sets[c].foreground.vectors) for c in candidates]
    places = features.permute(0, 2, 3, 1).reshape(-1, DEPTH).numpy()
    flat = [[max((_cosine(place, row) for row in bank), default=-1.0) for bank in banks] for place in places]
    count, _, height, width = features.shape
    return np.array(flat).reshape(count, height, width, -1).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("candidates", [[0, 1, 2], [0, 2], [1], [2]])
@pytest.mark.parametrize("stuff", [set(), {1}])
def test_scores_are_the_slow_reference_s(
    sets: list[FeatureSpacePrototypes], candidates: list[int], stuff: set[int]
) -> None:
    features = torch.randn(2, DEPTH, 3, 4, generator=torch.Generator().manual_seed(0))
    table = make_table(sets, stuff, kinds=ALL).gated(candidates)
    found = class_scores(features, table, [BACKGROUND, *candidates])
    np.testing.assert_allclose(found.numpy(), _slow_scores(features, sets, candidates, stuff), atol=1e-5)


@pytest.mark.parametrize("chunk_bytes", [1, 4 * DEPTH * 5, 64 << 20])
def test_scores_do_not_depend_on_how_many_places_are_matched_at_once(
    sets: list[FeatureSpacePrototypes], chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenter, "_CHUNK_BYTES", chunk_bytes)
    features = torch.randn(2, DEPTH, 3, 4, generator=torch.Generator().manual_seed(0))
    found = class_scores(features, make_table(sets, set(), kinds=ALL), [BACKGROUND, 0, 1, 2])
    np.testing.assert_allclose(found.numpy(), _slow_scores(features, sets, [0, 1, 2], set()), atol=1e-5)


def test_features_may_be_half_precision(sets: list[FeatureSpacePrototypes]) -> None:
    features = torch.randn(1, DEPTH, 3, 4, generator=torch.Generator().manual_seed(0)).half()
    found = class_scores(features, make_table(sets, set(), kinds=ALL), [0, 1])
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), _slow_scores(features.float(), sets, [0, 1], set())[:, 1:], atol=1e-5)


@pytest.mark.parametrize("chunk_bytes", [4 * DEPTH * 5, 64 << 20])
def test_the_row_of_a_score_is_the_nearest_of_its_class(
    sets: list[FeatureSpacePrototypes], chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenter, "_CHUNK_BYTES", chunk_bytes)
    features = torch.randn(2, DEPTH, 3, 4, generator=torch.Generator().manual_seed(0))
    table, classes = make_table(sets, set(), kinds=ALL).gated([1, 2]), [BACKGROUND, 0, 1, 2]
    scores, rows = class_scores_with_rows(features, table, classes)
    torch.testing.assert_close(scores, class_scores(features, table, classes), rtol=0, atol=0)
    assert (rows[:, 1] == -1).all() and (scores[:, 1] == -1).all()  # the gate removed all rows of category 0
    for column in (0, 2, 3):
        assert set(table.classes[rows[:, column].numpy()].ravel()) == {classes[column]}
    cosines = torch.einsum("pd,bdhw->bphw", table.vectors, F.normalize(features, dim=1))
    torch.testing.assert_close(cosines.gather(1, rows[:, [0, 2, 3]]), scores[:, [0, 2, 3]])


def test_halved_cosines_are_near_and_the_same_in_any_batch(sets: list[FeatureSpacePrototypes]) -> None:
    table = make_table(sets, stuff=(), kinds=("class", "instance", "part"))
    maps = torch.randn(2, table.vectors.shape[1], 3, 5, generator=torch.Generator().manual_seed(2))
    classes = [segmenter.BACKGROUND, *range(len(sets))]
    exact, halved = (class_scores(maps, table, classes, halved=halved) for halved in (False, True))
    assert not torch.equal(exact, halved)
    torch.testing.assert_close(halved, exact, rtol=0, atol=1e-2)
    assert torch.equal(class_scores(maps[1:], table, classes, halved=True), halved[1:])


def test_the_largest_cosine_of_each_class_is_found_at_once_as_one_after_another(
    sets: list[FeatureSpacePrototypes],
) -> None:
    table = make_table(sets, stuff=(), kinds=("class", "instance", "part"))
    classes = [segmenter.BACKGROUND, *range(len(sets))]
    spans = [np.searchsorted(table.classes, [wanted, wanted + 1]).tolist() for wanted in classes]
    lengths = segmenter._lengths(spans, len(table.vectors), torch.device("cpu"))
    assert lengths is not None
    cosines = torch.randn(len(table.vectors), 7, generator=torch.Generator().manual_seed(0))
    found = segmenter.largest_of_each(cosines, lengths)
    assert torch.equal(found, torch.stack([cosines[start:end].amax(dim=0) for start, end in spans]))
    without_one = [*spans[:-1], [spans[-1][0], spans[-1][0]]]
    assert segmenter._lengths(without_one, len(table.vectors), torch.device("cpu")) is None
    assert segmenter._lengths([*spans[1:]], len(table.vectors), torch.device("cpu")) is None


def test_without_background_prototypes_none_are_in_the_table(sets: list[FeatureSpacePrototypes]) -> None:
    table = make_table(sets, set(), kinds=ALL, background=False)
    assert len(table.vectors) == 3 * 4 and table.classes.min() == 0
    np.testing.assert_array_equal(table.classes, table.owners)


def test_gate_excludes_background_prototypes_too(sets: list[FeatureSpacePrototypes]) -> None:
    table = make_table(sets, set(), kinds=ALL)
    assert len(table.vectors) == 3 * 4 + 2 * 3
    assert set(table.gated([1, 2]).owners) == {1, 2}
    assert (table.gated([1]).classes == BACKGROUND).sum() == 3


def test_stuff_filter_removes_only_background_rows_of_things_like_stuff() -> None:
    like_stuff = FeatureSpacePrototypes(_side(2, 0), Prototypes(_side(2, 5).vectors * 3, *_labels(2)))
    stuff = FeatureSpacePrototypes(_side(2, 5), _side(3, 6))
    other = FeatureSpacePrototypes(_side(2, 7), _side(1, 8))
    off = make_table([like_stuff, stuff, other], {1}, kinds=ALL)
    on = off.without_stuff_in_background({1}, 0.999, CPU)
    assert list(off.owners[off.classes == BACKGROUND]) == [0, 0, 2]
    assert list(on.owners[on.classes == BACKGROUND]) == [2]
    np.testing.assert_array_equal(off.classes[off.classes >= 0], on.classes[on.classes >= 0])


def _labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(count, np.uint8), np.full(count, -1, np.int32)


def test_kinds_restrict_both_sides(sets: list[FeatureSpacePrototypes]) -> None:
    table = make_table(sets, set(), kinds=("class",))
    assert len(table.vectors) == 3 * 2 + 2 * 1


def test_merging_is_the_mean_over_extractors_and_windows() -> None:
    random = torch.Generator().manual_seed(0)
    whole, left = Window(0, 0, 6, 8, weight=2), Window(0, 0, 6, 6, weight=1)
    first, second = (torch.rand(1, 2, 3, 4, generator=random) for _ in range(2))
    small = torch.rand(1, 2, 3, 3, generator=random)
    merger = ScoreMerger(2, (6, 8))
    merger.add(first, [whole])
    merger.add(second, [whole])
    merger.add(small, [left])
    large = [F.interpolate(scores, (6, 8), mode="bilinear")[0] for scores in (first, second)]
    part = F.interpolate(small, (6, 6), mode="bilinear")[0]
    expected = (2 * large[0] + 2 * large[1]) / 4
    expected[:, :, :6] = (2 * large[0] + 2 * large[1])[:, :, :6].add(part) / 5
    torch.testing.assert_close(merger.mean(), expected)


def test_windows_of_a_batch_go_to_their_own_places() -> None:
    merger = ScoreMerger(1, (2, 4))
    merger.add(torch.tensor([[[[1.0]]], [[[0.5]]]]), [Window(0, 0, 2, 2, 1), Window(0, 2, 2, 2, 1)])
    assert merger.mean().tolist() == [[[1, 1, 0.5, 0.5]] * 2]


def test_matching_and_merging_happen_on_the_table_s_device(sets: list[FeatureSpacePrototypes]) -> None:
    """The meta device computes nothing, but like any other refuses to be mixed with the CPU."""
    elsewhere = torch.device("meta")
    table = make_table(sets, {1}, kinds=ALL).gated([0, 1]).to(elsewhere)
    merger = ScoreMerger(3, (6, 8), elsewhere)
    found = class_scores(torch.randn(1, DEPTH, 3, 4), table, [BACKGROUND, 0, 1])
    merger.add(found, [Window(0, 0, 6, 8, weight=2)])
    refined = pamr(np.zeros((6, 8, 3), np.uint8), merger.mean(), RefineSettings(pamr=True))
    assert found.device == refined.device == elsewhere and refined.shape == (3, 6, 8)


def test_decision_margin_and_background() -> None:
    scores = torch.tensor([[[0.5, 0.1, -0.2, 0.3]], [[0.4, 0.6, -0.1, 0.3]], [[0.1, 0.9, -0.5, 0.2]]])
    found = decide(scores, [0, 1, 5], (1, 4))
    assert found.label_map.tolist() == [[0, 5, 0, 0]]  # all negative, and a tie: background
    np.testing.assert_allclose(found.scores, [[0.5, 0.9, 0, 0.3]], atol=1e-6)
    np.testing.assert_allclose(found.margins, [[0.1, 0.3, 0, 0]], atol=1e-6)
    assert found.label_map.dtype == np.int32 and found.scores.dtype == found.margins.dtype == np.float32


def test_without_background_every_pixel_gets_a_category() -> None:
    scores = torch.tensor([[[-0.4, 0.1, -0.9]], [[-0.1, 0.6, -1.0]]])
    found = decide(scores, [1, 5], (1, 3))
    assert found.label_map.tolist() == [[5, 5, 1]]
    np.testing.assert_allclose(found.scores, [[0, 0.6, 0]], atol=1e-6)
    np.testing.assert_allclose(found.margins, [[0.3, 0.5, 0.1]], atol=1e-6)


def test_a_category_alone_wins_by_its_distance_from_the_worst_cosine() -> None:
    found = decide(torch.tensor([[[-0.4, 0.1]]]), [1], (1, 2))
    assert found.label_map.tolist() == [[1, 1]]
    np.testing.assert_allclose(found.margins, [[0.6, 1.1]], atol=1e-6)


def test_what_is_too_large_for_the_device_is_decided_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(2))
    on_device = decide(scores, [0, 1, 2], (23, 31))
    monkeypatch.setattr(segmenter, "_DECIDE_ON_DEVICE_PX", 0)
    np.testing.assert_array_equal(decide(scores, [0, 1, 2], (23, 31)).label_map, on_device.label_map)


@pytest.mark.parametrize("size_hw", [(5, 6), (23, 31)])  # as large as the scores, and larger
def test_deciding_leaves_the_scores_as_they_are(size_hw: tuple[int, int]) -> None:
    scores = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(2)) * 2 - 1
    before = scores.clone()
    decide(scores, [0, 1, 2], size_hw)
    assert torch.equal(scores, before)


def test_decision_at_image_size_is_argmax_of_enlarged_scores() -> None:
    scores = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(2))
    found = decide(scores, [0, 1, 2, 3], (23, 31))
    large = F.interpolate(scores[None], (23, 31), mode="bilinear")[0]
    top = large.topk(2, dim=0).values
    np.testing.assert_array_equal(found.label_map, large.argmax(dim=0).numpy())
    np.testing.assert_allclose(found.margins, (top[0] - top[1]).numpy(), atol=1e-6)
