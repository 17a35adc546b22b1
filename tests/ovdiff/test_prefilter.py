from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ovdiff.models import Models
from ovdiff.prefilter import ClipTexts, all_subsets, best_subset, choose_categories, embed_image, likely
from ovdiff.presets import Preset
from ovdiff.presets.schema import PrefilterSettings
from ovdiff.vocabulary import Category

SETTINGS = PrefilterSettings()


@pytest.fixture
def texts(preset: Preset, models: Models) -> ClipTexts:
    return ClipTexts(models.clip(preset.models.clip), models.clip_tokenizer(preset.models.clip), 1000)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9))
def test_kept_are_exactly_those_above_log_mean_exp(similarities: list[float]) -> None:
    kept = likely(np.array(similarities), SETTINGS)
    bound = np.log(np.mean(np.exp(similarities)))
    for index, similarity in enumerate(similarities):
        if abs(similarity - bound) > 1e-9:
            assert (index in kept) == (similarity > bound)
    assert kept == tuple(sorted(kept)) and kept


def test_clip_s_own_scale_would_keep_one_and_equals_are_all_kept() -> None:
    similarities = np.array([0.20, 0.22, 0.30, 0.25])
    assert likely(similarities, SETTINGS) == (2, 3)
    assert likely(similarities, PrefilterSettings(logit_scale=100.0)) == (2,)
    assert likely(np.full(5, 0.3), SETTINGS) == (0, 1, 2, 3, 4)


def test_more_than_the_limit_keeps_the_largest() -> None:
    similarities = np.array([0.9, 0.91, -1, -1, -1, -1, 0.8, 0.92])
    assert likely(similarities, PrefilterSettings(max_categories=2)) == (1, 7)


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_there_are_two_to_the_k_minus_one_subsets(count: int) -> None:
    subsets = all_subsets(range(count))
    assert len(set(subsets)) == len(subsets) == 2**count - 1
    expected = {tuple(i for i, used in enumerate(bits) if used) for bits in product((0, 1), repeat=count)} - {()}
    assert set(subsets) == expected
    assert [len(subset) for subset in subsets] == sorted(len(subset) for subset in subsets)


def _slow_embedding(preset: Preset, models: Models, text: str) -> Tensor:
    """One text alone, padded to the full length."""
    tokens = models.clip_tokenizer(preset.models.clip)(text, padding="max_length", return_tensors="pt")
    found = models.clip(preset.models.clip).get_text_features(**tokens).pooler_output[0]
    return found / found.norm()


def test_batched_truncated_cached_embeddings_are_those_of_single_full_length_texts(
    preset: Preset, models: Models, texts: ClipTexts
) -> None:
    wanted = ["a boat", "a boat and a red fish and a zebra", "a sky", "a boat"]
    found = texts.embed(wanted)
    for text, vector in zip(wanted, found, strict=True):
        assert vector is not None
        torch.testing.assert_close(vector, _slow_embedding(preset, models, text), rtol=1e-4, atol=1e-5)


def test_texts_are_encoded_once_while_the_cache_holds_them(preset: Preset, models: Models) -> None:
    model = models.clip(preset.models.clip)
    runs: list[int] = []
    handle = model.text_model.register_forward_hook(lambda _m, _i, output: runs.append(len(output.last_hidden_state)))
    texts = ClipTexts(model, models.clip_tokenizer(preset.models.clip), 2)
    texts.embed(["a", "b"])
    texts.embed(["b", "a"])
    assert runs == [2]
    texts.embed(["c"])  # lets go of "b"
    texts.embed(["a", "c"])
    assert runs == [2, 1]
    texts.embed(["b"])
    handle.remove()
    assert runs == [2, 1, 1]


def test_texts_longer_than_the_encoder_reads_have_no_embedding(texts: ClipTexts) -> None:
    long, short = texts.embed(["boat " * 60, "a zebra"])
    assert long is None and short is not None


def test_the_whole_filter_against_a_slow_one(
    preset: Preset, models: Models, texts: ClipTexts, image: np.ndarray
) -> None:
    categories = [Category(name) for name in ("boat", "car", "fish", "tree", "ball", "clock")]
    embedding = embed_image(models.clip(preset.models.clip), image, "clip")
    captions = [f"a {category.name}" for category in categories]
    cosines = [float(_slow_embedding(preset, models, caption) @ embedding) for caption in captions]
    shares = np.exp(cosines) / np.exp(cosines).sum()
    survivors = [i for i in range(6) if shares[i] >= 1 / 6]
    best = max(
        all_subsets(survivors),
        key=lambda subset: float(
            _slow_embedding(preset, models, " and ".join(captions[i] for i in subset)) @ embedding
        ),
    )
    assert choose_categories(embedding, categories, texts, SETTINGS) == best


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
