import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.segmenting_settings import PrefilterSettings
from ovdiff.segmenting.prefilter import (
    all_subsets,
    best_subset,
    choose,
    choose_categories,
    embed_image,
    first_bar,
    likely,
)
from ovdiff.vocabulary import Category
from tests.fakes.texts import CountingTexts

SETTINGS = PrefilterSettings()


@pytest.fixture
def texts(preset: Preset, models: LoadedModels) -> ClipTexts:
    return ClipTexts(models.clip(preset.models.clip), 1000)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9))
def test_kept_are_exactly_those_above_log_mean_exp(similarities: list[float]) -> None:
    kept = likely(np.array(similarities), SETTINGS)
    bound = np.log(np.mean(np.exp(similarities)))
    for index, similarity in enumerate(similarities):
        if abs(similarity - bound) > 1e-9:
            assert (index in kept) == (similarity > bound)
    assert kept == tuple(sorted(kept)) and kept


@given(st.lists(st.floats(-1, 1) | st.just(-math.inf), min_size=1, max_size=9), st.sampled_from([1.0, 30.0]))
def test_the_bar_of_the_first_stage_parts_kept_from_removed(similarities: list[float], scale: float) -> None:
    settings = replace(SETTINGS, logit_scale=scale)
    kept, bar = likely(np.array(similarities), settings), first_bar(np.array(similarities), settings)
    for index, similarity in enumerate(similarities):
        if abs(similarity - bar) > 1e-9 and np.isfinite(similarities).any():
            assert (index in kept) == (similarity > bar)
    assert np.isfinite(bar) == np.isfinite(similarities).any()


def test_clip_s_own_scale_would_keep_one_and_equals_are_all_kept() -> None:
    similarities = np.array([0.20, 0.22, 0.30, 0.25])
    assert likely(similarities, SETTINGS) == (2, 3)
    assert likely(similarities, PrefilterSettings(logit_scale=100.0)) == (2,)
    assert likely(np.full(5, 0.3), SETTINGS) == (0, 1, 2, 3, 4)


def test_more_than_the_limit_keeps_the_largest() -> None:
    similarities = np.array([0.9, 0.91, -1, -1, -1, -1, 0.8, 0.92])
    assert likely(similarities, PrefilterSettings(max_categories=2)) == (1, 7)


def test_under_paper_the_likeliest_comes_first_where_more_than_the_limit_are_likely() -> None:
    similarities = np.array([0.9, 0.91, -1, -1, -1, -1, 0.8, 0.92])
    paper = load_preset("paper").prefilter
    assert likely(similarities, replace(paper, max_categories=3)) == (7, 1, 0)
    assert likely(similarities, replace(paper, max_categories=4)) == (0, 1, 6, 7)  # all of them, so by vocabulary
    assert likely(similarities, PrefilterSettings(max_categories=3)) == (0, 1, 7)


@pytest.mark.parametrize(("order", "caption"), [("vocabulary", "a cat and a dog"), ("likelihood", "a dog and a cat")])
def test_a_joint_caption_has_the_order_that_the_preset_says(order: str, caption: str) -> None:
    cosines = {"a cat": 0.9, "a dog": 0.95, "a tram": 0.8, "a bird": -1.0, "a tree": -1.0}
    vectors = {text: torch.tensor([value, math.sqrt(1 - value**2)]) for text, value in cosines.items()}
    vectors[caption] = torch.tensor([1.0, 0.0])  # the other order cannot be read
    texts = ClipTexts(DrawnTexts(vectors), 100)  # type: ignore[arg-type]
    settings = PrefilterSettings(max_categories=2, caption_order=order)  # type: ignore[arg-type]
    categories = [Category(text.removeprefix("a ")) for text in cosines]
    assert choose_categories(torch.tensor([1.0, 0.0]), categories, texts, settings) == (0, 1)


def test_the_choice_tells_the_figures_by_which_it_was_made() -> None:
    cosines = {"a cat": 0.9, "a dog": 0.95, "a tram": 0.1, "a cat and a dog": 0.97}
    vectors = {text: torch.tensor([value, math.sqrt(1 - value**2)]) for text, value in cosines.items()}
    texts = ClipTexts(DrawnTexts(vectors), 100)  # type: ignore[arg-type]
    categories = [Category(text.removeprefix("a ")) for text in list(cosines)[:3]]
    choice = choose(torch.tensor([1.0, 0.0]), categories, texts, SETTINGS)
    np.testing.assert_allclose(choice.similarities, [0.9, 0.95, 0.1], atol=1e-6)
    assert choice.kept == choice.likely == (0, 1)
    assert dict(choice.fits) == pytest.approx({(0,): 0.9, (1,): 0.95, (0, 1): 0.97})
    assert choose(torch.tensor([1.0, 0.0]), categories, texts, replace(SETTINGS, enabled=False)).similarities.size == 0
    taught = choose(torch.tensor([1.0, 0.0]), categories, texts, SETTINGS, np.array([0.0, -0.2, 0.9]))
    np.testing.assert_allclose(taught.similarities, [0.9, 0.75, 1.0], atol=1e-6)  # what annotated images say is added
    assert taught.likely == (0, 2) and taught.kept == (2,)


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_there_are_two_to_the_k_minus_one_subsets(count: int) -> None:
    subsets = all_subsets(range(count))
    assert len(set(subsets)) == len(subsets) == 2**count - 1
    expected = {tuple(i for i, used in enumerate(bits) if used) for bits in product((0, 1), repeat=count)} - {()}
    assert set(subsets) == expected
    assert [len(subset) for subset in subsets] == sorted(len(subset) for subset in subsets)


def test_the_same_survivors_ask_for_the_same_texts_in_another_image() -> None:
    clip = CountingTexts()
    texts = ClipTexts(clip, 1000)  # type: ignore[arg-type]
    captions = ["a cat", "a dog", "a bird", "a tram"]
    for image in (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])):
        best_subset(image, (0, 1, 3), captions, texts, " and ")
    assert [len(texts) for texts in clip.passes] == [2**3 - 1]
    assert "a cat and a dog and a tram" in clip.passes[0]


class DrawnTexts:
    """A table of unit vectors in place of a text encoder; a text that is not in it cannot be read."""

    def __init__(self, vectors: dict[str, Tensor]) -> None:
        self._vectors = vectors

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        return [self._vectors.get(text) for text in texts]


def _slow_filter(image: Tensor, names: Sequence[str], vectors: dict[str, Tensor], eta: int) -> tuple[int, ...]:
    """A.10 as it is written, with probabilities, in double precision."""
    cosines = [float(vectors[f"a {name}"].double() @ image.double()) for name in names]
    total = sum(math.exp(cosine) for cosine in cosines)
    kept = [i for i, cosine in enumerate(cosines) if math.exp(cosine) / total >= 1 / len(names)]
    kept = sorted(sorted(kept, key=lambda i: -cosines[i])[:eta])
    best, best_cosine = tuple(kept), -math.inf
    for bits in range(1, 2 ** len(kept)):
        subset = tuple(i for place, i in enumerate(kept) if bits >> place & 1)
        text = " and ".join(f"a {names[i]}" for i in subset)
        if text in vectors and (cosine := float(vectors[text].double() @ image.double())) > best_cosine:
            best, best_cosine = subset, cosine
    return best


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(2, 7), eta=st.integers(1, 5), unreadable=st.sampled_from([0, 0.5])
)
def test_the_whole_filter_against_a_slow_one(seed: int, count: int, eta: int, unreadable: float) -> None:
    random = np.random.default_rng(seed)
    names = [f"thing {number}" for number in range(count)]
    vectors = {}
    for subset in all_subsets(range(count)):
        if len(subset) == 1 or random.random() >= unreadable:  # some joint texts are too long
            drawn = torch.tensor(random.normal(size=8), dtype=torch.float32)
            vectors[" and ".join(f"a {names[i]}" for i in subset)] = drawn / drawn.norm()
    drawn = torch.tensor(random.normal(size=8), dtype=torch.float32)
    image = drawn / drawn.norm()
    texts = ClipTexts(DrawnTexts(vectors), 10_000)  # type: ignore[arg-type]
    settings = PrefilterSettings(max_categories=eta)
    found = choose_categories(image, [Category(name) for name in names], texts, settings)
    assert found == _slow_filter(image, names, vectors, eta)


def test_an_image_s_embedding_is_the_clip_s(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    clip = models.clip(preset.models.clip)
    found = embed_image(clip, image, SETTINGS)
    assert found.shape == (96,) and found.dtype == torch.float32
    assert torch.equal(found, clip.embed_images(image[None], "clip")[0])


def test_under_paper_an_image_is_stretched_by_lanczos_first_and_then_resized_bilinearly(
    preset: Preset, models: LoadedModels
) -> None:
    """A.10: the reference resizes twice; one resize, or antialiasing, gives another embedding."""
    clip, paper = models.clip(preset.models.clip), load_preset("paper").prefilter
    noise = np.random.default_rng(0).integers(0, 256, (448, 597, 3), dtype=np.uint8)
    square = np.asarray(Image.fromarray(noise).resize((512, 512), Image.Resampling.LANCZOS))
    found = embed_image(clip, noise, paper)
    assert torch.equal(found, clip.embed_images(square[None], "clip", "bilinear")[0])
    assert not torch.allclose(found, clip.embed_images(noise[None], "clip", "bilinear")[0], atol=1e-4)
    assert not torch.allclose(found, clip.embed_images(square[None], "clip")[0], atol=1e-4)


def test_switches(texts: ClipTexts) -> None:
    categories = [Category(name) for name in ("boat", "car", "fish", "tree")]
    embedding = texts.embed(["a fish"])[0]
    assert embedding is not None
    off = PrefilterSettings(enabled=False)
    assert choose_categories(embedding, categories, texts, off) == (0, 1, 2, 3)
    assert choose_categories(embedding, categories, texts, SETTINGS) == (2,)
    assert 2 in choose_categories(embedding, categories, texts, PrefilterSettings(subsets=False))
    assert choose_categories(embedding, [], texts, SETTINGS) == ()
    assert choose_categories(embedding, categories[:1], texts, SETTINGS) == (0,)


def test_several_prompts_of_a_category_are_averaged(texts: ClipTexts) -> None:
    embedding = texts.embed(["a ship"])[0]
    assert embedding is not None
    only_first = PrefilterSettings(subsets=False)
    with_ship = [Category("vessel", ("clock", "ship")), Category("clock"), Category("tree")]
    assert 0 in choose_categories(embedding, with_ship, texts, only_first)


def test_a_subset_is_written_with_the_phrase_that_fits_the_image() -> None:
    vectors = {"a sea": [0.0, 0.1], "a lake": [1.0, 0.4], "a boat": [0.6, 1.0], "a tree": [-1.0, 0.0]}
    joint = {"a sea and a boat": [0.0, 1.0], "a lake and a boat": [1.0, 0.5]}
    drawn = {text: torch.nn.functional.normalize(torch.tensor(v), dim=0) for text, v in (vectors | joint).items()}
    texts = ClipTexts(DrawnTexts(drawn), 100)  # type: ignore[arg-type]
    categories = [Category("water", ("sea", "lake")), Category("boat"), Category("tree")]
    image = torch.nn.functional.normalize(torch.tensor([1.0, 0.5]), dim=0)
    assert choose_categories(image, categories, texts, SETTINGS) == (0, 1)


def test_many_captions_are_embedded_at_once() -> None:
    clip = CountingTexts()
    categories = [Category(f"thing {number}") for number in range(200)]
    alone = PrefilterSettings(subsets=False)
    choose_categories(torch.tensor([1.0, 0.0]), categories, ClipTexts(clip, 1000), alone)  # type: ignore[arg-type]
    assert len(clip.passes) == 1 and len(clip.passes[0]) == 200


def test_unreadable_subsets_are_skipped(texts: ClipTexts) -> None:
    captions = ["a boat" + " boat" * 30, "a fish" + " fish" * 35]  # each alone fits, both do not
    embedding = texts.embed([captions[0]])[0]
    assert embedding is not None
    assert best_subset(embedding, (0, 1), captions, texts, " and ") == (0,)
    assert best_subset(embedding, (0, 1), ["boat " * 60] * 2, texts, " and ") == (0, 1)


def test_a_caption_that_cannot_be_read_is_never_likely(texts: ClipTexts) -> None:
    embedding = texts.embed(["a boat"])[0]
    assert embedding is not None
    categories = [Category("boat " * 60), Category("boat"), Category("clock")]
    assert 0 not in choose_categories(embedding, categories, texts, PrefilterSettings(subsets=False))


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_captions_of_which_none_can_be_read_are_all_kept(scale: float) -> None:
    settings = PrefilterSettings(logit_scale=scale, max_categories=2)
    assert likely(np.full(3, -np.inf), settings) == (0, 1)
