"""The features of a frozen latent diffusion model: activations of its VAE and of one UNet pass (C.1)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from numpy import uint8
from numpy.typing import NDArray
from torch import Tensor, nn

from ovdiff.errors import PresetError
from ovdiff.models.keys import inputs_of
from ovdiff.models.pixels import images_to_pixels
from ovdiff.odise.preset import TapSettings

_TAPPED = (ResnetBlock2D, Downsample2D)


class VaeFeatures(NamedTuple):
    """What the VAE gives for a batch of windows; it depends on no text.

    Attributes:
        latents: (B, C, h, w), the posterior's mean times the scaling factor.
        maps: the encoder's taps and then the decoder's, (B, C, h, w) each.
    """

    latents: Tensor
    maps: list[Tensor]


class Condition(NamedTuple):
    """What the UNet is told: a text (B, L, E), and an offset (B, T) of the time embedding, or ``None``."""

    text: Tensor
    time: Tensor | None = None


class DiffusionTaps:
    """Reads the taps of a pipeline. The UNet lets gradients through to its condition, from which captioners learn."""

    def __init__(self, pipeline: StableDiffusionPipeline, settings: TapSettings) -> None:
        """Use a frozen pipeline.

        Raises:
            PresetError: the VAE or the UNet has no such module.
        """
        self._pipeline, self._settings = pipeline, settings
        self._encoder = _modules(pipeline.vae.encoder, settings.vae_encoder, "taps.vae_encoder")
        self._decoder = _modules(pipeline.vae.decoder, settings.vae_decoder, "taps.vae_decoder")
        self._unet = _modules(pipeline.unet, settings.unet, "taps.unet")
        self._scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        self._empty_text = _empty_text(pipeline)

    @property
    def channels(self) -> list[int]:
        """The channels of each tap: the VAE's encoder, its decoder, the UNet."""
        return [_channels(module) for module in (*self._encoder, *self._decoder, *self._unet)]

    @property
    def empty_text(self) -> Tensor:
        """The text encoder's states (1, L, E) of the empty prompt."""
        return self._empty_text

    @property
    def time_channels(self) -> int:
        """The width of the UNet's time embedding."""
        return int(self._pipeline.unet.time_embedding.linear_2.out_features)

    @torch.inference_mode()
    def vae(self, windows: NDArray[uint8]) -> VaeFeatures:
        """Return the VAE's part for windows (B, H, W, 3) uint8, which are stretched to a square."""
        vae, side = self._pipeline.vae, self._settings.input_px
        pixels = images_to_pixels(windows, (side, side), "half", next(vae.parameters()), self._settings.resampling)
        *found, last = inputs_of([*self._encoder, vae.quant_conv], lambda: vae.encode(pixels))
        latents = vae.quant_conv(last).chunk(2, dim=1)[0]  # The mean of the posterior; its log variance is left.
        found += inputs_of(self._decoder, lambda: vae.decode(latents))
        return VaeFeatures(latents.float() * vae.config.scaling_factor, found)

    def unet(self, latents: Tensor, condition: Condition) -> list[Tensor]:
        """Return the UNet's taps (B, C, h, w) for latents (B, C, h, w); the pass ends at the last tap."""
        unet = self._pipeline.unet
        timestep = torch.tensor([self._settings.timestep], device=latents.device)
        noised = self._scheduler.add_noise(latents, self._noise(latents), timestep).to(unet.dtype)
        text = condition.text.to(unet.dtype).expand(len(latents), -1, -1)
        handles = []
        if (offset := condition.time) is not None:
            handles = [unet.time_embedding.register_forward_hook(lambda _m, _i, out: out + offset.to(out.dtype))]
        try:
            return inputs_of(self._unet, lambda: unet(noised, timestep[0], encoder_hidden_states=text))
        finally:
            for handle in handles:
                handle.remove()

    def _noise(self, latents: Tensor) -> Tensor:
        random = torch.Generator("cpu").manual_seed(self._settings.noise_seed)
        return torch.randn((1, *latents.shape[1:]), generator=random).to(latents.device)


def _modules(parent: nn.Module, names: Sequence[str], setting: str) -> list[nn.Module]:
    known = {name: module for name, module in parent.named_modules() if isinstance(module, _TAPPED)}
    if unknown := [name for name in names if name not in known]:
        raise PresetError(f"{setting} has {unknown[0]!r}, which cannot be tapped here; these can: {', '.join(known)}.")
    return [known[name] for name in names]


def _channels(module: nn.Module) -> int:
    channels: int = module.channels if isinstance(module, Downsample2D) else module.in_channels  # type: ignore[assignment]
    return channels


@torch.inference_mode()
def _empty_text(pipeline: StableDiffusionPipeline) -> Tensor:
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    tokens = tokenizer("", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    states: Tensor = encoder(tokens.input_ids.to(encoder.device)).last_hidden_state
    return states.to(pipeline.unet.device)  # The encoder may rest elsewhere.
