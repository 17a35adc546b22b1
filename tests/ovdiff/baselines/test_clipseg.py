"""CLIPSeg against the library's own pass, and its decoder against loops from the paper, on random weights."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPSegForImageSegmentation, CLIPTokenizer

from benchmarks import architectures as real
from ovdiff import Bank
from ovdiff.baselines.clipseg import ClipSeg
from ovdiff.baselines.preset import ClipSegPreset
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.vocabulary import Category, Vocabulary
from tests.ovdiff.baselines.conftest import shaken

SIDE = 64
WORDS = ["cat", "sky", "a tall tree"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    made = tmp_path_factory.mktemp("clipseg")
    shaken(real.build_clipseg(shrink=8)).save_pretrained(made)
    real.build_tokenizer().save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def preset(folder: Path) -> ClipSegPreset:
    published = load_any_preset("clipseg")
    assert isinstance(published, ClipSegPreset)
    return replace(
        published,
        models=replace(published.models, clipseg=ModelSettings(str(folder))),
        decoder=replace(published.decoder, input_px=SIDE, words_at_once=2),
    )


@pytest.fixture(scope="module")
def method(preset: ClipSegPreset) -> ClipSeg:
    return ClipSeg(preset, LoadedModels())


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return CLIPSegForImageSegmentation.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8)


@torch.inference_mode()
def test_maps_are_the_probabilities_of_the_library_s_own_pass(
    method: ClipSeg, folder: Path, model: Any, images: NDArray[np.uint8]
) -> None:
    maps = method.maps(method.encode(images), WORDS, (50, 70))
    assert maps.shape == (2, 3, SIDE, SIDE)
    tokens = CLIPTokenizer.from_pretrained(folder)(
        [f"a photo of a {word}." for word in WORDS], padding=True, return_tensors="pt"
    )
    pixels = images_to_pixels(images, (SIDE, SIDE), "imagenet", torch.zeros(1))
    for image in range(2):
        expected = model(**tokens, pixel_values=pixels[image : image + 1].expand(3, -1, -1, -1)).logits.sigmoid()
        torch.testing.assert_close(maps[image], expected, rtol=1e-4, atol=1e-5)
    assert float(maps.std()) > 1e-3 and not torch.allclose(maps[:, 0], maps[:, 1])


def _attended(attention: Any, states: Tensor) -> Tensor:
    """Attention over tokens, head by head and token by token."""
    heads, depth = attention.num_heads, states.shape[1]
    q, k, v = (getattr(attention, f"{name}_proj")(states) for name in "qkv")
    found = torch.zeros_like(states)
    for head in range(heads):
        part = slice(head * depth // heads, (head + 1) * depth // heads)
        for token in range(len(states)):
            logits = [float(q[token, part] @ other) / math.sqrt(depth / heads) for other in k[:, part]]
            powers = [math.exp(logit - max(logits)) for logit in logits]
            for other, power in enumerate(powers):
                found[token, part] += power / sum(powers) * v[other, part]
    out: Tensor = attention.out_proj(found)
    return out


@torch.inference_mode()
def test_the_decoder_is_the_paper_s(method: ClipSeg, model: Any, images: NDArray[np.uint8]) -> None:
    """Blocks from the last to the first are reduced and added, with FiLM at the first; then a layer, norms after it."""
    encoded = method.encode(images[:1])
    vector = model.clip.get_text_features(
        method._loaded.tokenizer(["a photo of a sky."], return_tensors="pt").input_ids
    ).pooler_output[0]
    decoder, states = model.decoder, None
    for number, (block, reduce, layer) in enumerate(zip(encoded[::-1], decoder.reduces, decoder.layers, strict=True)):
        reduced = reduce(block[0])
        states = reduced if states is None else states + reduced
        if number == 0:
            states = decoder.film_mul(vector) * states + decoder.film_add(vector)
        states = layer.layer_norm1(states + _attended(layer.self_attn, states))
        states = layer.layer_norm2(states + layer.mlp.fc2(F.relu(layer.mlp.fc1(states))))
    assert states is not None
    side = SIDE // 16
    grid = states[1:].T.reshape(1, -1, side, side)
    expected = decoder.transposed_convolution(grid)[0, 0].sigmoid()
    found = method.maps(encoded, ["sky"], (50, 70))[0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_each_word_is_asked_by_itself(preset: ClipSegPreset, images: NDArray[np.uint8], tmp_path: Path) -> None:
    engine = make_engine(preset, Bank(tmp_path), "cpu")
    changed = replace(preset, background=replace(preset.background, threshold=0.0))
    every = make_engine(changed, Bank(tmp_path), "cpu")
    words = Vocabulary(["sky", Category("animal", prompts=("cat", "dog"))])
    found, all_of_it = engine.segment(images[0], words), every.segment(images[0], words)
    assert all_of_it.label_map.all() and found.label_map.shape == (50, 70)
    assert np.array_equal(found.label_map, np.where(all_of_it.scores < 0.5, 0, all_of_it.label_map))
    alone = every.segment(images[0], Vocabulary(["sky"]))
    np.testing.assert_allclose(
        alone.scores[all_of_it.label_map == 1], all_of_it.scores[all_of_it.label_map == 1], rtol=1e-5
    )
