"""Support images: one category's prompts through a latent diffusion model (A.1).

Image n of a category has a random generator of its own, seeded from the preset's seed and n, so that the
batch size, the number of images and the order of categories change no image (rounding apart).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.generation.attribution import AttributionRecorder, normalise_maps
from ovdiff.generation.tokens import category_span
from ovdiff.presets.schema import AttributionSettings, GenerationSettings


@dataclass(frozen=True)
class Batch:
    """Images that are sampled together: one phrase, and the images' numbers within the category."""

    phrase: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Generated:
    """A batch's result: images (B, S, S, 3) uint8 RGB and attributions (B, S, S) float32 in [0, 1]."""

    images: NDArray[np.uint8]
    attributions: NDArray[np.float32]


def plan_batches(phrases: Sequence[str], images: int, batch_size: int) -> tuple[Batch, ...]:
    """Share N images out among the phrases, evenly, and group each phrase's into batches."""
    batches = []
    for index, phrase in enumerate(phrases):
        numbers = range(index, images, len(phrases))
        batches += [
            Batch(phrase, tuple(numbers[start : start + batch_size])) for start in range(0, len(numbers), batch_size)
        ]
    return tuple(batches)


def image_seed(seed: int, number: int) -> int:
    """Return the seed of one image: a hash, so that preset seeds 42 and 43 share no image."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:7], "big")


class SupportGenerator:
    """Samples support images with their attribution maps."""

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        generation: GenerationSettings,
        attribution: AttributionSettings,
    ) -> None:
        """Use the pipeline's models with the preset's scheduler; the pipeline itself is left as it is."""
        scheduler = make_scheduler(generation, pipeline.scheduler.config)
        parts = {**pipeline.components, "scheduler": scheduler}
        self._pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        self._pipeline.set_progress_bar_config(disable=True)
        self._generation, self._attribution = generation, attribution

    def generate(self, batch: Batch, on_step: Callable[[], None] = lambda: None) -> Generated:
        """Sample one batch.

        Raises:
            VocabularyError: the phrase does not fit into the prompt.
            PresetError: an attribution layer that the UNet does not have.
        """
        settings, count = self._generation, len(batch.numbers)
        prompt = settings.prompt_template.replace("{category}", batch.phrase)
        recorder = AttributionRecorder(
            self._pipeline.unet,
            self._attribution,
            category_span(self._pipeline.tokenizer, prompt, batch.phrase),
            images=count,
            grid=settings.size_px // self._pipeline.vae_scale_factor,
            steps=settings.steps,
        )
        with recorder:
            latents = self._sample(prompt, batch, recorder, on_step)
        maps = normalise_maps(recorder.maps(), settings.size_px)
        return Generated(decode(self._pipeline, latents), maps.cpu().numpy())

    @torch.inference_mode()
    def _sample(self, prompt: str, batch: Batch, recorder: AttributionRecorder, on_step: Callable[[], None]) -> Tensor:
        settings = self._generation

        def end_step(_pipeline: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            recorder.end_step()
            on_step()
            return tensors

        latents: Tensor = self._pipeline(
            [prompt] * len(batch.numbers),
            negative_prompt=[settings.negative_prompt] * len(batch.numbers),
            height=settings.size_px,
            width=settings.size_px,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=[self._random(number) for number in batch.numbers],
            callback_on_step_end=end_step,
            output_type="latent",
        ).images
        return latents

    def _random(self, number: int) -> torch.Generator:
        return torch.Generator("cpu").manual_seed(image_seed(self._generation.seed, number))


def make_scheduler(settings: GenerationSettings, config: Any) -> Any:
    """Build the preset's scheduler on a model's own noise schedule and prediction type.

    The flags that newer diffusers releases changed the defaults of are given explicitly (A.1).
    """
    if settings.scheduler == "ddim":
        return DDIMScheduler.from_config(config, timestep_spacing=settings.timestep_spacing)
    return DPMSolverMultistepScheduler.from_config(
        config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        lower_order_final=True,
        use_karras_sigmas=False,
        timestep_spacing=settings.timestep_spacing,
        final_sigmas_type=settings.final_sigma,
    )


@torch.inference_mode()
def decode(pipeline: StableDiffusionPipeline, latents: Tensor) -> NDArray[np.uint8]:
    """Decode latents (B, C, h, w) to images (B, H, W, 3) uint8 RGB, in the VAE's own dtype."""
    vae = pipeline.vae
    pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
    scaled = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
