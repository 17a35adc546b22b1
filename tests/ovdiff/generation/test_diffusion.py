from dataclasses import replace

import numpy as np
import pytest
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from ovdiff.errors import VocabularyError
from ovdiff.generation.diffusion import Batch, SupportGenerator, image_seed, make_scheduler, plan_batches
from ovdiff.models import Models
from ovdiff.presets import Preset
from ovdiff.presets.schema import GenerationSettings


@pytest.fixture(scope="module")
def generator(preset: Preset, models: Models) -> SupportGenerator:
    return SupportGenerator(models.diffusion(preset.models.generator), preset.generation, preset.attribution)


def test_images_are_shared_out_among_phrases_and_batched() -> None:
    assert plan_batches(["boat", "ship"], 5, 2) == (
        Batch("boat", (0, 2)),
        Batch("boat", (4,)),
        Batch("ship", (1, 3)),
    )


def test_more_phrases_than_images_use_the_first_ones() -> None:
    assert plan_batches(["a", "b", "c"], 2, 8) == (Batch("a", (0,)), Batch("b", (1,)))


def test_seeds_are_fixed_and_shared_by_no_two_presets() -> None:
    assert image_seed(42, 0) == image_seed(42, 0)
    seeds = {image_seed(seed, number) for seed in range(50) for number in range(50)}
    assert len(seeds) == 2500 and all(0 <= seed < 2**63 for seed in seeds)


def test_batch_size_changes_no_image(generator: SupportGenerator) -> None:
    together = generator.generate(Batch("boat", (0, 1, 2)))
    for number in range(3):
        alone = generator.generate(Batch("boat", (number,)))
        levels = np.abs(together.images[number].astype(int) - alone.images[0].astype(int))
        assert levels.max() <= 1  # matrix products round differently in batches of other sizes
        np.testing.assert_allclose(together.attributions[number], alone.attributions[0], atol=1e-3)


def test_images_and_attributions_are_what_they_say(generator: SupportGenerator, preset: Preset) -> None:
    steps: list[int] = []
    found = generator.generate(Batch("red fish", (0, 1)), on_step=lambda: steps.append(1))
    size = preset.generation.size_px
    assert found.images.shape == (2, size, size, 3) and found.images.dtype == np.uint8
    assert found.attributions.shape == (2, size, size) and found.attributions.dtype == np.float32
    assert found.attributions.min() >= 0 and found.attributions.max() <= 1
    assert len(steps) == preset.generation.steps
    assert not np.array_equal(found.images[0], found.images[1])


def test_the_same_again_is_bit_for_bit_the_same(generator: SupportGenerator) -> None:
    first, second = (generator.generate(Batch("boat", (3, 4))) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.attributions, second.attributions)


def test_a_phrase_that_is_cut_off_is_refused(generator: SupportGenerator) -> None:
    with pytest.raises(VocabularyError, match="48 tokens"):
        generator.generate(Batch("very " * 50 + "long", (0,)))


def test_the_pipeline_keeps_its_own_scheduler(preset: Preset, models: Models) -> None:
    pipeline = models.diffusion(preset.models.generator)
    before = pipeline.scheduler
    SupportGenerator(pipeline, preset.generation, preset.attribution)
    assert pipeline.scheduler is before


def test_scheduler_is_dpm_solver_2m_with_explicit_flags(preset: Preset, models: Models) -> None:
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


def test_scheduler_choices_reach_the_scheduler(preset: Preset, models: Models) -> None:
    own = models.diffusion(preset.models.generator).scheduler.config
    settings = GenerationSettings(timestep_spacing="trailing", final_sigma="zero")
    assert make_scheduler(settings, own).config.final_sigmas_type == "zero"
    ddim = make_scheduler(replace(settings, scheduler="ddim", final_sigma="sigma_min"), own)
    assert isinstance(ddim, DDIMScheduler) and ddim.config.timestep_spacing == "trailing"
