"""Stable Diffusion features (A.11): the queries of cross-attention layers for a slightly noised image."""

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor, nn

from ovdiff.extractors.extractor import Purpose
from ovdiff.models.cross_attention import cross_attention_layers
from ovdiff.models.keys import outputs_of
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import Images, images_to_pixels
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import DiffusionModelSettings
from ovdiff.presets.part_settings import StableDiffusionFeatureSettings


def make_extractor(preset: Preset, models: LoadedModels) -> "StableDiffusionExtractor":
    """Make the extractor of a preset."""
    pipeline = models.diffusion(preset.models.given("stable_diffusion", DiffusionModelSettings))
    return StableDiffusionExtractor(pipeline, preset.extractors.stable_diffusion)


class StableDiffusionExtractor:
    """Extracts the queries of one conditional UNet pass with the empty text, enlarged to the latent grid.

    The pass ends after the last layer whose queries are read. All images get the same noise, and the same posterior
    noise if the posterior is sampled. The released code draws noise anew for every window, so equal windows get
    different features there.
    """

    takes_tensors = True

    def __init__(self, pipeline: StableDiffusionPipeline, settings: StableDiffusionFeatureSettings) -> None:
        """Use a pipeline's VAE, UNet and text encoder.

        Raises:
            PresetError: the UNet has no such layer.
        """
        layers = cross_attention_layers(pipeline.unet, settings.layers)
        self._queries: list[nn.Module] = [layer.to_q for layer in layers.values()]
        self._pipeline, self._settings = pipeline, settings
        self._scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        self._empty_text = _encode_empty_text(pipeline)

    @torch.inference_mode()
    def extract(self, images: Images, purpose: Purpose) -> Tensor:
        """Return queries (B, D, h, w) float32 of images (B, H, W, 3) uint8, stretched to a square."""
        settings = self._settings
        size_px = settings.support_px if purpose == "support" else settings.window_px
        latents = self._noised(self._encode(images, size_px))
        maps = self._run(latents)
        return torch.cat([_to_grid(queries, latents.shape[-1], settings.normalise_layers) for queries in maps], dim=1)

    def _encode(self, images: Images, size_px: int) -> Tensor:
        vae = self._pipeline.vae
        factor = self._pipeline.vae_scale_factor
        side = max(1, round(size_px / factor)) * factor
        pixels = images_to_pixels(images, (side, side), "half", next(vae.parameters()), self._settings.resampling)
        posterior = vae.encode(pixels).latent_dist
        latents = posterior.mean.float()
        if self._settings.posterior == "sample":
            offset = 1 if self._settings.posterior_noise == "own" else 0
            latents = latents + posterior.std.float() * self._noise(latents, offset)
        return latents * vae.config.scaling_factor

    def _noised(self, latents: Tensor) -> Tensor:
        timestep = torch.tensor([self._settings.timestep])
        return self._scheduler.add_noise(latents, self._noise(latents, offset=0), timestep)

    def _noise(self, latents: Tensor, offset: int) -> Tensor:
        random = torch.Generator("cpu").manual_seed(self._settings.noise_seed + offset)
        return torch.randn((1, *latents.shape[1:]), generator=random).to(latents.device)

    def _run(self, latents: Tensor) -> list[Tensor]:
        unet = self._pipeline.unet
        timestep = torch.tensor(self._settings.timestep, device=latents.device)
        text = self._empty_text.expand(len(latents), -1, -1)
        return outputs_of(self._queries, lambda: unet(latents.to(unet.dtype), timestep, encoder_hidden_states=text))


@torch.inference_mode()
def _encode_empty_text(pipeline: StableDiffusionPipeline) -> Tensor:
    """Return the text encoder's states (1, L, E) of the empty prompt."""
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    tokens = tokenizer("", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    states: Tensor = encoder(tokens.input_ids.to(encoder.device)).last_hidden_state
    return states.to(pipeline.unet.device)  # The encoder may rest elsewhere.


def _to_grid(queries: Tensor, grid: int, normalise: bool) -> Tensor:
    """Turn queries (B, s*s, C) into a float32 map (B, C, grid, grid)."""
    side = round(queries.shape[1] ** 0.5)
    maps = queries.float().transpose(1, 2).reshape(len(queries), -1, side, side)
    if normalise:
        maps = F.normalize(maps, dim=1)
    return F.interpolate(maps, size=(grid, grid), mode="bilinear", align_corners=False)
