"""The loaded models of a preset: each model is loaded once, all on one device.

Diffusers and transformers are imported by the first model that needs them: diffusers takes most of the seconds in which
a command starts, and the preset `fast` segments without it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from ovdiff.garbage import without_searches_for_garbage
from ovdiff.models.clip import Clip, OpenClip, TransformersClip
from ovdiff.models.devices import DeviceOptions, computable, split_device
from ovdiff.models.fair_lock import FairLock
from ovdiff.models.pretrained import (
    DTYPES,
    errors_of_loading,
    load_diffusion,
    load_open_clip,
    load_transformer,
    where,
)
from ovdiff.presets.model_settings import CheckpointSettings, ClipModelSettings, DiffusionModelSettings, ModelSettings

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor, Dinov2Model, DINOv3ViTModel, ViTMAEModel, ViTModel

T = TypeVar("T")
_log = logging.getLogger(__name__)

_LOCK = FairLock()
"""One lock for all models of the process. While a model is loaded, the libraries switch torch's default dtype, which is
the whole process's: a model that runs or loads beside it, on any device, would compute other numbers in silence."""


_LOGGING = {"transformers": "transformers.utils.logging", "diffusers": "diffusers.utils.logging"}
"""How much each library says while it loads. Only those libraries speak that were imported before."""


class SafetyChecker(NamedTuple):
    """Stable Diffusion's own image check, and the processor that prepares an image for it."""

    model: StableDiffusionSafetyChecker
    processor: CLIPImageProcessor


class LoadedModels:
    """Loads models and keeps them by their settings; equal settings share one model.

    Models have state while they run (hooks, processors), so each use of a model must be inside ``with models.lock``.

    Every method raises a :class:`WeightsError` if files are missing or do not hold the model that was asked for.
    """

    def __init__(self, device: str = "cpu") -> None:
        """Remember the device, whose name may end with options (`ovdiff.models.devices`). No model is loaded yet."""
        name, self.options = split_device(device)
        self.device = torch.device(name)
        self.lock = _LOCK
        self._loaded: dict[tuple[str, ModelSettings | CheckpointSettings], Any] = {}

    def diffusion(self, settings: DiffusionModelSettings) -> StableDiffusionPipeline:
        """Return a latent diffusion pipeline without its safety checker; its adapter is fused into its weights."""
        _import_speakers("transformers", "diffusers")

        def load() -> StableDiffusionPipeline:
            return arranged(load_diffusion(computable(settings, self.device)).to(self.device), self.options)

        return self.once("a StableDiffusionPipeline", settings, load)

    def clip(self, settings: ClipModelSettings) -> Clip:
        """Return a CLIP model: the image tower in the wanted dtype, the text tower in float32."""
        settings = computable(settings, self.device)
        if settings.library == "transformers":
            _import_speakers("transformers")
        load = {"transformers": self._load_clip, "open_clip": self._load_open_clip}[settings.library]
        return self.once(f"a CLIP model of {settings.library}", settings, lambda: load(settings))

    def vit(self, settings: ModelSettings) -> ViTModel:
        """Return a vision transformer, such as DINO."""
        from transformers import ViTModel

        return self._load(ViTModel, settings, add_pooling_layer=False)

    def dinov2(self, settings: ModelSettings) -> Dinov2Model:
        """Return DINOv2."""
        from transformers import Dinov2Model

        return self._load(Dinov2Model, settings)

    def dinov3(self, settings: ModelSettings) -> DINOv3ViTModel:
        """Return DINOv3, a vision transformer."""
        from transformers import DINOv3ViTModel

        return self._load(DINOv3ViTModel, settings)

    def mae(self, settings: ModelSettings) -> ViTMAEModel:
        """Return MAE's encoder, configured so that it masks no patch."""
        from transformers import ViTMAEModel

        return self._load(ViTMAEModel, settings, mask_ratio=0.0)

    def safety_checker(self, settings: ModelSettings) -> SafetyChecker:
        """Return Stable Diffusion's safety checker and its image processor, which lies beside it."""
        _import_speakers("transformers", "diffusers")
        return self.once("a StableDiffusionSafetyChecker", settings, lambda: self._load_safety_checker(settings))

    def once(self, what: str, settings: ModelSettings | CheckpointSettings, load: Callable[[], T]) -> T:
        """Return the model that ``load`` makes. For equal settings and an equal ``what`` it is called only once.

        Args:
            what: the kind of model, such as "a ViTModel", for messages.
            settings: the model's settings, which say where its weights are.
            load: reads the weights and moves the model to :attr:`device`.

        Raises:
            WeightsError: anything went wrong while the weights were read.
        """
        key = (what, settings)
        if key not in self._loaded:
            # Said before it is done, because a hub that cannot be reached takes half a minute.
            _log.info("Loading %s from %s.", what, settings.source)
            with errors_of_loading(settings, what), _quietly(), without_searches_for_garbage():
                self._loaded[key] = load()
        loaded: T = self._loaded[key]
        return loaded

    def _load(self, model: Any, settings: ModelSettings, **options: Any) -> Any:
        def load() -> Any:
            dtype = DTYPES[computable(settings, self.device).dtype]
            return load_transformer(model, settings, dtype, **options).to(self.device)

        return self.once(f"a {model.__name__}", settings, load)

    def _load_clip(self, settings: ClipModelSettings) -> Clip:
        from transformers import CLIPModel, CLIPTokenizer

        model = load_transformer(CLIPModel, settings, torch.float32)
        for image_part in (model.vision_model, model.visual_projection):
            image_part.to(DTYPES[settings.dtype])
        return TransformersClip(model.to(self.device), CLIPTokenizer.from_pretrained(**where(settings)))

    def _load_open_clip(self, settings: ClipModelSettings) -> Clip:
        model, words = load_open_clip(settings)
        model.visual.to(DTYPES[settings.dtype])
        return OpenClip(model.to(self.device), words)

    def _load_safety_checker(self, settings: ModelSettings) -> SafetyChecker:
        from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
        from transformers import CLIPImageProcessor

        dtype = DTYPES[computable(settings, self.device).dtype]
        model = load_transformer(StableDiffusionSafetyChecker, settings, dtype)
        return SafetyChecker(model.to(self.device), CLIPImageProcessor.from_pretrained(**where(settings)))


def arranged(pipeline: StableDiffusionPipeline, options: DeviceOptions) -> StableDiffusionPipeline:
    """Arrange a pipeline's weights in memory, and have its parts compiled, as a device's options say.

    An idle text encoder is sent to the CPU; whoever needs it on the device sends it there, and back.
    """
    if options.channels_last:
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if options.compile:
        from ovdiff.models.compiling import compile_parts

        compile_parts(pipeline)
    if options.idle_texts:
        pipeline.text_encoder.to("cpu")
    return pipeline


def _import_speakers(*libraries: str) -> None:
    """Import libraries ahead of a model's loading, so that :func:`_quietly` finds them."""
    with without_searches_for_garbage():
        for library in libraries:
            import_module(_LOGGING[library])


@contextmanager
def _quietly() -> Iterator[None]:
    """Load without the libraries' progress bars and reports; a report that matters is raised as an error instead."""
    libraries = [import_module(module) for name, module in _LOGGING.items() if name in sys.modules]
    before = [(library.is_progress_bar_enabled(), library.get_verbosity()) for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
        library.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        for library, (bars, level) in zip(libraries, before, strict=True):
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()
