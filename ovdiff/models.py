"""Loading the library models: each once, from a folder or a hub id, in the preset's dtype."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPModel, CLIPTokenizer, ViTModel
from transformers.utils import logging as transformers_logging

from ovdiff.errors import WeightsError
from ovdiff.presets.model_settings import DiffusionModelSettings, ModelSettings
from ovdiff.weights import locate

T = TypeVar("T")


class Models:
    """Loaded models by their settings; equal settings share one model. Not thread-safe: the engine locks.

    Weights come only from safetensors files; nothing is unpickled.
    """

    def __init__(self, device: str = "cpu") -> None:
        """Remember the device; nothing is loaded yet."""
        self.device = torch.device(device)
        self._loaded: dict[tuple[str, ModelSettings], Any] = {}

    def diffusion(self, settings: DiffusionModelSettings) -> StableDiffusionPipeline:
        """Return a latent diffusion pipeline without its safety checker."""
        return self._once("a StableDiffusionPipeline", settings, lambda: self._load_diffusion(settings))

    def clip(self, settings: ModelSettings) -> CLIPModel:
        """Return a CLIP model with both of its towers."""
        return self._once("a CLIPModel", settings, lambda: self._load(CLIPModel, settings))

    def clip_tokenizer(self, settings: ModelSettings) -> CLIPTokenizer:
        """Return the tokenizer that lies beside a CLIP model."""
        return self._once("a CLIPTokenizer", settings, lambda: CLIPTokenizer.from_pretrained(**_where(settings)))

    def vit(self, settings: ModelSettings) -> ViTModel:
        """Return a vision transformer."""
        return self._once("a ViTModel", settings, lambda: self._load(ViTModel, settings, add_pooling_layer=False))

    def _once(self, what: str, settings: ModelSettings, load: Callable[[], T]) -> T:
        key = (what, settings)
        if key not in self._loaded:
            try:
                with _quietly():
                    self._loaded[key] = load()
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise WeightsError(f"{settings.source!r} does not load as {what}: {error}") from error
        loaded: T = self._loaded[key]
        return loaded

    def _load_diffusion(self, settings: DiffusionModelSettings) -> StableDiffusionPipeline:
        pipeline = StableDiffusionPipeline.from_pretrained(
            **_where(settings),
            dtype={"default": _dtype(settings.dtype), "vae": _dtype(settings.vae_dtype)},
            low_cpu_mem_usage=False,  # True needs the accelerate package
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(self.device)
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            part.requires_grad_(False).eval()
        return pipeline

    def _load(self, model: Any, settings: ModelSettings, **options: Any) -> Any:
        loaded, report = model.from_pretrained(
            **_where(settings),
            dtype=_dtype(settings.dtype),
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
        if missing := sorted(report["missing_keys"]):  # they would be random numbers
            raise WeightsError(
                f"{settings.source!r} lacks {len(missing)} weights of a {model.__name__}, such as {missing[0]!r}."
            )
        return loaded.to(self.device).requires_grad_(False).eval()


@contextmanager
def _quietly() -> Iterator[None]:
    """Load without progress bars and without the report of weights that the model has no use for."""
    bars, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
            diffusers_logging.enable_progress_bar()


def _where(settings: ModelSettings) -> dict[str, Any]:
    folder = locate(settings)
    if folder is not None:
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    return {"pretrained_model_name_or_path": settings.source, "revision": settings.revision or None}


def _dtype(name: str) -> torch.dtype:
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return dtypes[name]
