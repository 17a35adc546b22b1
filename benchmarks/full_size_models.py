"""A preset's parts on models of full size with random weights.

What a pass costs depends on no trained value, so all that is measured runs the product's own generator, extractors
and so on, on these. On "meta" they take no memory; nothing is downloaded.
"""

from collections.abc import Callable
from typing import Any, cast

import open_clip
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPModel, Dinov2Model, DINOv3ViTModel, ViTMAEModel, ViTModel

from benchmarks import architectures
from benchmarks.architectures import Config
from ovdiff.building.parts import BuildingParts
from ovdiff.models.clip import Clip, OpenClip, TransformersClip
from ovdiff.models.devices import split_device
from ovdiff.models.fair_lock import FairLock
from ovdiff.models.loaded import LoadedModels, SafetyChecker, arranged
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings, ModelSettings
from ovdiff.proposals.cutler import Cutler
from ovdiff.proposals.cutler_network import CascadeMaskRcnn, Widths
from ovdiff.segmenting.parts import SegmentingParts


class FullSizeParts(BuildingParts):
    """The parts of the left half, and those of the right half on the same models."""

    def __init__(self, preset: Preset, models: LoadedModels) -> None:
        """Build nothing yet."""
        super().__init__(preset, models)
        self.segmenting = SegmentingParts(preset, models, self.extractors)


def full_size_parts(preset: Preset, device: str, dtype: torch.dtype | None = None, shrink: int = 1) -> FullSizeParts:
    """Return a preset's working parts on random weights.

    Args:
        preset: which of its models are used, and how.
        device: "meta", "cpu" or "cuda".
        dtype: instead of the preset's: float16 is slow on a CPU.
        shrink: what every width is divided by; more than 1 is for trying things out.
    """
    models = FullSizeModels(device, dtype, shrink)
    parts = FullSizeParts(preset, cast(LoadedModels, models))
    if preset.proposals.source == "cutler":
        parts.source = Cutler(models.cutler(), preset.proposals.cutler)
    return parts


def weights_of(parts: BuildingParts) -> list[Tensor]:
    """Return the parameters and buffers of all models that some part has used."""
    return cast(FullSizeModels, parts.models).weights()


class FullSizeModels:
    """Does what :class:`ovdiff.models.loaded.LoadedModels` does, without files: each model is built once."""

    def __init__(
        self, device: str, dtype: torch.dtype | None = None, shrink: int = 1, clip: Config = architectures.CLIP_B16
    ) -> None:
        """Build nothing yet; ``clip`` is the architecture of transformers' CLIP."""
        name, self.options = split_device(device)
        self.device = torch.device(name)
        self.lock = FairLock()
        self._dtype, self._clip_config = dtype, clip
        self._how: dict[str, Any] = {"device": name, "shrink": shrink}
        self._made: dict[str, Any] = {}
        self._modules: list[nn.Module] = []

    def weights(self) -> list[Tensor]:
        """Return the parameters and buffers of all that has been built."""
        return [tensor for module in self._modules for tensor in (*module.parameters(), *module.buffers())]

    def diffusion(self, settings: ModelSettings) -> StableDiffusionPipeline:
        """Return Stable Diffusion 1.5."""

        def build() -> StableDiffusionPipeline:
            pipeline = architectures.build_diffusion(**self._how)
            for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
                self._settle(part, settings)
            pipeline.set_progress_bar_config(disable=True)
            return arranged(pipeline, self.options)

        return cast(StableDiffusionPipeline, self._once("diffusion", build))

    def clip(self, settings: ClipModelSettings) -> Clip:
        """Return CLIP, of the library that the preset names, its text tower in float32."""
        build = self._build_open_clip if settings.library == "open_clip" else self._build_clip
        return cast(Clip, self._once("clip", lambda: build(settings)))

    def vit(self, settings: ModelSettings) -> ViTModel:
        """Return DINO ViT-B/8."""
        return cast(ViTModel, self._simple("dino", architectures.build_dino, settings))

    def dinov2(self, settings: ModelSettings) -> Dinov2Model:
        """Return DINOv2 ViT-B/14."""
        return cast(Dinov2Model, self._simple("dinov2", architectures.build_dinov2, settings))

    def dinov3(self, settings: ModelSettings) -> DINOv3ViTModel:
        """Return DINOv3 ViT-B/16."""
        return cast(DINOv3ViTModel, self._simple("dinov3", architectures.build_dinov3, settings))

    def mae(self, settings: ModelSettings) -> ViTMAEModel:
        """Return MAE ViT-L/16's encoder, which masks no patch."""
        model = cast(ViTMAEModel, self._simple("mae", architectures.build_mae, settings))
        model.config.mask_ratio = 0.0
        return model

    def safety_checker(self, settings: ModelSettings) -> SafetyChecker:
        """Return Stable Diffusion's image check."""
        model = self._simple("safety_checker", architectures.build_safety_checker, settings)
        return SafetyChecker(model, CLIPImageProcessor())

    def cutler(self) -> CascadeMaskRcnn:
        """Return CutLER's network, in float32 as the product loads it."""

        def build() -> CascadeMaskRcnn:
            shrink = self._how["shrink"]
            with self.device:
                network = CascadeMaskRcnn(Widths(64 // shrink, pyramid=256 // shrink, fully_connected=1024 // shrink))
            self._modules.append(network)
            return network.requires_grad_(False).eval()

        return cast(CascadeMaskRcnn, self._once("cutler", build))

    def _build_clip(self, settings: ModelSettings) -> TransformersClip:
        model = cast(CLIPModel, architectures.build_clip(**self._how, config=self._clip_config))
        self._modules.append(model.requires_grad_(False))
        for image_part in (model.vision_model, model.visual_projection):
            self._cast(image_part, settings)
        return TransformersClip(model, architectures.build_tokenizer())

    def _build_open_clip(self, settings: ModelSettings) -> OpenClip:
        model = architectures.build_open_clip(**self._how)
        self._modules.append(model.requires_grad_(False))
        self._cast(model.visual, settings)
        return OpenClip(model, open_clip.SimpleTokenizer(context_length=model.context_length))

    def _simple(self, name: str, build: Callable[..., nn.Module], settings: ModelSettings) -> nn.Module:
        return cast(nn.Module, self._once(name, lambda: self._settle(build(**self._how), settings)))

    def _once(self, name: str, build: Callable[[], object]) -> object:
        if name not in self._made:
            self._made[name] = build()
        return self._made[name]

    def _settle(self, module: nn.Module, settings: ModelSettings) -> nn.Module:
        self._modules.append(module)
        return self._cast(module, settings).requires_grad_(False).eval()

    def _cast(self, module: nn.Module, settings: ModelSettings) -> nn.Module:
        # diffusers' own .to() warns of layers that are to stay float32 and are not there
        return nn.Module.to(module, dtype=self._dtype or getattr(torch, settings.dtype))
