import math

import pytest
import torch
from torch import Tensor

from ovdiff.odise.naming import Named
from ovdiff.odise.outputs import at_pixel, bands, enlarged, instances, panoptic, semantic, semantic_scores
from ovdiff.odise.preset import OutputSettings

SIZE = (9, 11)


@pytest.fixture(params=range(4))
def named(request: pytest.FixtureRequest) -> Named:
    torch.manual_seed(request.param)
    shares = torch.rand(8, 5).softmax(dim=1) if request.param else (3 * torch.randn(8, 5)).softmax(dim=1)
    return Named(shares[:, :4], shares[:, 4])


@pytest.fixture(params=range(2))
def masks(request: pytest.FixtureRequest) -> Tensor:
    torch.manual_seed(10 + request.param)
    coarse = torch.randn(1, 8, 4, 4) * (1 + 4 * request.param)
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear", align_corners=False)[0].sigmoid()


def test_semantic_scores_are_the_sum_over_masks(named: Named, masks: Tensor) -> None:
    found = semantic_scores(named, masks)
    assert found.shape == (4, *SIZE)
    for label in range(4):
        for row in range(SIZE[0]):
            for column in range(SIZE[1]):
                score = sum(float(named.names[q, label]) * float(masks[q, row, column]) for q in range(8))
                assert float(found[label, row, column]) == pytest.approx(min(score, 1.0), abs=1e-5)


def panoptic_slowly(
    named: Named, masks: Tensor, stuff: list[bool], settings: OutputSettings
) -> tuple[list[list[int]], list[tuple[int, float]]]:
    """Merge pixel by pixel: the largest p * mask wins, then masks that lost too much are dropped."""
    kept = []
    for query in range(len(masks)):
        row = named.names[query].tolist()
        score = max(row)
        if score > float(named.void[query]) and score > settings.object_threshold:
            kept.append((query, row.index(score), score))
    ids, segments, of_stuff = [[0] * SIZE[1] for _ in range(SIZE[0])], [], {}
    own: dict[int, list[tuple[int, int]]] = {query: [] for query, _, _ in kept}
    for row_px in range(SIZE[0]):
        for column in range(SIZE[1]):
            values = [score * float(masks[query, row_px, column]) for query, _, score in kept]
            if values:
                winner = kept[values.index(max(values))][0]
                if float(masks[winner, row_px, column]) >= 0.5:
                    own[winner].append((row_px, column))
    for query, label, score in kept:
        whole = sum(float(value) >= 0.5 for value in masks[query].flatten())
        if not own[query] or len(own[query]) / whole < settings.overlap:
            continue
        if stuff[label] and label in of_stuff:
            number = of_stuff[label]
        else:
            segments.append((label, score))
            number = len(segments)
            of_stuff[label] = number
        for row_px, column in own[query]:
            ids[row_px][column] = number
    return ids, segments


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("stuff", [[False] * 4, [True, False, True, False], [True] * 4])
def test_panoptic_merge(named: Named, masks: Tensor, overlap: float, threshold: float, stuff: list[bool]) -> None:
    settings = OutputSettings(overlap=overlap, object_threshold=threshold)
    found = panoptic(named, masks, stuff, settings)
    ids, segments = panoptic_slowly(named, masks, stuff, settings)
    assert found.ids.tolist() == ids
    assert found.ids.dtype == torch.int32
    assert [(segment.label, pytest.approx(segment.score)) for segment in found.segments] == segments


def test_all_of_one_kind_of_stuff_is_one_segment_and_things_are_counted() -> None:
    masks = torch.zeros(4, 2, 8)
    for query in range(4):
        masks[query, :, 2 * query : 2 * query + 2] = 0.9
    named = Named(torch.tensor([[0.9, 0.0], [0.0, 0.9], [0.8, 0.0], [0.0, 0.8]]), torch.full((4,), 0.05))
    found = panoptic(named, masks, [True, False], OutputSettings())
    assert found.ids[0].tolist() == [1, 1, 2, 2, 1, 1, 3, 3]
    assert [segment.label for segment in found.segments] == [0, 1, 1]


def test_a_mask_that_is_probably_nothing_is_no_segment() -> None:
    masks = torch.ones(1, 2, 2)
    assert panoptic(Named(torch.tensor([[0.4]]), torch.tensor([0.6])), masks, [False], OutputSettings()).segments == []
    assert panoptic(Named(torch.tensor([[0.6]]), torch.tensor([0.4])), masks, [False], OutputSettings()).ids.all()


@pytest.mark.parametrize("count", [1, 5, 100])
@pytest.mark.parametrize("stuff", [[False] * 4, [True, False, True, False]])
def test_instances_are_the_surest_masks_of_things(named: Named, masks: Tensor, count: int, stuff: list[bool]) -> None:
    found = instances(named, masks, stuff, count)
    pairs = [(float(named.names[q, k]), q, k) for q in range(8) for k in range(4) if not stuff[k]]
    expected = []
    for share, query, label in sorted(pairs, reverse=True)[:count]:
        inside = [float(value) for value in masks[query].flatten() if float(value) > 0.5]
        if inside:
            expected.append((share * math.fsum(inside) / len(inside), label, query))
    expected.sort(reverse=True)
    assert found.scores.tolist() == pytest.approx([score for score, _, _ in expected])
    assert found.labels.tolist() == [label for _, label, _ in expected]
    assert torch.equal(found.masks, torch.stack([masks[query] > 0.5 for _, _, query in expected]))


def test_a_vocabulary_of_stuff_has_no_instances_and_no_mask_has_none() -> None:
    named, masks = Named(torch.rand(3, 2), torch.rand(3)), torch.rand(3, 4, 4)
    assert len(instances(named, masks, [True, True], 100).labels) == 0
    assert instances(named, torch.zeros(3, 4, 4), [False, False], 100).masks.shape == (0, 4, 4)


def test_masks_are_enlarged_before_they_become_shares() -> None:
    logits = torch.tensor([[[-8.0, 8.0]]])
    found = enlarged(logits, (1, 4))
    assert found[0, 0].tolist() == pytest.approx([1 / (1 + math.exp(-value)) for value in (-8.0, -4.0, 4.0, 8.0)])


@pytest.mark.parametrize("size_hw", [(64, 64), (37, 101), (1, 500), (500, 1)])
def test_bands_are_the_enlarged_masks_cut_into_rows(size_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(5, 16, 12, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr("ovdiff.odise.outputs._CELLS_AT_ONCE", 5 * size_hw[1] * 7)
    found = list(bands(logits, size_hw))
    assert len(found) == -(-size_hw[0] // 7)
    assert torch.allclose(torch.cat(found, dim=1), enlarged(logits, size_hw), atol=1e-6)


def test_bands_change_no_result() -> None:
    random = torch.Generator().manual_seed(2)
    shares = torch.rand(6, 5, generator=random).softmax(dim=1)
    named = Named(shares[:, :4], shares[:, 4])
    masks = torch.rand(6, 40, 30, generator=random)
    cut = [masks[:, :13], masks[:, 13:14], masks[:, 14:]]
    settings = OutputSettings(overlap=0.1)
    whole, banded = (panoptic(named, each, [True, False, True, False], settings) for each in (masks, cut))
    assert torch.equal(whole.ids, banded.ids) and whole.segments == banded.segments and len(whole.segments) > 2
    for one, other in zip(semantic(named, [masks], 0.6), semantic(named, cut, 0.6), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("place", [(0, 0), (16, 3), (40, 28)])
def test_one_pixel_is_the_enlarged_masks_at_that_pixel(place: tuple[int, int]) -> None:
    logits = torch.randn((5, 7, 9), generator=torch.Generator().manual_seed(4)) * 3
    whole = enlarged(logits, (29, 41))
    assert torch.allclose(at_pixel(logits, (29, 41), place), whole[:, place[1], place[0]], atol=1e-5)
