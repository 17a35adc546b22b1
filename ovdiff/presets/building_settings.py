"""How a category becomes prototypes: the numbers of the building half. Data only; never imports torch.

The fields of these tables are in the content address of prototypes, unless they are marked *online*. P is the paper, R
its released code, and A.1 a section of the specification, as in :mod:`ovdiff.presets.schema`.

Tested by tests/ovdiff/presets/test_schema.py.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from ovdiff.presets.fields import added_tables, setting
from ovdiff.presets.part_settings import (
    ClipFeatureSettings,
    CutlerSettings,
    Detectron2Settings,
    DinoFeatureSettings,
    Dinov2FeatureSettings,
    Dinov3FeatureSettings,
    FeatureSettings,
    MaeFeatureSettings,
    MaskCutSettings,
    StableDiffusionFeatureSettings,
)

PrototypeKind = Literal["class", "instance", "part"]

LCM_STEPS = 50
"""The number of steps in the schedule that latent consistency models were distilled on; a run takes a few of them."""


@dataclass(frozen=True)
class GenerationSettings:
    """How the support images are drawn (A.1)."""

    prompt_template: str = setting("A good picture of a {category}", "R; the paper's first version says 'photo'")
    negative_prompt: str = setting("text, low quality, blurry, cartoon, meme, low resolution, bad, poor, faded", "R")
    images: int = setting(
        32, "N, the images of a category: R draws 32, the paper's first version 64", minimum=1, maximum=1024
    )
    steps: int = setting(30, "P, R", unit="denoising steps", minimum=1, maximum=1000)
    guidance: float = setting(8.0, "P, R; 1 runs only the conditional pass", minimum=1.0, maximum=50.0)
    size_px: int = setting(512, "P; the images are square", unit="px", minimum=8, maximum=4096)
    seed: int = setting(42, "R; every category has the same seed", minimum=0)
    scheduler: Literal["dpmsolver++", "ddim", "lcm", "euler"] = setting(
        "dpmsolver++", "P: DPM-Solver; 2M, midpoint. 'lcm' is for LCM-LoRA, 'euler' for SD-Turbo"
    )
    timestep_spacing: Literal["linspace", "leading", "trailing"] = setting(
        "linspace", "the default of diffusers 0.14, which R used"
    )
    final_sigma: Literal["sigma_min", "zero"] = setting("sigma_min", "the default of diffusers 0.14, which R used")
    phrases: tuple[tuple[str, str], ...] = setting(
        (),
        "(name, phrase): the phrase is drawn for a name that would be misunderstood; a category's own prompts win",
    )
    batch_size: int = setting(
        8,
        "the most images drawn at once; fewer if memory is short. Each image has a random generator of its own",
        unit="images",
        minimum=1,
        online=True,
        changes_no_mask=True,
    )
    mib_per_image: int = setting(
        390,
        "the memory that one image takes, most of it while it is decoded, by benchmarks/full_size_cost.py",
        unit="MiB",
        minimum=0,
        online=True,
        changes_no_mask=True,
    )
    mib_per_sample: int = setting(
        0,
        "the memory that each image of a batch takes while it is sampled, by the same; 0: mib_per_image",
        unit="MiB",
        minimum=0,
        online=True,
        changes_no_mask=True,
    )


@dataclass(frozen=True)
class SafetySettings:
    """How unsafe support images are found; they are refused and drawn anew."""

    check: Literal["off", "auto", "safety_checker", "clip_text"] = setting(
        "auto", "'auto' uses Stable Diffusion's checker if models.safety_checker is given, and else CLIP's texts"
    )
    max_redraws: int = setting(
        4,
        "how often a refused image is drawn anew; if every drawing is refused, it is left out",
        minimum=0,
        maximum=100,
    )
    margin: float = setting(
        0.0, "'clip_text' refuses an image if an unsafe text fits it better than every safe text by this", unit="cosine"
    )


@dataclass(frozen=True)
class AttributionSettings:
    """Which cross-attention maps become a support image's attribution (A.2)."""

    layers: tuple[str, ...] = setting((), "prefixes of attn2 layers such as 'up_blocks.1'; () takes all layers (R)")
    step_range: tuple[float, float] = setting(
        (0.0, 1.0), "R takes all steps", unit="fractions of the schedule, [from, to)", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class ProposalSettings:
    """Where the candidates for foreground and background come from (A.3, A.4)."""

    source: str = setting(
        "cutler",
        "P. 'otsu' thresholds each image, 'multi_otsu' a whole category (A.4.6); 'fixed' takes the next two fields",
    )
    fixed_foreground: float = setting(
        0.5, "A.4.5: above it a pixel is foreground", unit="attribution", minimum=0.0, maximum=1.0
    )
    fixed_background: float = setting(
        0.2,
        "A.4.5: below it a pixel is background; a limit for 'otsu' too",
        unit="attribution",
        minimum=0.0,
        maximum=1.0,
    )
    threshold_maps: Literal["enlarged", "recorded"] = setting(
        "enlarged",
        "the maps in which 'otsu' and 'multi_otsu' look for thresholds; R takes them as recorded, on the latent grid",
        later=True,
    )
    cutler: CutlerSettings = field(default_factory=CutlerSettings)
    maskcut: MaskCutSettings = field(default_factory=MaskCutSettings)
    detectron2: Detectron2Settings = field(default_factory=Detectron2Settings)
    added: tuple[tuple[str, Any], ...] = added_tables("proposals")


@dataclass(frozen=True)
class SupportSettings:
    """Refinements of Eq. 1, by which the foreground and background of a support image are chosen (A.4)."""

    background_max: float = setting(
        0.2, "R: background is only where attribution is lower", unit="attribution", minimum=0.0, maximum=1.0
    )
    erode_background: bool = setting(True, "R erodes the background once, with the 4-connected cross")
    erode_border: bool = setting(
        True,
        "false is R's: what is outside the image counts as background, so the image's border is not eroded",
        later=True,
    )


@dataclass(frozen=True)
class ExtractorSettings:
    """Which dense features are computed, and how (A.11)."""

    use: tuple[str, ...] = setting(("stable_diffusion", "dino", "clip"), "P: the extractors that make prototypes")
    stable_diffusion: StableDiffusionFeatureSettings = field(default_factory=StableDiffusionFeatureSettings)
    clip: ClipFeatureSettings = field(default_factory=ClipFeatureSettings)
    dino: DinoFeatureSettings = field(default_factory=DinoFeatureSettings)
    dinov2: Dinov2FeatureSettings = field(default_factory=Dinov2FeatureSettings)
    dinov3: Dinov3FeatureSettings = field(default_factory=Dinov3FeatureSettings)
    mae: MaeFeatureSettings = field(default_factory=MaeFeatureSettings)
    added: tuple[tuple[str, FeatureSettings], ...] = added_tables("extractors")
    batch_size: int = setting(
        16,
        "the most encoded at once; fewer if memory is short",
        unit="images or windows",
        minimum=1,
        online=True,
        changes_no_mask=True,
    )


@dataclass(frozen=True)
class PrototypeSettings:
    """How features become prototypes: Eq. 2-3 (A.5, A.6)."""

    parts: int = setting(
        32, "K, the number of part prototypes; the paper found no difference between 8 and 64", minimum=1, maximum=1024
    )
    clustering: Literal["scikit-learn", "torch"] = setting(
        "scikit-learn", "R; 'torch' runs the same algorithm on the models' device, in seconds instead of a minute"
    )
    kmeans_seed: int = setting(0, "R: the seed of the first centres", minimum=0, maximum=2**32 - 1)
    kmeans_iterations: int = setting(300, "scikit-learn's default, which R used", minimum=1)
    mask_coverage: float = setting(
        0.0, "R: a feature cell counts if its bilinear mask value is greater than this", minimum=0.0, maximum=0.999
    )
