from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
)
from numpy.typing import NDArray

from ovdiff.building.generation.diffusion import (
    DrawingBatch,
    SupportGenerator,
    _to_bytes,
    decode,
    image_seed,
    make_scheduler,
    share_out,
)
from ovdiff.errors import VocabularyError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.building_settings import GenerationSettings


@pytest.fixture(scope="module")
def generator(preset: Preset, models: LoadedModels) -> SupportGenerator:
    return SupportGenerator(models.diffusion(preset.models.generator), preset.generation, preset.attribution)


def test_images_are_shared_out_among_phrases() -> None:
    assert share_out(["boat", "ship"], 5) == {"boat": (0, 2, 4), "ship": (1, 3)}
    assert share_out(["a", "b"], 2) == {"a": (0,), "b": (1,)}


def test_more_phrases_than_images_are_refused_and_not_dropped() -> None:
    with pytest.raises(VocabularyError, match=r"3 prompts \('a', 'b', 'c'\).*2 images.*raise generation.images"):
        share_out(["a", "b", "c"], 2)


def test_seeds_are_fixed_and_shared_by_no_two_presets_or_attempts() -> None:
    assert image_seed(42, 0) == image_seed(42, 0, attempt=0) == 23770641637428979
    seeds = {image_seed(seed, number, attempt) for seed in range(20) for number in range(20) for attempt in range(5)}
    assert len(seeds) == 2000 and all(0 <= seed < 2**63 for seed in seeds)


def test_batch_size_changes_no_image(generator: SupportGenerator) -> None:
    together = generator.generate(DrawingBatch("boat", (0, 1, 2)))
    for number in range(3):
        alone = generator.generate(DrawingBatch("boat", (number,)))
        levels = np.abs(together.images[number].astype(int) - alone.images[0].astype(int))
        assert levels.max() <= 1  # matrix products round differently in batches of other sizes
        np.testing.assert_allclose(together.maps[number], alone.maps[0], atol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_images_of_other_phrases_in_the_same_batch_change_none(
    guidance: float, preset: Preset, models: LoadedModels
) -> None:
    settings = replace(preset.generation, guidance=guidance, negative_prompt="fish")
    generator = SupportGenerator(models.diffusion(preset.models.generator), settings, preset.attribution)
    batches = [DrawingBatch("boat", (0, 2)), DrawingBatch("red fish", (1,), 1), DrawingBatch("tree", (0,))]
    steps: list[int] = []
    found = generator.generate_together(batches, lambda: steps.append(1))
    assert len(steps) == preset.generation.steps and [len(one.images) for one in found] == [2, 1, 1]
    for batch, together in zip(batches, found, strict=True):
        alone = generator.generate(batch)
        assert np.abs(together.images.astype(int) - alone.images.astype(int)).max() <= 1
        np.testing.assert_allclose(together.maps, alone.maps, atol=1e-5)


def test_images_and_attributions_are_what_they_say(generator: SupportGenerator, preset: Preset) -> None:
    steps: list[int] = []
    found = generator.generate(DrawingBatch("red fish", (0, 1)), on_step=lambda: steps.append(1))
    size = preset.generation.size_px
    assert found.images.shape == (2, size, size, 3) and found.images.dtype == np.uint8
    grid = size // 4  # of the embedded world's autoencoder
    assert found.maps.shape == (2, grid, grid) and found.maps.dtype == np.float32
    assert found.maps.min() >= 0 and found.maps.std() > 0
    assert len(steps) == preset.generation.steps
    assert not np.array_equal(found.images[0], found.images[1])


def test_the_same_again_is_bit_for_bit_the_same(generator: SupportGenerator) -> None:
    first, second = (generator.generate(DrawingBatch("boat", (3, 4))) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.maps, second.maps)


def test_a_phrase_that_is_cut_off_is_refused(generator: SupportGenerator) -> None:
    with pytest.raises(VocabularyError, match="48 tokens"):
        generator.generate(DrawingBatch("very " * 50 + "long", (0,)))


def test_the_pipeline_keeps_its_own_scheduler(preset: Preset, models: LoadedModels) -> None:
    pipeline = models.diffusion(preset.models.generator)
    before = pipeline.scheduler
    SupportGenerator(pipeline, preset.generation, preset.attribution)
    assert pipeline.scheduler is before


def test_scheduler_is_dpm_solver_2m_with_explicit_flags(preset: Preset, models: LoadedModels) -> None:
    own = models.diffusion(preset.models.generator).scheduler.config
    scheduler = make_scheduler(GenerationSettings(), own)
    assert isinstance(scheduler, DPMSolverMultistepScheduler)
    expected = {
        "algorithm_type": "dpmsolver++",
        "solver_order": 2,
        "solver_type": "midpoint",
        "timestep_spacing": "linspace",
        "final_sigmas_type": "sigma_min",
        "prediction_type": "v_prediction",  # the model's own
        "beta_schedule": "scaled_linear",
    }
    assert {name: scheduler.config[name] for name in expected} == expected


def test_scheduler_choices_reach_the_scheduler(preset: Preset, models: LoadedModels) -> None:
    own = models.diffusion(preset.models.generator).scheduler.config
    settings = GenerationSettings(timestep_spacing="trailing", final_sigma="zero")
    assert make_scheduler(settings, own).config.final_sigmas_type == "zero"
    ddim = make_scheduler(replace(settings, scheduler="ddim", final_sigma="sigma_min"), own)
    assert isinstance(ddim, DDIMScheduler) and ddim.config.timestep_spacing == "trailing"


@pytest.mark.parametrize("scheduler", ["ddim", "lcm"])
def test_latents_are_never_clipped_whatever_a_model_s_scheduler_says(
    scheduler: Any, preset: Preset, models: LoadedModels, recwarn: pytest.WarningsRecorder
) -> None:
    """A configuration of another scheduler does not speak of it; DDIM's default is to clip, to the range of pixels."""
    pipeline = models.diffusion(preset.models.generator)
    silent = {name: value for name, value in pipeline.scheduler.config.items() if name != "clip_sample"}
    settings = replace(preset.generation, scheduler=scheduler)
    for config in (silent, {**silent, "clip_sample": True}):
        made = make_scheduler(settings, config)
        assert made.config.clip_sample is False
        StableDiffusionPipeline(**{**pipeline.components, "scheduler": made}, requires_safety_checker=False)
    assert not [warning for warning in recwarn if "clip_sample" in str(warning.message)]


def test_lcm_takes_some_of_its_fifty_steps(preset: Preset, models: LoadedModels) -> None:
    own = models.diffusion(preset.models.generator).scheduler.config
    scheduler = make_scheduler(GenerationSettings(scheduler="lcm"), own)
    assert isinstance(scheduler, LCMScheduler) and scheduler.config.prediction_type == "v_prediction"
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 759, 499, 259]


def test_euler_takes_sd_turbo_s_one_step_from_pure_noise(preset: Preset, models: LoadedModels) -> None:
    own = models.diffusion(preset.models.generator).scheduler.config
    scheduler = make_scheduler(GenerationSettings(scheduler="euler", timestep_spacing="trailing"), own)
    assert isinstance(scheduler, EulerDiscreteScheduler) and scheduler.config.timestep_spacing == "trailing"
    scheduler.set_timesteps(1)
    assert scheduler.timesteps.tolist() == [999] and scheduler.sigmas.tolist()[-1] == 0


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "ddim", "lcm", "euler"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_every_scheduler_draws_the_same_image_in_any_company(
    preset: Preset, models: LoadedModels, scheduler: Any, guidance: float
) -> None:
    """LCM adds noise at each step: it must come from each image's own generator too."""
    settings = replace(preset.generation, scheduler=scheduler, guidance=guidance)
    generator = SupportGenerator(models.diffusion(preset.models.generator), settings, preset.attribution)
    together, alone = generator.generate(DrawingBatch("boat", (0, 1))), generator.generate(DrawingBatch("boat", (1,)))
    assert np.abs(together.images[1].astype(int) - alone.images[0].astype(int)).max() <= 1
    np.testing.assert_allclose(together.maps[1], alone.maps[0], atol=1e-5)


def test_without_guidance_only_the_conditional_pass_runs(preset: Preset, models: LoadedModels) -> None:
    pipeline = models.diffusion(preset.models.generator)
    rows: list[int] = []
    handle = pipeline.unet.register_forward_pre_hook(lambda _unet, inputs: rows.append(len(inputs[0])))
    try:
        for guidance in (1.0, 3.0):
            settings = replace(preset.generation, guidance=guidance)
            SupportGenerator(pipeline, settings, preset.attribution).generate(DrawingBatch("boat", (0, 1, 2)))
    finally:
        handle.remove()
    steps = preset.generation.steps
    assert rows == [3] * steps + [6] * steps


def test_the_negative_prompt_counts_only_with_guidance(preset: Preset, models: LoadedModels) -> None:
    def draw(guidance: float, negative: str) -> NDArray[np.uint8]:
        settings = replace(preset.generation, guidance=guidance, negative_prompt=negative)
        generator = SupportGenerator(models.diffusion(preset.models.generator), settings, preset.attribution)
        return generator.generate(DrawingBatch("boat", (0,))).images

    np.testing.assert_array_equal(draw(1.0, ""), draw(1.0, "fish"))
    assert not np.array_equal(draw(3.0, ""), draw(3.0, "fish"))


def test_another_attempt_is_another_image(generator: SupportGenerator) -> None:
    first, second = (generator.generate(DrawingBatch("boat", (0,), attempt)).images for attempt in (0, 1))
    assert not np.array_equal(first, second)


def test_bytes_round_and_clip() -> None:
    pixels = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert _to_bytes(pixels)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("at_once", [None, 1, 2, 3])
def test_images_are_decoded_so_many_at_once_and_are_the_same(
    at_once: int | None, preset: Preset, models: LoadedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, sizes = models.diffusion(preset.models.generator), list[int]()
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected, run = decode(pipeline, latents), pipeline.vae.decode

    def counted(part: torch.Tensor, **options: Any) -> Any:
        sizes.append(len(part))
        return run(part, **options)

    monkeypatch.setattr(pipeline.vae, "decode", counted)
    found = decode(pipeline, latents, at_once)
    assert sizes == {None: [3], 1: [1, 1, 1], 2: [2, 1], 3: [3]}[at_once]
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_an_idle_text_encoder_is_at_hand_while_images_are_drawn_and_then_rests(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = LoadedModels("cpu+idle_texts").diffusion(preset.models.generator)
    encoder, moves = pipeline.text_encoder, list[str]()
    where = {"now": torch.device("meta")}  # It rests on another device than the UNet's.

    def to(device: torch.device) -> None:
        where["now"] = torch.device(device)
        moves.append(str(device))

    monkeypatch.setattr(encoder, "to", to)
    monkeypatch.setattr(type(encoder), "device", property(lambda _self: where["now"]))
    generator = SupportGenerator(pipeline, preset.generation, preset.attribution)
    generator.generate(DrawingBatch("boat", (0,)), lambda: moves.append("step"))
    assert moves == ["cpu", "step", "step", "meta"]
