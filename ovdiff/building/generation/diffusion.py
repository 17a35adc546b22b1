"""A latent diffusion model draws a category's support images from its prompts (A.1).

Image n of a category has a random generator of its own. Its seed is made from the preset's seed, from n, and from how
often n was drawn before. Batch size, number of images and order of categories therefore change no image, except by
rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.building.generation.attribution import AttributionRecorder, Tokens
from ovdiff.building.generation.graphs import LEAST_TOKENS, Record, StepGraphs
from ovdiff.building.generation.tokens import category_span, fill
from ovdiff.errors import VocabularyError
from ovdiff.models.memory import run_in_batches
from ovdiff.presets.building_settings import LCM_STEPS, AttributionSettings, GenerationSettings

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


@dataclass(frozen=True)
class DrawingBatch:
    """The request for support images of one phrase that are drawn together.

    Attributes:
        phrase: the phrase that is put into the prompt template.
        numbers: the number of each image within its category.
        attempt: how many times the images of these numbers were drawn and refused before.
    """

    phrase: str
    numbers: tuple[int, ...]
    attempt: int = 0


@dataclass(frozen=True)
class Generated:
    """The images that were drawn for a `DrawingBatch`, and where each shows the category.

    Attributes:
        images: (B, S, S, 3) uint8 RGB.
        maps: (B, g, g) float32, attribution as recorded. g is the side of the latent grid, and the scale is arbitrary.
    """

    images: NDArray[np.uint8]
    maps: NDArray[np.float32]


def share_out(phrases: Sequence[str], images: int) -> dict[str, tuple[int, ...]]:
    """Share the numbers of N images out among the phrases, evenly.

    Raises:
        VocabularyError: there are more phrases than images, so some phrases would not be drawn.
    """
    if len(phrases) > images:
        raise VocabularyError(
            f"A category has {len(phrases)} prompts ({', '.join(map(repr, phrases))}), but the preset draws "
            f"{images} images a category. Give at most {images}, or raise generation.images."
        )
    return {phrase: tuple(range(index, images, len(phrases))) for index, phrase in enumerate(phrases)}


def image_seed(seed: int, number: int, attempt: int = 0) -> int:
    """Return the seed of one drawing of an image: a hash, so that preset seeds 42 and 43 share no image."""
    text = f"{seed}:{number}:{attempt}" if attempt else f"{seed}:{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


class SupportGenerator:
    """Samples support images with their attribution maps."""

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        generation: GenerationSettings,
        attribution: AttributionSettings,
        decoded_at_once: int | None = None,
        make_record: Callable[[], Record] | None = None,
    ) -> None:
        """Use the pipeline's models with the preset's scheduler; the pipeline itself is left as it is.

        Where the text encoder is on the CPU and the UNet is not, the encoder is sent to the UNet for each batch, and
        back. ``decoded_at_once`` images are decoded together; see :func:`decode`. With ``make_record`` the UNet's steps
        are recorded and replayed; see :mod:`ovdiff.building.generation.graphs`.
        """
        from diffusers import StableDiffusionPipeline

        scheduler = make_scheduler(generation, pipeline.scheduler.config)
        parts = {**pipeline.components, "scheduler": scheduler}
        self._pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        self._pipeline.set_progress_bar_config(disable=True)
        self._generation, self._attribution = generation, attribution
        self._decoded_at_once = decoded_at_once
        grid = generation.size_px // self._pipeline.vae_scale_factor
        self._graphs = make_record and StepGraphs(self._pipeline.unet, attribution, grid, make_record)

    def generate(self, batch: DrawingBatch, on_step: Callable[[], None] = lambda: None) -> Generated:
        """Sample one batch; ``on_step`` is called after each denoising step.

        Raises:
            VocabularyError: the phrase does not fit into the prompt.
            PresetError: the preset names an attribution layer that the UNet does not have.
        """
        return self.generate_together([batch], on_step)[0]

    def generate_together(
        self, batches: Sequence[DrawingBatch], on_step: Callable[[], None] = lambda: None
    ) -> list[Generated]:
        """Sample several batches, of any phrases, as one; each image is that of its own batch, apart from rounding.

        It raises what `generate` raises.
        """
        settings, tokens = self._generation, self._tokens(batches)
        recorder = AttributionRecorder(
            self._pipeline.unet,
            self._attribution,
            tokens,
            images=sum(len(batch.numbers) for batch in batches),
            grid=settings.size_px // self._pipeline.vae_scale_factor,
            steps=settings.steps,
        )
        recording = (
            self._graphs.recording(recorder, tokens) if self._graphs and isinstance(tokens, Tokens) else recorder
        )
        with recording, self._text_encoder_at_hand():
            latents = self._sample(batches, recorder, on_step)
        images, maps = decode(self._pipeline, latents, self._decoded_at_once), recorder.maps().cpu().numpy()
        ends = np.cumsum([len(batch.numbers) for batch in batches])[:-1]
        return [Generated(*pair) for pair in zip(np.split(images, ends), np.split(maps, ends), strict=True)]

    def span(self, phrase: str) -> slice:
        """Return the positions of a phrase's tokens in its prompt.

        Raises:
            VocabularyError: the phrase does not fit into the prompt.
        """
        return category_span(self._pipeline.tokenizer, self._generation.prompt_template, phrase)

    def _tokens(self, batches: Sequence[DrawingBatch]) -> slice | Tokens:
        """Return the tokens that count: the same of all images, unless phrases differ or steps are recorded."""
        spans = [self.span(batch.phrase) for batch in batches]
        if self._graphs is None and all(span == spans[0] for span in spans):
            return spans[0]
        of_images = [span for span, batch in zip(spans, batches, strict=True) for _ in batch.numbers]
        longest = max(span.stop - span.start for span in spans)
        width = longest if self._graphs is None else max(LEAST_TOKENS, 1 << (longest - 1).bit_length())
        return Tokens.of(of_images, self._pipeline.unet.device, width)

    @contextmanager
    def _text_encoder_at_hand(self) -> Iterator[None]:
        encoder, device = self._pipeline.text_encoder, self._pipeline.unet.device
        before = encoder.device
        if before == device:
            yield
            return
        encoder.to(device)
        try:
            yield
        finally:
            encoder.to(before)

    @torch.inference_mode()
    def _sample(
        self, batches: Sequence[DrawingBatch], recorder: AttributionRecorder, on_step: Callable[[], None]
    ) -> Tensor:
        settings = self._generation

        def end_step(_pipeline: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            recorder.end_step()
            on_step()
            return tensors

        latents: Tensor = self._pipeline(
            **self._texts(batches),
            height=settings.size_px,
            width=settings.size_px,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=[self._random(number, batch.attempt) for batch in batches for number in batch.numbers],
            callback_on_step_end=end_step,
            output_type="latent",
        ).images
        return latents

    def _texts(self, batches: Sequence[DrawingBatch]) -> dict[str, Tensor]:
        """Return the embeddings (B, L, E) of the images' prompts; each different text is encoded once."""
        settings = self._generation
        prompts = [fill(settings.prompt_template, batch.phrase) for batch in batches]
        counts = [len(batch.numbers) for batch in batches]
        pairs = zip(self._encoded(prompts), counts, strict=True)
        found = {"prompt_embeds": torch.cat([embedded.expand(count, -1, -1) for embedded, count in pairs])}
        if settings.guidance > 1:
            found["negative_prompt_embeds"] = self._encoded([settings.negative_prompt]).expand(sum(counts), -1, -1)
        return found

    def _encoded(self, texts: list[str]) -> Tensor:
        embedded: Tensor = self._pipeline.encode_prompt(texts, self._pipeline.unet.device, 1, False)[0]
        return embedded

    def _random(self, number: int, attempt: int) -> torch.Generator:
        return torch.Generator("cpu").manual_seed(image_seed(self._generation.seed, number, attempt))


def make_scheduler(settings: GenerationSettings, config: Any) -> Any:
    """Build the preset's scheduler on a model's own noise schedule and prediction type.

    Flags whose defaults changed in newer releases of diffusers are given explicitly (A.1). Latents are never clipped,
    because clipping is meant for pixels.
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, LCMScheduler

    if settings.scheduler == "ddim":
        return DDIMScheduler.from_config(config, timestep_spacing=settings.timestep_spacing, clip_sample=False)
    if settings.scheduler == "lcm":  # It spaces its steps evenly over the distillation's, and takes no spacing.
        return LCMScheduler.from_config(config, original_inference_steps=LCM_STEPS, clip_sample=False)
    if settings.scheduler == "euler":
        return EulerDiscreteScheduler.from_config(
            config, timestep_spacing=settings.timestep_spacing, use_karras_sigmas=False, final_sigmas_type="zero"
        )
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
def decode(pipeline: StableDiffusionPipeline, latents: Tensor, at_once: int | None = None) -> NDArray[np.uint8]:
    """Decode latents (B, C, h, w) to images (B, H, W, 3) uint8 RGB, in the VAE's own dtype.

    Without ``at_once`` a CPU decodes all images in one batch, and a GPU one at a time, because the decoder takes more
    memory for an image than the UNet. A batch that does not fit into memory after all is decoded in halves.
    """
    vae = pipeline.vae
    scaled = latents.to(vae.dtype) / vae.config.scaling_factor
    images: list[Tensor] = []

    def run(numbers: Sequence[int]) -> None:
        part = scaled[numbers[0] : numbers[-1] + 1]
        images.append(_to_bytes(vae.decode(part, return_dict=False)[0]))

    size = at_once or (len(latents) if latents.device.type == "cpu" else 1)
    run_in_batches(range(len(latents)), size, run, "decoding")
    return torch.cat(images).numpy()


def _to_bytes(pixels: Tensor) -> Tensor:
    """Turn pixels (B, 3, H, W) in [-1, 1] into (B, H, W, 3) uint8 on the CPU."""
    levels = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu()
