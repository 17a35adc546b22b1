"""Each way of attention against a slow reference: loops over heads and tokens, from the papers' formulas in float64."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPModel

from ovdiff.baselines.attention import dense_states, gaussian
from ovdiff.baselines.preset import DenseSettings
from ovdiff.errors import PresetError
from ovdiff.models.clip import Clip
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets.model_settings import ClipModelSettings

GRID = (3, 4)
PATCH = 16
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def model(clip_folders: dict[str, Path]) -> Any:
    return CLIPModel.from_pretrained(clip_folders["transformers"]).vision_model.double().eval()


@pytest.fixture(scope="module")
def clips(clip_folders: dict[str, Path]) -> dict[str, Clip]:
    settings = {name: ClipModelSettings(source=str(path), library=name) for name, path in clip_folders.items()}  # type: ignore[arg-type]
    return {name: LoadedModels().clip(each) for name, each in settings.items()}


@pytest.fixture
def entering(clips: dict[str, Clip], photographs: NDArray[np.uint8]) -> Tensor:
    """The first block's input of one image, (1, 13, 96)."""
    with torch.inference_mode():
        return clips["transformers"].tower().embed(photographs[:1], (48, 64), "clip", "bicubic")


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    found: Array = powers / powers.sum()
    return found


def projected(layer: Any, states: Array) -> tuple[Array, Array, Array]:
    """Queries, keys and values (N, D) of a block."""
    normed = layer.layer_norm1(torch.from_numpy(states))
    attention = layer.self_attn
    q, k, v = (getattr(attention, f"{name}_proj")(normed).detach().numpy() for name in "qkv")
    return q, k, v


def distance_squared(one: int, other: int) -> float:
    """Between two tokens of the grid, of which token 0 is the class."""
    (row, column), (to_row, to_column) = (divmod(token - 1, GRID[1]) for token in (one, other))
    return float((row - to_row) ** 2 + (column - to_column) ** 2)


def weights_of(way: str, token: int, q: Array, k: Array, v: Array, std: float) -> Array:
    """How much of each token's value a token takes in one head, by the paper's formula."""
    scale = 1 / math.sqrt(q.shape[1])
    logits = {
        "qk": np.array([scale * float(q[token] @ other) for other in k]),
        "qq": np.array([scale * float(q[token] @ other) for other in q]),
        "kk": np.array([scale * float(k[token] @ other) for other in k]),
        "vv": np.array([scale * float(v[token] @ other) for other in v]),
    }
    if way == "maskclip":
        return np.array([1.0 if other == token else 0.0 for other in range(len(v))])
    if way == "sclip":
        return softmax(logits["qq"]) + softmax(logits["kk"])
    if way == "naclip":
        near = [
            0.0 if 0 in (token, other) else math.exp(-distance_squared(token, other) / (2 * std**2))
            for other in range(len(v))
        ]
        return softmax(logits["kk"] + np.array(near))
    return softmax(logits["vv" if way == "vv" else "qk"])


def attended(layer: Any, states: Array, way: str, std: float = 5.0) -> Array:
    """A block's attention (N, D) with its output projection, head by head and token by token."""
    heads, depth = layer.self_attn.num_heads, states.shape[1]
    q, k, v = projected(layer, states)
    found = np.zeros_like(states)
    for head in range(heads):
        part = slice(head * depth // heads, (head + 1) * depth // heads)
        for token in range(len(states)):
            weights = weights_of(way, token, q[:, part], k[:, part], v[:, part], std)
            for other, weight in enumerate(weights):
                found[token, part] += weight * v[other, part]
    out: Array = layer.self_attn.out_proj(torch.from_numpy(found)).detach().numpy()
    return out


def fed(layer: Any, states: Array) -> Array:
    out: Array = layer.mlp(layer.layer_norm2(torch.from_numpy(states))).detach().numpy()
    return out


def whole(layer: Any, states: Array) -> Array:
    between = states + attended(layer, states, "plain")
    return between + fed(layer, between)


def reference(model: Any, states: Array, way: str, *, keep: bool, std: float = 5.0) -> Array:
    """All blocks, of which the last is changed; ``keep`` says whether its residual and feed-forward part stay."""
    *before, last = model.encoder.layers
    for layer in before:
        states = whole(layer, states)
    changed = attended(last, states, way, std)
    if not keep:
        return changed
    changed = states + changed
    return changed + fed(last, changed)


def surgery_reference(model: Any, states: Array, count: int) -> Array:
    """CLIP surgery's two paths."""
    layers = list(model.encoder.layers)
    for layer in layers[:-count]:
        states = whole(layer, states)
    own, new = states, states
    for layer in layers[-count:]:
        gathered = attended(layer, own, "vv")
        own = whole(layer, own)
        new = new + gathered
    return np.concatenate([own[:1], new[1:]])


def ours(clips: dict[str, Clip], states: Tensor, library: str = "transformers", **settings: Any) -> Tensor:
    with torch.inference_mode():
        return dense_states(clips[library].tower().blocks, states, GRID, DenseSettings(**settings))


@pytest.mark.parametrize("last_block", ["whole", "attention"])
@pytest.mark.parametrize("way", ["plain", "maskclip", "sclip", "naclip"])
def test_a_changed_last_block_is_the_paper_s_formula(
    way: str, last_block: str, model: Any, clips: dict[str, Clip], entering: Tensor
) -> None:
    expected = reference(model, entering[0].double().numpy(), way, keep=last_block == "whole", std=1.5)
    found = ours(clips, entering, attention=way, last_block=last_block, gaussian_std=1.5)[0].double().numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("count", [1, 2, 6])
def test_clip_surgery_s_paths_are_the_paper_s(count: int, model: Any, clips: dict[str, Clip], entering: Tensor) -> None:
    expected = surgery_reference(model, entering[0].double().numpy(), count)
    found = ours(clips, entering, attention="clip_surgery", surgery_blocks=count)[0].double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_the_ways_differ(clips: dict[str, Clip], entering: Tensor) -> None:
    found = [ours(clips, entering, attention=way) for way in ("plain", "maskclip", "sclip", "naclip", "clip_surgery")]
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            assert float((one - other).abs().max()) > 1e-3


def test_the_plain_way_is_the_library_s_own(
    clips: dict[str, Clip], entering: Tensor, photographs: NDArray[np.uint8]
) -> None:
    clip = clips["transformers"]
    with torch.inference_mode():
        states = clip.tower().finish(ours(clips, entering, attention="plain", last_block="whole"))
    expected = clip.tokens(photographs[:1], (48, 64), "clip")
    torch.testing.assert_close(states[:, 1:].transpose(1, 2).unflatten(2, GRID), expected)


@pytest.mark.parametrize("way", ["plain", "maskclip", "sclip", "naclip", "clip_surgery"])
def test_both_libraries_give_the_same(way: str, clips: dict[str, Clip], photographs: NDArray[np.uint8]) -> None:
    found = []
    with torch.inference_mode():
        for library, clip in clips.items():
            tower = clip.tower()
            states = tower.embed(photographs, (48, 64), "clip", "bicubic")
            found.append(tower.finish(ours(clips, states, library, attention=way)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4 * float(found[0].abs().max()))


def test_a_gaussian_is_one_at_a_patch_falls_off_and_leaves_the_class_token_out() -> None:
    found = gaussian(GRID, 2.0, torch.zeros(1))
    assert found.shape == (13, 13) and not found[0].any() and not found[:, 0].any()
    assert torch.equal(found[1:, 1:].diagonal(), torch.ones(12))
    one_right, one_below = 2, 1 + GRID[1]
    assert float(found[1, one_right]) == pytest.approx(math.exp(-1 / 8)) == float(found[1, one_below])
    assert float(found[1, 12]) == pytest.approx(math.exp(-(2**2 + 3**2) / 8))


def test_more_changed_blocks_than_there_are_are_refused(clips: dict[str, Clip], entering: Tensor) -> None:
    settings = replace(DenseSettings(attention="clip_surgery"), surgery_blocks=13)
    with pytest.raises(PresetError, match=r"dense.surgery_blocks is 13; CLIP's image encoder has 12 blocks\."):
        dense_states(clips["transformers"].tower().blocks, entering, GRID, settings)
