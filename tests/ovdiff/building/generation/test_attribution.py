"""Attribution against a direct computation from full attention probabilities."""

import copy
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.building.generation.attribution import (
    AttributionRecorder,
    Tokens,
    normalise_maps,
    recorded_steps,
    token_probabilities,
    upsample_and_merge,
)
from ovdiff.errors import PresetError
from ovdiff.models.cross_attention import cross_attention_layers
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.building_settings import AttributionSettings

SPAN = slice(6, 8)
GRID = 16
STEPS = 3


@pytest.fixture(scope="module")
def pipeline(preset: Preset, models: LoadedModels) -> StableDiffusionPipeline:
    return models.diffusion(preset.models.generator)


def _sample(pipeline: StableDiffusionPipeline, guidance: float, on_step: Any = lambda: None) -> Tensor:
    def end_step(_pipe: Any, _index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step()
        return tensors

    return pipeline(
        ["a good photo of a red fish"] * 2,
        negative_prompt=["text"] * 2,
        height=64,
        width=64,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)],
        callback_on_step_end=end_step,
        output_type="latent",
    ).images


class _Unfused:
    """Attention by its definition, every probability kept: both halves, all heads, all tokens."""

    def __init__(self, name: str, kept: list["_Kept"], step: list[int]) -> None:
        self.name, self.kept, self.step = name, kept, step

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        assert encoder_hidden_states is not None and attention_mask is None
        batch, places, width = hidden_states.shape
        query, key, value = (
            layer(states).reshape(batch, -1, attn.heads, width // attn.heads).transpose(1, 2)
            for layer, states in (
                (attn.to_q, hidden_states),
                (attn.to_k, encoder_hidden_states),
                (attn.to_v, encoder_hidden_states),
            )
        )
        scores = torch.einsum("bhpd,bhtd->bhpt", query, key) / (width // attn.heads) ** 0.5
        exponents = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        probabilities = exponents / exponents.sum(dim=-1, keepdim=True)
        self.kept.append(_Kept(self.name, self.step[0], probabilities.double().numpy()))
        merged = torch.einsum("bhpt,bhtd->bhpd", probabilities, value).transpose(1, 2).reshape(batch, places, width)
        output: Tensor = attn.to_out[1](attn.to_out[0](merged))
        return output


class _Kept(NamedTuple):
    """Probabilities (2B, heads, places, tokens) of one layer in one step; only B without guidance."""

    layer: str
    step: int
    probabilities: NDArray[np.float64]


def _unfused(
    pipeline: StableDiffusionPipeline, settings: AttributionSettings, guidance: float
) -> tuple[list[_Kept], Tensor]:
    """Sample with definitions in place of the fused cross-attention."""
    kept: list[_Kept] = []
    step = [0]
    layers = cross_attention_layers(pipeline.unet, settings.layers)
    originals = {name: layer.processor for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.set_processor(_Unfused(name, kept, step))

    def count() -> None:
        step[0] += 1

    try:
        return kept, _sample(pipeline, guidance, count)
    finally:
        for name, layer in layers.items():
            layer.set_processor(originals[name])


def _by_definition(kept: list[_Kept], settings: AttributionSettings, half: slice) -> NDArray[np.float64]:
    """A.2, steps 2 to 5, map by map: each head of each layer and step counts alike."""
    first, last = settings.step_range
    total, count = np.zeros((2, GRID, GRID)), 0
    for entry in kept:
        if not first <= entry.step / STEPS < last:
            continue
        side = round(entry.probabilities.shape[2] ** 0.5)
        enlarge = _bicubic(side, GRID)
        for head in range(entry.probabilities.shape[1]):
            for image, probabilities in enumerate(entry.probabilities[half, head]):
                tokens = [
                    np.maximum(0, enlarge @ probabilities[:, token].reshape(side, side) @ enlarge.T)
                    for token in range(SPAN.start, SPAN.stop)
                ]
                total[image] += np.mean(tokens, axis=0)
            count += 1
    return total / count


def _bicubic(size: int, wanted: int) -> NDArray[np.float64]:
    """Return the (wanted, size) matrix of Keys' cubic with a = -0.75, corners not aligned, borders repeated."""

    def weight(distance: float) -> float:
        x, a = abs(distance), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    matrix = np.zeros((wanted, size))
    for row in range(wanted):
        centre = (row + 0.5) * size / wanted - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            matrix[row, min(max(tap, 0), size - 1)] += weight(centre - tap)
    return matrix


def _bilinear(size: int, wanted: int) -> NDArray[np.float64]:
    centres = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    return np.stack([np.interp(centres, np.arange(size), unit) for unit in np.eye(size)], axis=1)


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (values - values.min()) / (values.max() - values.min())


def _recorded(
    pipeline: StableDiffusionPipeline, settings: AttributionSettings, guidance: float
) -> tuple[Tensor, Tensor]:
    recorder = AttributionRecorder(pipeline.unet, settings, SPAN, images=2, grid=GRID, steps=STEPS)
    with recorder:
        latents = _sample(pipeline, guidance, recorder.end_step)
    return recorder.maps(), latents


@pytest.mark.parametrize(
    ("settings", "guidance"),
    [
        (AttributionSettings(), 3.0),
        (AttributionSettings(), 1.0),  # no guidance: the whole batch is conditional
        (AttributionSettings(layers=("down_blocks.0", "up_blocks.2.attentions.1")), 3.0),
        (AttributionSettings(layers=("mid_block",), step_range=(0.3, 0.7)), 3.0),
    ],
)
def test_recorded_maps_are_the_directly_computed_ones(
    pipeline: StableDiffusionPipeline, settings: AttributionSettings, guidance: float
) -> None:
    kept, _ = _unfused(pipeline, settings, guidance)
    expected = _by_definition(kept, settings, slice(-2, None))
    found, _ = _recorded(pipeline, settings, guidance)
    assert len({entry.layer for entry in kept}) == len(cross_attention_layers(pipeline.unet, settings.layers))
    assert all(len(entry.probabilities) == (4 if guidance > 1 else 2) for entry in kept)
    assert all(entry.probabilities.shape[-1] == pipeline.tokenizer.model_max_length for entry in kept)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)
    assert found.std() > 0


def test_the_unconditional_half_would_give_other_maps(pipeline: StableDiffusionPipeline) -> None:
    kept, _ = _unfused(pipeline, AttributionSettings(), 3.0)
    conditional, unconditional = (
        _by_definition(kept, AttributionSettings(), half) for half in (slice(2, None), slice(0, 2))
    )
    assert np.abs(conditional - unconditional).max() > 100 * 1e-6


def test_maps_are_scaled_enlarged_and_scaled_again(pipeline: StableDiffusionPipeline) -> None:
    recorded, _ = _recorded(pipeline, AttributionSettings(), 3.0)
    enlarge = _bilinear(GRID, 64)
    expected = [_scaled(enlarge @ _scaled(one) @ enlarge.T) for one in recorded.double().numpy()]
    # the reference's eps of 1e-6 keeps the greatest value a little below 1 where a map is nearly flat
    np.testing.assert_allclose(normalise_maps(recorded, 64).numpy(), expected, atol=2e-2)
    np.testing.assert_allclose(normalise_maps(recorded * 1e4, 64).numpy(), expected, atol=1e-4)


def test_recording_changes_no_bit_of_an_image(pipeline: StableDiffusionPipeline) -> None:
    _, recorded = _recorded(pipeline, AttributionSettings(), 3.0)
    assert torch.equal(recorded, _sample(pipeline, 3.0))


def test_fused_and_unfused_attention_draw_the_same_image(pipeline: StableDiffusionPipeline) -> None:
    _, unfused = _unfused(pipeline, AttributionSettings(), 3.0)
    torch.testing.assert_close(unfused, _sample(pipeline, 3.0), rtol=1e-3, atol=1e-3)


def test_bicubic_overshoot_is_clamped_and_every_head_counts_alike() -> None:
    maps = torch.zeros(1, 2, 1, 4, 4)
    maps[0, 0, 0, 1, 1] = 1.0  # beside a peak, bicubic interpolation falls below 0
    maps[0, 1] = 0.25
    merged = upsample_and_merge(maps, 16)
    enlarge = _bicubic(4, 16)
    peak = enlarge @ maps[0, 0, 0].double().numpy() @ enlarge.T
    assert peak.min() < -0.01
    np.testing.assert_allclose(merged[0].numpy(), np.maximum(peak, 0) + 0.25, atol=1e-6)


def test_tokens_of_one_category_are_averaged() -> None:
    maps = torch.rand(2, 3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    merged = upsample_and_merge(maps, 8)
    torch.testing.assert_close(merged, maps.mean(dim=2).sum(dim=1))


def test_tokens_of_each_image_count_as_they_do_alone(pipeline: StableDiffusionPipeline) -> None:
    spans = [slice(6, 8), slice(6, 7), slice(4, 8)]
    layer = next(iter(cross_attention_layers(pipeline.unet, ("down_blocks.0",)).values()))
    hidden = torch.randn(3, 16, layer.query_dim, generator=torch.Generator().manual_seed(0))
    text = torch.randn(3, 48, layer.cross_attention_dim, generator=torch.Generator().manual_seed(1))
    tokens = Tokens.of(spans, torch.device("cpu"), most=8)
    assert tokens.positions.shape == (3, 8) and torch.equal(tokens.weights.sum(dim=1), torch.ones(3))
    together = upsample_and_merge(token_probabilities(layer, hidden, text, tokens), GRID, tokens.weights)
    for row, span in enumerate(spans):
        one = slice(row, row + 1)
        alone = upsample_and_merge(token_probabilities(layer, hidden[one], text[one], span), GRID)
        torch.testing.assert_close(together[one], alone)


def test_probabilities_are_float32_in_a_half_precision_model(pipeline: StableDiffusionPipeline) -> None:
    layer = next(iter(cross_attention_layers(pipeline.unet, ("down_blocks.0",)).values()))
    hidden = torch.randn(1, 16, layer.query_dim, generator=torch.Generator().manual_seed(0))
    text = torch.randn(1, 48, layer.cross_attention_dim, generator=torch.Generator().manual_seed(1))
    exact = token_probabilities(layer, hidden, text, slice(0, 48))
    half = token_probabilities(copy.deepcopy(layer).bfloat16(), hidden.bfloat16(), text.bfloat16(), slice(0, 48))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.sum(dim=2), torch.ones(1, layer.heads, 4, 4))  # bfloat16 sums are 1e-2 off
    torch.testing.assert_close(half, exact, rtol=0.2, atol=1e-3)


def test_self_attention_is_left_alone_and_processors_are_put_back(pipeline: StableDiffusionPipeline) -> None:
    before = dict(pipeline.unet.attn_processors)
    recorder = AttributionRecorder(pipeline.unet, AttributionSettings(), SPAN, images=1, grid=GRID, steps=STEPS)
    with pytest.raises(RuntimeError, match="stop"), recorder:
        own = {name: type(pipeline.unet.attn_processors[name]) for name in before if ".attn1." in name}
        assert own and set(own.values()) == {AttnProcessor2_0}  # fused
        changed = {name for name, processor in pipeline.unet.attn_processors.items() if processor is not before[name]}
        assert changed == {name for name in before if ".attn2." in name}
        raise RuntimeError("stop")
    assert pipeline.unet.attn_processors == before


def test_nothing_recorded_says_what_to_do(pipeline: StableDiffusionPipeline) -> None:
    recorder = AttributionRecorder(pipeline.unet, AttributionSettings(), SPAN, images=1, grid=GRID, steps=STEPS)
    with pytest.raises(RuntimeError, match="inside the 'with' block"):
        recorder.maps()


def test_steps_are_counted_as_fractions() -> None:
    assert recorded_steps(AttributionSettings(), 4) == range(4)
    assert recorded_steps(AttributionSettings(step_range=(0.25, 0.75)), 4) == range(1, 3)
    assert recorded_steps(AttributionSettings(step_range=(0.9, 1.0)), 4) == range(0)


def test_unknown_layer_lists_the_known_ones(pipeline: StableDiffusionPipeline) -> None:
    with pytest.raises(PresetError, match=r"'up_blocks.9'.*up_blocks\.1\.attentions\.0"):
        AttributionRecorder(
            pipeline.unet, AttributionSettings(layers=("up_blocks.9",)), SPAN, images=1, grid=GRID, steps=1
        )


def test_normalised_maps_reach_from_0_to_1_and_a_constant_map_is_0() -> None:
    maps = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 5
    maps[1] = 7
    found = normalise_maps(maps, 32)
    assert found.shape == (2, 32, 32) and found.dtype == torch.float32
    assert float(found[0].min()) == 0 and 0.999 < float(found[0].max()) <= 1
    assert np.isfinite(found.numpy()).all() and float(found[1].max()) == 0
