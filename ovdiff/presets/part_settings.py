"""The settings of single parts: extractors and proposal sources. Data only.

The table of parts in :mod:`ovdiff.presets.needs` names the settings of each part.

P is the paper, R its released code; sections such as A.11 are those of the specification.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field with documentation; it returns a field, not a default

from dataclasses import dataclass
from typing import Literal

from ovdiff.presets.fields import setting

Statistics = Literal["imagenet", "clip", "half"]
Resampling = Literal["bicubic", "bilinear"]
Aspect = Literal["stretch", "keep"]

RESAMPLING_REASON = "with antialiasing, so that no detail turns into noise; R resizes 'bilinear', without antialiasing"


@dataclass(frozen=True)
class FeatureSettings:
    """The settings that every extractor has, an extractor of another package too."""

    stuff_similarity: float = setting(
        0.85,
        "A.9.3, R: a background prototype that is nearer to stuff than this is dropped",
        unit="cosine",
        minimum=-1.0,
        maximum=1.0,
        online=True,
        shapes_no_encoding=True,
    )
    mib_per_image: int = setting(
        80,
        "the memory that DINO takes, by benchmarks/full_size_cost.py; 0 leaves memory out of the batch size",
        unit="MiB",
        minimum=0,
        online=True,
        changes_no_mask=True,
    )


@dataclass(frozen=True)
class StableDiffusionFeatureSettings(FeatureSettings):
    """Stable Diffusion features: queries of the UNet's cross-attention (A.11)."""

    layers: tuple[str, ...] = setting(
        (
            "down_blocks.0.attentions.0",
            "up_blocks.1.attentions.0",
            "up_blocks.1.attentions.1",
            "up_blocks.1.attentions.2",
            "up_blocks.2.attentions.0",
            "up_blocks.2.attentions.1",
            "up_blocks.2.attentions.2",
            "up_blocks.3.attentions.2",
        ),
        "P, D = 6400; R adds 'mid_block.attentions.0', which gives D = 7680",
    )
    timestep: int = setting(200, "P, R", unit="DDPM timestep", minimum=0, maximum=999)
    noise_seed: int = setting(43, "R; all images get the same noise, so equal images have equal features", minimum=0)
    posterior: Literal["mode", "sample"] = setting("sample", "R; 'mode' leaves out the VAE's own noise")
    posterior_noise: Literal["own", "shared"] = setting(
        "own",
        "the VAE's noise: of noise_seed + 1, or 'shared' as in R, where it has the seed of the noise that is added",
        later=True,
    )
    normalise_layers: bool = setting(False, "R does not, so layers with large norms dominate the cosine")
    support_px: int = setting(
        512, "R; support images are stretched to this size", unit="px", minimum=8, shapes_no_encoding=True
    )
    window_px: int = setting(512, "R; windows are stretched to this size", unit="px", minimum=8, online=True)
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON, later=True)
    mib_per_image: int = setting(
        330,
        "the memory that one image takes, by benchmarks/full_size_cost.py",
        unit="MiB",
        minimum=0,
        online=True,
        changes_no_mask=True,
    )


@dataclass(frozen=True)
class TransformerFeatureSettings(FeatureSettings):
    """The settings that all extractors on vision transformers have (A.11)."""

    feature: Literal["keys", "tokens"] = setting("keys", "'tokens' is the whole encoder's output for each patch")
    layer: int = setting(-1, "the block whose keys are read; no later block is run. Unused for tokens")
    statistics: Statistics = setting("imagenet", "P, R: the mean and deviation that pixels are normalised by")
    aspect: Aspect = setting("stretch", "R; 'keep' keeps a window's own aspect", online=True)
    support_px: int = setting(
        512, "R; support images are stretched to this size", unit="px", minimum=8, shapes_no_encoding=True
    )
    window_px: int = setting(448, "R; windows are stretched to this size", unit="px", minimum=8, online=True)
    max_long_side_px: int = setting(
        800, "R, for DINO: the longest side of a window whose aspect is kept", unit="px", minimum=8, online=True
    )
    remainder: Literal["stretch", "cut"] = setting(
        "stretch",
        "what becomes of a kept window's pixels that fill no patch; R cuts them off at the right and below",
        online=True,
        later=True,
    )
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON, later=True)


@dataclass(frozen=True)
class ClipFeatureSettings(TransformerFeatureSettings):
    """CLIP's image encoder; its tokens are projected into the space of its texts."""

    feature: Literal["keys", "tokens"] = setting(
        "keys",
        "P, R. 'tokens' are the last block's, in the space of CLIP's texts; R's ablation takes another block's, which "
        "are in no space that this preset compares with",
    )
    layer: int = setting(-2, "P, R: the second-to-last block")
    statistics: Statistics = setting("imagenet", "a quirk of R; CLIP was trained with 'clip'")


@dataclass(frozen=True)
class DinoFeatureSettings(TransformerFeatureSettings):
    """DINO's ViT; patches of 8 px."""

    aspect: Aspect = setting("keep", "R: a window keeps its own aspect, and its size up to window_px", online=True)
    window_px: int = setting(448, "R: the short side of a window that is larger", unit="px", minimum=8, online=True)


@dataclass(frozen=True)
class Dinov2FeatureSettings(TransformerFeatureSettings):
    """DINOv2's ViT; patches of 14 px, and tokens that were trained to be used as they are."""

    feature: Literal["keys", "tokens"] = setting("tokens", "DINOv2's tokens are its features; 'keys' are as DINO's")
    support_px: int = setting(
        518, "the size of DINOv2's last training: 37 x 37 patches", unit="px", minimum=8, shapes_no_encoding=True
    )
    window_px: int = setting(518, "the same size as support_px", unit="px", minimum=8, online=True)


@dataclass(frozen=True)
class Dinov3FeatureSettings(TransformerFeatureSettings):
    """DINOv3's ViT; patches of 16 px, rotary positions."""

    feature: Literal["keys", "tokens"] = setting("tokens", "DINOv3's tokens are its features, as DINOv2's are")


@dataclass(frozen=True)
class MaeFeatureSettings(TransformerFeatureSettings):
    """MAE's encoder, with no patch masked (P: ViT-L/16 at 448 px)."""

    support_px: int = setting(
        512, "R; support images are stretched to this size", unit="px", minimum=8, shapes_no_encoding=True
    )


@dataclass(frozen=True)
class MaskCutSettings:
    """Training-free proposals from DINO's keys (D.1)."""

    input_px: int = setting(480, "MaskCut's released code; images are stretched to a square", unit="px", minimum=8)
    layer: int = setting(-1, "MaskCut's released code: the keys of the last block")
    statistics: Statistics = setting("imagenet", "MaskCut's released code")
    tau: float = setting(
        0.15, "MaskCut's released code, where it makes pseudo-labels", unit="cosine", minimum=-1.0, maximum=1.0
    )
    masks: int = setting(3, "the number of rounds; each round finds one mask at most", minimum=1, maximum=20)
    max_overlap: float = setting(
        0.5, "a mask that overlaps the mask of the round before by more is dropped", unit="IoU", minimum=0.0
    )
    min_area: float = setting(0.01, "a smaller mask is dropped", unit="fraction of the image", minimum=0.0)
    refine: bool = setting(True, "MaskCut's released code fits masks to the image's edges")
    refiner: Literal["pamr", "crf"] = setting(
        "pamr",
        "needs no compiled package and is as good on drawn images (D.4); 'crf' is the dense CRF of MaskCut's released "
        "code: pip install '.[crf]' in a checkout, with a C++ compiler",
        later=True,
    )
    min_agreement: float = setting(
        0.5, "a mask is dropped if its refined mask agrees with it less than this", unit="IoU", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class CutlerSettings:
    """CutLER's detector (A.3, D.2)."""

    min_score: float = setting(0.35, "P, R", unit="score", minimum=0.0, maximum=1.0)
    short_side_px: int = setting(800, "CutLER's released configuration", unit="px", minimum=32, maximum=4096)
    max_long_side_px: int = setting(1333, "CutLER's released configuration", unit="px", minimum=32, maximum=8192)
    max_detections: int = setting(100, "CutLER's released configuration", minimum=1, maximum=1000)
    box_nms: float = setting(0.5, "CutLER's released configuration", unit="IoU", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class Detectron2Settings:
    """An instance segmentation model of the user's own, run by detectron2, which must be installed."""

    config: str = setting("", "the model's detectron2 config file (YAML)")
    weights: str = setting("", "the model's checkpoint file, which is read with weights_only=True")
    min_score: float = setting(0.35, "the score that P and R ask of CutLER", unit="score", minimum=0.0, maximum=1.0)
