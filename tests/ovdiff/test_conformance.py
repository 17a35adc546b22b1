"""The specification's conformance checks without weights (section F), with the preset "paper"'s own settings.

One test a check. Eq. 1 on synthetic maps and masks, its fallback and the full-cover edge are in ``test_support``;
the slow references of PAMR, k-means, the prefilter and attribution stand beside the modules they check.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.architectures import SD_15, build_unet
from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes, PrototypeSet
from ovdiff.building.generation.attribution import AttributionRecorder
from ovdiff.building.prototypes import build_prototypes
from ovdiff.engine import Engine
from ovdiff.models.cross_attention import cross_attention_layers
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pamr import pamr
from ovdiff.models.texts import ClipTexts
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.building_settings import AttributionSettings
from ovdiff.presets.segmenting_settings import WindowSettings
from ovdiff.proposals.maskcut import affinity, second_eigenvector
from ovdiff.segmenting.encoding import EncodedImage, WindowFeatures
from ovdiff.segmenting.prefilter import choose_categories
from ovdiff.segmenting.segmenter import BACKGROUND, make_table
from ovdiff.segmenting.windows import Window, plan_windows
from ovdiff.vocabulary import Category, Vocabulary

Array = NDArray[Any]

PAPER = load_preset("paper")


def _cells(sizes: Sequence[int], depth: int = 5) -> list[Array]:
    random = np.random.default_rng(0)
    return [random.normal(size=(size, depth)).astype(np.float32) for size in sizes]


def _kind(side: Prototypes, kind: Literal["class", "instance", "part"]) -> Array:
    return side.of_kinds((kind,)).vectors


def test_f_class_prototype_is_the_size_weighted_instance_mean() -> None:
    """A.5: the plain mean over all masked cells."""
    sizes = [50, 3, 120]
    for side in vars(build_prototypes(_cells(sizes), _cells(sizes), PAPER.prototypes)).values():
        weighted = np.average(_kind(side, "instance"), axis=0, weights=sizes)
        np.testing.assert_allclose(_kind(side, "class")[0], weighted, atol=1e-6)


def test_f_an_instance_of_nothing_is_dropped() -> None:
    """A.5: the mean over an empty background is NaN; so is one over features that overflowed."""
    backgrounds = _cells([40, 0, 30])
    overflowed = np.full((7, 5), np.nan, np.float32)
    found = build_prototypes([*_cells([40, 40, 40]), overflowed], [*backgrounds, backgrounds[0]], PAPER.prototypes)
    assert found.foreground.images[found.foreground.kinds == 1].tolist() == [0, 1, 2]
    assert found.background.images[found.background.kinds == 1].tolist() == [0, 2, 3]
    assert np.isfinite(found.foreground.vectors).all() and np.isfinite(found.background.vectors).all()


@pytest.mark.parametrize("extractor", PAPER.active_extractors())
def test_f_the_stuff_filter_removes_only_background_rows_above_0_85(extractor: str) -> None:
    """A.9.3."""
    angles = np.radians([0, math.degrees(math.acos(0.85)) - 0.1, math.degrees(math.acos(0.85)) + 0.1, 180])
    rows = _prototypes(np.stack([np.cos(angles), np.sin(angles)], axis=1) * 3)
    stuff = _prototypes(np.array([[5.0, 0.0]]))
    sets = [FeatureSpacePrototypes(rows, rows), FeatureSpacePrototypes(stuff, rows)]
    before = make_table(sets, {1}, kinds=PAPER.matching.kinds)
    threshold = getattr(PAPER.extractors, extractor).stuff_similarity
    after = before.without_stuff_in_background({1}, threshold, torch.device("cpu"))
    assert (before.classes == BACKGROUND).sum() == 4
    torch.testing.assert_close(after.vectors, torch.cat([before.vectors[2:4], before.vectors[4:]]))
    assert after.classes.tolist() == [BACKGROUND, BACKGROUND, 0, 0, 0, 0, 1]


def _prototypes(vectors: Array) -> Prototypes:
    kinds = np.zeros(len(vectors), np.uint8)
    return Prototypes(vectors.astype(np.float32), kinds, np.full(len(vectors), -1, np.int32))


@dataclass
class Texts:
    """A CLIP whose caption number i has the i-th cosine with the image, which is (1, 0)."""

    cosines: list[float]
    asked: list[str] = field(default_factory=list)

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        self.asked += texts
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> Tensor:
        names = text.split(PAPER.prefilter.joiner)
        cosine = float(np.mean([self.cosines[int(name.removeprefix("a thing "))] for name in names]))
        return torch.tensor([cosine, math.sqrt(1 - cosine**2)])


@pytest.mark.parametrize("seed", range(5))
def test_f_the_prefilter_keeps_what_is_above_log_mean_exp_and_tries_every_subset(seed: int) -> None:
    """A.10.2 to A.10.4."""
    cosines = np.random.default_rng(seed).uniform(0.15, 0.35, size=12).tolist()
    texts = Texts(cosines)
    categories = [Category(f"thing {number}") for number in range(len(cosines))]
    chosen = choose_categories(torch.tensor([1.0, 0.0]), categories, ClipTexts(texts, 5000), PAPER.prefilter)  # type: ignore[arg-type]
    kept = [number for number, cosine in enumerate(cosines) if cosine >= math.log(np.mean(np.exp(cosines)))]
    subsets = {text for text in texts.asked if PAPER.prefilter.joiner in text} | {f"a thing {n}" for n in kept}
    assert len(subsets) == 2 ** len(kept) - 1
    assert {name for text in subsets for name in text.split(PAPER.prefilter.joiner)} == {f"a thing {n}" for n in kept}
    assert chosen == (int(np.argmax(cosines)),)  # of means, the largest is of one alone


@pytest.mark.parametrize(
    ("size_hw", "counts"), [((448, 597), (2, 6, 1)), ((448, 896), (3, 8, 1)), ((448, 448), (1, 4, 1))]
)
def test_f_window_counts(size_hw: tuple[int, int], counts: tuple[int, int, int]) -> None:
    """A.12.2 and A.12.3, a window that coincides with another counted as often as the reference computes it."""
    assert sum(window.weight for window in plan_windows(size_hw, PAPER.windows)) == sum(counts)
    alone = [replace(PAPER.windows, crops_px=(crop,), whole_image=False) for crop in PAPER.windows.crops_px]
    assert [len(plan_windows(size_hw, settings)) for settings in alone] == list(counts[:2])


def test_f_pamr_conserves_constants_and_its_weights_sum_to_1() -> None:
    """A.13."""
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    labels = torch.randint(3, (30, 40), generator=torch.Generator().manual_seed(0))
    one_hot = torch.nn.functional.one_hot(labels, 3).permute(2, 0, 1).float()
    refined = pamr(image, torch.cat([one_hot, torch.full((1, 30, 40), 0.3)]), PAPER.refine)
    torch.testing.assert_close(refined[:3].sum(dim=0), torch.ones(30, 40), atol=1e-5, rtol=0)
    torch.testing.assert_close(refined[3], torch.full((30, 40), 0.3), atol=1e-5, rtol=0)


def test_f_attribution_reads_the_conditional_half_only(preset: Preset, models: LoadedModels) -> None:
    """A.2.2: of [negative; positive] the first half may be anything."""
    unet = models.diffusion(preset.models.generator).unet
    settings = AttributionSettings(layers=("up_blocks.3",))
    (layer, *_), random = cross_attention_layers(unet, settings.layers).values(), torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 16, layer.to_q.in_features, generator=random)
    text = torch.randn(2, 9, layer.to_k.in_features, generator=random)

    def maps(hidden: Tensor, text: Tensor) -> Tensor:
        with AttributionRecorder(unet, settings, slice(3, 5), images=2, grid=4, steps=1) as recorder:
            recorder.record(layer, hidden, text)
        return recorder.maps()

    garbage = torch.full_like(hidden, torch.nan), torch.full_like(text, torch.nan)
    guided = maps(torch.cat([garbage[0], hidden]), torch.cat([garbage[1], text]))
    assert torch.equal(guided, maps(hidden, text))


def test_f_stable_diffusion_features_have_6400_and_7680_channels() -> None:
    """A.11: the paper's eight layers, and with the released code's mid-block."""
    unet, layers = build_unet(SD_15, device="meta"), PAPER.extractors.stable_diffusion.layers

    def depth(prefixes: tuple[str, ...]) -> int:
        return sum(layer.to_q.out_features for layer in cross_attention_layers(unet, prefixes).values())

    assert len(layers) == 8 and depth(layers) == 6400
    assert depth((*layers, "mid_block.attentions.0")) == 7680


def test_f_maskcut_separates_a_two_blob_affinity() -> None:
    """D.1.2 to D.1.4: the second eigenvector has one sign in each blob."""
    first = np.random.default_rng(0).random(60) < 0.35
    vectors = np.where(first[:, None], [1.0, 0.1], [-0.1, 1.0]) * np.random.default_rng(1).uniform(1, 9, (60, 1))
    graph = affinity(vectors.astype(np.float32), PAPER.proposals.maskcut.tau)
    assert ((graph == 1) == (first[:, None] == first[None])).all()
    vector = second_eigenvector(graph)
    np.testing.assert_array_equal(vector > vector.mean(), first if vector[first][0] > 0 else ~first)


# --- Eq. 4 and merging, by explicit loops -----------------------------------------------------------------------------

DEPTH = 3  # so small that the stuff filter finds something
SPACES: tuple[str, ...] = ("clip", "dino")
NAMES = ("boat", "water", "red fish", "clock")
STUFF = NAMES.index("water")
WINDOWS = WindowSettings(short_side_px=16, max_long_side_px=64, crops_px=((16, 8), (12, 8)))


class View(NamedTuple):
    """One window as the reference sees it: a window that coincides with another is one more."""

    window: Window
    features: Array  # (D, h, w)


@dataclass(frozen=True)
class Case:
    """Random prototypes and features."""

    sets: list[PrototypeSet]
    views: dict[str, list[View]]
    encoded: EncodedImage


def _case(size_hw: tuple[int, int]) -> Case:
    random = np.random.default_rng(7)

    def side(count: int) -> Prototypes:
        return _prototypes(random.normal(size=(count, DEPTH)).astype(np.float16))  # as the bank keeps them

    sets = [PrototypeSet({n: FeatureSpacePrototypes(side(5), side(2)) for n in SPACES}) for _ in NAMES]
    views, batches = {}, {}
    for number, name in enumerate(SPACES):
        grid = 3 + number, 4  # extractors need not share a grid
        features = {w: random.normal(size=(DEPTH, *grid)).astype(np.float32) for w in plan_windows(size_hw, WINDOWS)}
        views[name] = [View(window, maps) for window, maps in features.items() for _ in range(window.weight)]
        batches[name] = tuple(WindowFeatures((w,), torch.from_numpy(maps)[None]) for w, maps in features.items())
    return Case(sets, views, EncodedImage(size_hw, np.zeros((*size_hw, 3), np.uint8), batches, None))  # type: ignore[arg-type]


def _cosine(first: Array, second: Array) -> float:
    first, second = first.astype(np.float64), second.astype(np.float64)
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def _banks(case: Case, space: str, threshold: float) -> tuple[list[Array], list[list[Array]]]:
    """Eq. 3 and A.9: background prototypes of things less those like stuff, and each category's foreground."""
    spaces = [prototypes.spaces[space] for prototypes in case.sets]
    stuff = list(spaces[STUFF].foreground.vectors)
    backgrounds = [row for index, each in enumerate(spaces) if index != STUFF for row in each.background.vectors]
    kept = [row for row in backgrounds if all(_cosine(row, other) <= threshold for other in stuff)]
    assert 0 < len(kept) < len(backgrounds)
    return kept, [list(each.foreground.vectors) for each in spaces]


def _bilinear(maps: Array, size_hw: tuple[int, int]) -> Array:
    """Enlarge (h, w) pixel by pixel, corners not aligned."""
    (height, width), out = maps.shape, np.zeros(size_hw)
    for row, column in product(*map(range, size_hw)):
        y = min(max((row + 0.5) * height / size_hw[0] - 0.5, 0), height - 1)
        x = min(max((column + 0.5) * width / size_hw[1] - 0.5, 0), width - 1)
        corners = product((math.floor(y), math.ceil(y)), (math.floor(x), math.ceil(x)))
        weights = {corner: (1 - abs(y - corner[0])) * (1 - abs(x - corner[1])) for corner in corners}
        out[row, column] = sum(weight * maps[corner] for corner, weight in weights.items())
    return out


def _slow_scores(case: Case, threshold: float) -> Array:
    """A.12: the mean over extractors and windows of every class's largest cosine; (1 + C, H, W)."""
    total, count = np.zeros((1 + len(NAMES), *case.encoded.size_hw)), np.zeros(case.encoded.size_hw)
    for space, views in case.views.items():
        background, foregrounds = _banks(case, space, threshold)
        for (top, left, height, width, _), features in views:
            inside = np.s_[top : top + height, left : left + width]
            grid = features.shape[1:]
            for number, bank in enumerate([background, *foregrounds]):
                best = [max(_cosine(features[:, r, c], row) for row in bank) for r, c in np.ndindex(*grid)]
                total[number][inside] += _bilinear(np.reshape(best, grid), (height, width))
            count[inside] += 1
    return total / count


@pytest.fixture(scope="module", params=[(16, 16), (16, 22)], ids=["square", "4:3"])
def case(request: pytest.FixtureRequest) -> Case:
    return _case(request.param)


@pytest.fixture(scope="module")
def slow_scores(case: Case) -> Array:
    return _slow_scores(case, 0.85)


def _engine(preset: Preset, case: Case, folder: Path, background: Any) -> Engine:
    """An engine whose bank holds the case's prototypes; it needs no model."""
    chosen = replace(
        preset,
        extractors=replace(preset.extractors, use=SPACES),
        prefilter=replace(preset.prefilter, enabled=False),
        matching=replace(preset.matching, background=background, background_threshold=0.5),
    )
    engine = Engine(chosen, Bank(folder))
    for name, prototypes in zip(NAMES, case.sets, strict=True):
        engine.bank.save(engine.category_key(Category(name)), prototypes, Card())
    return engine


@pytest.mark.parametrize("background", ["prototypes", "threshold", "none"])
def test_f_merging_is_the_mean_over_extractors_and_windows(
    background: str, preset: Preset, case: Case, slow_scores: Array, tmp_path: Path
) -> None:
    """Eq. 4 and A.12.5, with each treatment of the background (A.8), from features to labels."""
    found = _engine(preset, case, tmp_path, background).label(case.encoded, Vocabulary(tuple(map(Category, NAMES))))
    scores = slow_scores.copy()
    if background == "threshold":
        scores[0] = 0.5
    if background == "none":
        scores[0] = -np.inf
    else:
        scores = scores.clip(min=0)
    best, second = np.sort(scores, axis=0)[:-3:-1]
    np.testing.assert_allclose(found.scores, best.clip(min=0), atol=1e-5)
    np.testing.assert_allclose(found.margins, best - second, atol=1e-5)
    clear = best - second > 1e-5
    np.testing.assert_array_equal(found.label_map[clear], scores.argmax(axis=0)[clear])
    assert clear.mean() > 0.9 and len(np.unique(found.label_map)) > 1


def test_f_a_square_image_s_whole_counts_twice(case: Case) -> None:
    """A.12.3: what the slow reference counts, and the encoding holds once."""
    height, width = case.encoded.size_hw
    whole = [view.window for views in case.views.values() for view in views if view.window[:4] == (0, 0, height, width)]
    assert len(whole) == (4 if height == width else 2)
    batches = [batch for entries in case.encoded.features.values() for batch in entries]
    assert len({(id(batch), *batch.windows) for batch in batches}) == len(batches)
