"""Explanations of whole images: they name the labels that engines with fewer steps give, and say who changed them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.errors import ImageError, MissingPrototypesError
from ovdiff.explaining.explanation import Explanation
from ovdiff.presets import load_preset
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.matching import score_maps
from ovdiff.segmenting.segmenter import enlarge
from ovdiff.tinyworld.world import render, sample_scene
from ovdiff.vocabulary import Category, Vocabulary
from tests.ovdiff.explaining.conftest import ANCHOR, ASKED, variant

DRAWN = Vocabulary(["boat", "house", "sky", "grass"])
ANCHORS = ("ball", "water")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The embedded models with all that the preset has, and the clean-up; of each word two quick drawings."""
    preset = load_preset("tinyworld")
    preset = replace(
        preset,
        generation=replace(preset.generation, images=2, steps=5),
        anchors=replace(preset.anchors, prototypes=ANCHORS),
        part_check=replace(preset.part_check, min_part_px=24, stuff_min_share=0.3, stuff_min_margin=0.2),
        refine=replace(preset.refine, min_part_px=150, max_hole_px=400),
    )
    engine = Engine(preset, Bank(tmp_path_factory.mktemp("bank")))
    for name in (*DRAWN.names, *ANCHORS):
        engine.build(name)
    return engine


def _chain(tiny: Engine) -> Iterator[tuple[str, Engine]]:
    """The same engine with ever more steps, by the name of the last one."""
    bare = variant(variant(tiny, "part_check", enabled=False), "refine", pamr=False, min_part_px=0, max_hole_px=0)
    yield "votes", bare
    yield "PAMR", variant(bare, "refine", pamr=True)
    checked = variant(tiny, "refine", min_part_px=0, max_hole_px=0)
    yield "part check", variant(checked, "part_check", stuff_min_share=0.0)
    yield "uncertain stuff", checked
    yield "small parts", variant(tiny, "refine", max_hole_px=0)
    yield "holes", tiny


@pytest.mark.slow
def test_each_stage_has_the_label_of_an_engine_that_stops_there(tiny: Engine) -> None:
    changed: set[str] = set()
    chain = list(_chain(tiny))
    random = np.random.default_rng(0)
    for number in (50000, 50001, 50003):
        encoded = tiny.encode(render(sample_scene(number, "test", 3), 120).image)
        label_maps = {name: engine.label(encoded, DRAWN).label_map for name, engine in chain}
        for x, y in _places(list(label_maps.values()), random):
            found = tiny.explain(encoded, DRAWN, (x, y))
            assert [stage.name for stage in found.stages] == list(label_maps)
            assert [stage.label for stage in found.stages] == [int(each[y, x]) for each in label_maps.values()]
            assert found.label == found.name(int(label_maps["holes"][y, x]))
            assert all(stage.share == 1 for stage in found.stages)
            changed |= {stage.name for stage in found.stages if stage.changed}
            _adds_up(tiny, encoded, found, (x, y))
    assert "PAMR" in changed and len(changed) >= 3  # which others change something depends on the weights


def _places(label_maps: list[NDArray[np.int32]], random: np.random.Generator) -> list[tuple[int, int]]:
    """Two random pixels, and one of those that each step changed."""
    height, width = label_maps[0].shape
    places = [(int(random.integers(width)), int(random.integers(height))) for _ in range(2)]
    for before, after in pairwise(label_maps):
        rows, columns = np.nonzero(before != after)
        if len(rows):
            one = int(random.integers(len(rows)))
            places.append((int(columns[one]), int(rows[one])))
    return places


def _adds_up(engine: Engine, encoded: EncodedImage, found: Explanation, pixel: tuple[int, int]) -> None:
    """The evidence adds up to the score map, and the winner has the label that the votes alone give."""
    with engine._models.lock:
        match = engine._segmenter.match(encoded, DRAWN)
        maps = score_maps(encoded, match.tables, match.candidates, engine.preset, torch.device("cpu"))
    at_pixel = enlarge(maps.scores, encoded.size_hw)[:, pixel[1], pixel[0]].numpy()
    np.testing.assert_allclose([rival.score for rival in found.rivals], at_pixel, atol=1e-5)
    by_hand = [sum(vote.weight * vote.scores[rival] for vote in found.votes) for rival in range(len(found.rivals))]
    np.testing.assert_allclose(by_hand, at_pixel, atol=1e-5)
    winner = found.rivals[found.winner]
    assert (0 if winner.is_anchor else winner.label) == found.stages[0].label
    assert winner.is_anchor == (winner.name in ANCHORS)


@pytest.mark.slow
def test_what_clip_saw_in_the_part_is_of_the_word_that_the_pixels_chose(tiny: Engine) -> None:
    image = render(sample_scene(50000, "test", 3), 120).image
    encoded = tiny.encode(image)
    parts = tiny.label(encoded, DRAWN).parts
    assert parts
    largest = parts[0]
    x, y = (round((largest.box[side] + largest.box[side + 2]) / 2 * 119) for side in (0, 1))
    found = tiny.explain(encoded, DRAWN, (x, y))
    assert found.part is None or (found.part in parts and found.part.box[0] <= (x + 0.5) / 120 <= found.part.box[2])
    checked = [stage.name for stage in found.stages].index("part check")
    best = found.rivals[int(np.argmax(found.stages[checked - 1].scores))].name
    assert found.part is None or found.part.by_pixels == best
    assert variant(tiny, "part_check", enabled=False).explain(encoded, DRAWN, (x, y)).part is None


def test_of_a_mask_figures_are_means_over_its_pixels(engine: Engine, picture: NDArray[np.uint8]) -> None:
    encoded = engine.encode(picture)
    mask = np.zeros((128, 160), dtype=bool)
    mask[60, 50:53] = True
    whole = engine.explain(encoded, ASKED, mask)
    pixels = [engine.explain(encoded, ASKED, (x, 60)) for x in range(50, 53)]
    for place, rival in enumerate(whole.rivals):
        assert rival.score == pytest.approx(np.mean([one.rivals[place].score for one in pixels]), abs=1e-6)
    labels = engine.label(encoded, ASKED).label_map[mask]
    assert whole.stages[0].label == np.bincount(labels).argmax()
    assert whole.stages[0].share == pytest.approx((labels == whole.stages[0].label).mean())


def test_an_anchor_that_wins_is_named_and_the_label_is_background(engine: Engine, picture: NDArray[np.uint8]) -> None:
    anchored = variant(variant(engine, "anchors", prototypes=(ANCHOR,)), "matching", background="none")
    assert anchored.anchors() == (Category(ANCHOR),)
    encoded = anchored.encode(picture)
    label_map = anchored.label(encoded, ASKED).label_map
    rows, columns = np.nonzero(label_map == 0)
    assert len(rows)
    found = anchored.explain(encoded, ASKED, (int(columns[0]), int(rows[0])))
    winner = found.rivals[found.winner]
    assert (winner.name, winner.is_anchor, found.label) == (ANCHOR, True, "background")
    assert found.runner_up is not None and not found.rivals[found.runner_up].is_anchor
    assert all(nearest.prototype.category == ANCHOR for vote in found.votes for nearest in vote.nearest[winner.label])


def test_who_gives_the_label_in_the_end_is_shown_too(engine: Engine, picture: NDArray[np.uint8]) -> None:
    encoded = engine.encode(picture)
    blurred = variant(engine, "refine", pamr=True, pamr_iterations=10, pamr_dilations=(1, 8))
    before, after = (each.label(encoded, ASKED).label_map for each in (engine, blurred))
    rows, columns = np.nonzero((before != after) & (after > 0))
    assert len(rows)
    for x, y in zip(columns[:: max(1, len(rows) // 4)].tolist(), rows[:: max(1, len(rows) // 4)].tolist(), strict=True):
        found = blurred.explain(encoded, ASKED, (x, y))
        assert found.named is not None and found.rivals[found.named].name == found.label
        assert found.stages[-1].changed == 1 and found.stages[-1].name == "PAMR"
        assert found.named in found.finalists() and found.winner != found.named
        assert all(
            set(vote.nearest) == {found.rivals[place].label for place in found.finalists()} for vote in found.votes
        )


@pytest.mark.parametrize(("step", "percentile"), [("small parts", 90), ("holes", 10)])
def test_the_clean_up_that_took_a_label_is_named(
    engine: Engine, picture: NDArray[np.uint8], step: str, percentile: int
) -> None:
    """Above a high threshold a category is in pieces, and above a low one it has holes."""
    alone, encoded = Vocabulary(ASKED.categories[:1]), engine.encode(picture)
    scores = variant(engine, "matching", background="none").label(encoded, alone).scores
    threshold = float(np.percentile(scores, percentile))
    raw = variant(engine, "matching", background="threshold", background_threshold=threshold)
    limits = {"min_part_px": 2000} if step == "small parts" else {"max_hole_px": 2000}
    cleaned = variant(raw, "refine", **limits)
    before, after = (each.label(encoded, alone).label_map for each in (raw, cleaned))
    rows, columns = np.nonzero(before != after)
    assert len(rows)
    found = cleaned.explain(encoded, alone, (int(columns[0]), int(rows[0])))
    assert [stage.name for stage in found.stages] == ["votes", step]
    assert (found.stages[-1].changed, found.stages[-1].scores) == (1, ())
    assert [stage.label for stage in found.stages] == [int(each[rows[0], columns[0]]) for each in (before, after)]


def test_one_category_and_several_phrases(engine: Engine, picture: NDArray[np.uint8]) -> None:
    alone = variant(engine, "matching", background="none")
    phrased = Category("vessel", ("boat", "red fish"))
    engine.build(phrased)
    found = alone.explain(alone.encode(picture), Vocabulary((phrased,)), (3, 3))
    assert found.runner_up is None and found.label == "vessel" and found.finalists() == (0,)
    assert {source.prototype.category for source in found.sources} == {"vessel"}


def test_what_cannot_be_explained_is_refused(engine: Engine, picture: NDArray[np.uint8]) -> None:
    encoded = engine.encode(picture)
    with pytest.raises(ImageError, match=r"\(160, 0\) lies outside"):
        engine.explain(encoded, ASKED, (160, 0))
    with pytest.raises(MissingPrototypesError, match="'clock'"):
        engine.explain(encoded, Vocabulary(["clock"]), (0, 0))


def test_explaining_leaves_the_segmentation_as_it_is(engine: Engine, picture: NDArray[np.uint8]) -> None:
    encoded = engine.encode(picture)
    expected, found = engine.label(encoded, ASKED), engine.explain(encoded, ASKED, (9, 9)).segmentation
    for name in ("label_map", "scores", "margins"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_sources_are_stored_beside_the_bank(engine: Engine, picture: NDArray[np.uint8]) -> None:
    found = engine.explain(engine.encode(picture), ASKED, (70, 60))
    assert set(found.support) == {source.prototype.category for source in found.sources}
    assert Path(engine.support_store.folder).is_dir()
