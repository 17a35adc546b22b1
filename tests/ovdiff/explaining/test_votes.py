"""Votes at a place: the prototypes that they name, looked up in the bank and compared with the features by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.engine import Engine
from ovdiff.explaining.explanation import Nearest, Vote
from ovdiff.explaining.places import pixel_weights, place_mask
from ovdiff.explaining.votes import sums, votes_at
from ovdiff.segmenting.matching import score_maps
from ovdiff.segmenting.steps import Match
from tests.ovdiff.explaining.conftest import ASKED, variant

CPU = torch.device("cpu")
PIXELS = [(0, 0), (159, 127), (70, 60), (101, 33)]


@pytest.fixture(scope="module")
def match(engine: Engine, picture: NDArray[np.uint8]) -> Match:
    with engine._models.lock:
        return engine._segmenter.match(engine.encode(picture), ASKED)


def _pixel(pixel: tuple[int, int]) -> Tensor:
    return pixel_weights(place_mask(pixel, (128, 160)), (128, 160))


@pytest.mark.parametrize("pixel", PIXELS)
def test_votes_add_up_to_the_score_map_at_the_pixel(engine: Engine, match: Match, pixel: tuple[int, int]) -> None:
    votes = votes_at(_pixel(pixel), match, engine.preset, CPU)
    maps = score_maps(match.encoded, match.tables, match.candidates, engine.preset, CPU)
    np.testing.assert_allclose(sums(votes), maps.scores[:, pixel[1], pixel[0]].numpy(), atol=1e-5)
    assert sum(vote.weight for vote in votes) == pytest.approx(1)
    for vote in votes:
        left, top, width, height = vote.box
        assert left <= pixel[0] < left + width and top <= pixel[1] < top + height


@pytest.mark.parametrize("background", ["threshold", "none"])
def test_so_they_do_without_background_prototypes(engine: Engine, picture: NDArray[np.uint8], background: str) -> None:
    other = variant(engine, "matching", background=background, background_threshold=0.4)
    mask = np.zeros((128, 160), dtype=bool)
    mask[20:90, 30:110] = True
    with other._models.lock:
        match = other._segmenter.match(other.encode(picture), ASKED)
        maps = score_maps(match.encoded, match.tables, match.candidates, other.preset, CPU)
        votes = votes_at(pixel_weights(mask, (128, 160)), match, other.preset, CPU, told=maps.labels)
    np.testing.assert_allclose(sums(votes), maps.scores[:, torch.from_numpy(mask)].mean(dim=1).numpy(), atol=1e-5)
    assert all(vote.nearest.get(0, ()) == () for vote in votes)  # no prototype stands for a threshold


def test_shares_times_cosines_are_the_vote(engine: Engine, match: Match) -> None:
    for vote in votes_at(_pixel((70, 60)), match, engine.preset, CPU, told=[0, 1, 2, 3]):
        assert set(vote.nearest) == {0, 1, 2, 3}
        for label, found in vote.nearest.items():
            assert sum(nearest.share for nearest in found) == pytest.approx(1)
            assert [nearest.share for nearest in found] == sorted((nearest.share for nearest in found), reverse=True)
            total = sum(nearest.share * nearest.cosine for nearest in found)
            assert total == pytest.approx(vote.scores[label], abs=1e-6)


def test_a_prototype_that_wins_everywhere_around_has_that_cosine_in_the_bank(engine: Engine, match: Match) -> None:
    """The cosine map of the stored vector, enlarged to the window, has the cosine at the pixel that the vote names."""
    seen = set()
    for pixel in PIXELS:
        for vote in votes_at(_pixel(pixel), match, engine.preset, CPU, told=[0, 1, 2, 3]):
            for label, found in vote.nearest.items():
                if len(found) == 1:
                    prototype = found[0].prototype
                    assert (prototype.side == "background") == (label == 0)
                    assert label == 0 or prototype.category == ASKED.names[label - 1]
                    assert _cosine_at(engine, match, vote, found[0], pixel) == pytest.approx(found[0].cosine, abs=1e-5)
                    seen.add((prototype.kind, prototype.side))
    assert {side for _, side in seen} == {"foreground", "background"} and len(seen) >= 3


def _cosine_at(engine: Engine, match: Match, vote: Vote, nearest: Nearest, pixel: tuple[int, int]) -> float:
    prototype, (left, top, width, height) = nearest.prototype, vote.box
    category = next(each for each in ASKED.categories if each.name == prototype.category)
    stored = getattr(engine.bank.load(engine.category_key(category)).spaces[vote.extractor], prototype.side)
    vector = F.normalize(torch.from_numpy(stored.vectors[prototype.number]), dim=0)
    for batch in match.encoded.features[vote.extractor]:
        for window, features in zip(batch.windows, batch.features, strict=True):
            if (window.left, window.top, window.width, window.height) == vote.box:
                cosines = torch.einsum("d,dhw->hw", vector, F.normalize(features.float(), dim=0))
                large = F.interpolate(cosines[None, None], (height, width), mode="bilinear")[0, 0]
                return float(large[pixel[1] - top, pixel[0] - left])
    raise AssertionError(f"no window {vote.box}")
