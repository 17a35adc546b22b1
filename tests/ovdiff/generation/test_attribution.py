"""Attribution against a direct computation from full attention probabilities."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor

from ovdiff.cross_attention import cross_attention_layers
from ovdiff.errors import PresetError
from ovdiff.generation.attribution import AttributionRecorder, normalise_maps, recorded_steps
from ovdiff.models import Models
from ovdiff.presets import Preset
from ovdiff.presets.schema import AttributionSettings

SPAN = slice(6, 8)
GRID = 16
STEPS = 3


@pytest.fixture(scope="module")
def pipeline(preset: Preset, models: Models) -> StableDiffusionPipeline:
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


class _FullProbabilities(AttnProcessor):
    """The library's unfused processor, which also keeps every probability."""

    def __init__(self, name: str, kept: list[tuple[str, int, Tensor]], step: list[int]) -> None:
        super().__init__()
        self.name, self.kept, self.step = name, kept, step

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *_: Any, **__: Any
    ) -> Tensor:
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        self.kept.append((self.name, self.step[0], attn.get_attention_scores(query, key)))
        return super().__call__(attn, hidden_states, encoder_hidden_states)


def _direct(
    pipeline: StableDiffusionPipeline, settings: AttributionSettings, guidance: float
) -> tuple[Tensor, list[tuple[str, int, Tensor]]]:
    """Attribution by the definition: all probabilities kept, then averaged one map after the other."""
    kept: list[tuple[str, int, Tensor]] = []
    step = [0]
    layers = cross_attention_layers(pipeline.unet, settings.layers)
    originals = {name: layer.processor for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.set_processor(_FullProbabilities(name, kept, step))

    def count() -> None:
        step[0] += 1

    _sample(pipeline, guidance, count)
    for name, layer in layers.items():
        layer.set_processor(originals[name])
    first, last = settings.step_range
    maps = []
    for name, at, probabilities in kept:
        if not first <= at / STEPS < last:
            continue
        heads = layers[name].heads
        side = round(probabilities.shape[1] ** 0.5)
        by_head = probabilities.reshape(-1, heads, side, side, probabilities.shape[-1])[-2:]  # conditional half
        for head in range(heads):
            tokens = [
                F.interpolate(by_head[:, head, None, :, :, token], (GRID, GRID), mode="bicubic").clamp(min=0)[:, 0]
                for token in range(SPAN.start, SPAN.stop)
            ]
            maps.append(torch.stack(tokens).mean(dim=0))
    return torch.stack(maps).mean(dim=0), kept


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
    expected, kept = _direct(pipeline, settings, guidance)
    found, _ = _recorded(pipeline, settings, guidance)
    assert len({name for name, _, _ in kept}) == len(cross_attention_layers(pipeline.unet, settings.layers))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert found.std() > 0


def test_recording_changes_no_image(pipeline: StableDiffusionPipeline) -> None:
    _, recorded = _recorded(pipeline, AttributionSettings(), 3.0)
    assert torch.equal(recorded, _sample(pipeline, 3.0))


def test_self_attention_is_left_alone_and_processors_are_put_back(pipeline: StableDiffusionPipeline) -> None:
    before = dict(pipeline.unet.attn_processors)
    recorder = AttributionRecorder(pipeline.unet, AttributionSettings(), SPAN, images=1, grid=GRID, steps=STEPS)
    with pytest.raises(RuntimeError, match="stop"), recorder:
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
