"""Small models with random weights, of the embedded world's architectures, saved as real weights are."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.presets import Preset
from ovdiff.presets.building_settings import (
    AttributionSettings,
    ExtractorSettings,
    GenerationSettings,
    ProposalSettings,
    PrototypeSettings,
    SafetySettings,
)
from ovdiff.presets.model_settings import ClipModelSettings, DiffusionModelSettings, ModelSettings, PresetModels
from ovdiff.presets.part_settings import (
    ClipFeatureSettings,
    DinoFeatureSettings,
    Dinov2FeatureSettings,
    Dinov3FeatureSettings,
    MaeFeatureSettings,
    StableDiffusionFeatureSettings,
)
from ovdiff.presets.segmenting_settings import WindowSettings

if TYPE_CHECKING:
    from ovdiff.models.loaded import LoadedModels


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with stable_diffusion/, clip/, dino/, dinov2/, dinov3/ and mae/, each loadable with from_pretrained."""
    import torch
    from diffusers import StableDiffusionPipeline

    from benchmarks import architectures
    from ovdiff.tinyworld.training import autoencoder, clip, diffusion, dino, tokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    words = tokenizer.build()
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.build(scaling_factor=0.5),
        text_encoder=diffusion.build_text_encoder(words),
        tokenizer=words,
        unet=diffusion.build_unet(),
        scheduler=diffusion.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "stable_diffusion")
    clip.build(words).save_pretrained(folder / "clip")
    words.save_pretrained(folder / "clip")
    dino.build().save_pretrained(folder / "dino")
    for name, build in (
        ("dinov2", architectures.build_dinov2),
        ("dinov3", architectures.build_dinov3),
        ("mae", architectures.build_mae),
    ):
        build(shrink=8).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def preset(weights_folder: Path) -> Preset:
    """A preset on random weights in float32, with few images and steps; nothing depends on a tuned preset."""
    diffusion = DiffusionModelSettings(source=str(weights_folder / "stable_diffusion"))
    small: dict[str, Any] = {"support_px": 64, "window_px": 64}
    return Preset(
        name="random",
        models=PresetModels(
            generator=diffusion,
            stable_diffusion=diffusion,
            clip=ClipModelSettings(source=str(weights_folder / "clip")),
            **{name: ModelSettings(source=str(weights_folder / name)) for name in ("dino", "dinov2", "dinov3", "mae")},
        ),
        generation=GenerationSettings(
            prompt_template="a good photo of a {category}", images=3, steps=2, guidance=3.0, size_px=64, batch_size=2
        ),
        safety=SafetySettings(check="off"),
        attribution=AttributionSettings(layers=("down_blocks.0", "up_blocks.3")),
        proposals=ProposalSettings(source="otsu"),
        extractors=ExtractorSettings(
            stable_diffusion=StableDiffusionFeatureSettings(
                layers=("down_blocks.0", "up_blocks.2"), posterior="mode", **small
            ),
            clip=ClipFeatureSettings(statistics="half", **small),
            dino=DinoFeatureSettings(statistics="half", aspect="stretch", **small),
            dinov2=Dinov2FeatureSettings(support_px=56, window_px=56),
            dinov3=Dinov3FeatureSettings(**small),
            mae=MaeFeatureSettings(**small),
        ),
        prototypes=PrototypeSettings(parts=2),
        windows=WindowSettings(short_side_px=128, crops_px=((128, 64), (96, 64))),
    )


@pytest.fixture(scope="session")
def models() -> "LoadedModels":
    """One set of loaded models for all tests; none of them changes a model."""
    from ovdiff.models.loaded import LoadedModels

    return LoadedModels()


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """An image of 80 x 100 px with some structure."""
    rows, columns = np.mgrid[:80, :100]
    channels = np.stack([rows * 3, columns * 2, (rows + columns) % 256], axis=2)
    return channels.astype(np.uint8)


@pytest.fixture
def encoded_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The images that were really encoded."""
    from ovdiff.segmenting import image_segmenter

    seen: list[Any] = []
    encode = image_segmenter.encode_image

    def count(parts: Any, image: Any) -> Any:
        seen.append(image)
        return encode(parts, image)

    monkeypatch.setattr(image_segmenter, "encode_image", count)
    yield seen
