"""Every number of the method as a named, documented field. Data only: no models, no torch.

Defaults are the reference's: the paper (P) or its released code (R), by section of the specification
(A.1, A.2, ...). A field marked *online* matters only when an image is segmented, so changing it never
invalidates stored prototypes; all others are part of their content address.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field with documentation; it returns a field, not a default

from dataclasses import dataclass, field
from typing import Any, Literal

from ovdiff.presets.fields import added_tables, setting
from ovdiff.presets.model_settings import PresetModels

PrototypeKind = Literal["class", "instance", "part"]
Statistics = Literal["imagenet", "clip", "half"]
Aspect = Literal["stretch", "keep"]


LCM_STEPS = 50
"""Steps of the schedule that latent consistency models were distilled on; a run takes some of them."""


@dataclass(frozen=True)
class GenerationSettings:
    """Support images (A.1)."""

    prompt_template: str = setting("A good picture of a {category}", "R; the paper's v1 says 'photo'")
    negative_prompt: str = setting("text, low quality, blurry, cartoon, meme, low resolution, bad, poor, faded", "R")
    images: int = setting(32, "N, images a category: R 32, v1 64", minimum=1, maximum=1024)
    steps: int = setting(30, "P, R", unit="denoising steps", minimum=1, maximum=1000)
    guidance: float = setting(8.0, "P, R; 1 runs the conditional pass only", minimum=1.0, maximum=50.0)
    size_px: int = setting(512, "P; the images are square", unit="px", minimum=8, maximum=4096)
    seed: int = setting(42, "R; the same for every category", minimum=0)
    scheduler: Literal["dpmsolver++", "ddim", "lcm", "euler"] = setting(
        "dpmsolver++", "P: DPM-Solver; 2M, midpoint. 'lcm' is for LCM-LoRA, 'euler' for SD-Turbo"
    )
    timestep_spacing: Literal["linspace", "leading", "trailing"] = setting(
        "linspace", "diffusers 0.14's default, which R used"
    )
    final_sigma: Literal["sigma_min", "zero"] = setting("sigma_min", "diffusers 0.14's default")
    phrases: tuple[tuple[str, str], ...] = setting(
        (), "(name, phrase): what to draw for a name that would be misunderstood; a category's own prompts win"
    )
    batch_size: int = setting(
        8,
        "at most; less where memory is short. Each image has its own generator",
        unit="images",
        minimum=1,
        online=True,
    )
    mib_per_image: int = setting(
        390,
        "of one at a time, for a batch takes less an image; benchmarks/full_size_cost.py",
        unit="MiB",
        minimum=0,
        online=True,
    )


@dataclass(frozen=True)
class SafetySettings:
    """Images that nobody should have to look at are drawn anew."""

    check: Literal["off", "auto", "safety_checker", "clip_text"] = setting(
        "auto", "'auto': Stable Diffusion's checker where models.safety_checker is given, else CLIP's texts"
    )
    max_redraws: int = setting(4, "an image that is refused once more after them is left out", minimum=0, maximum=100)
    margin: float = setting(
        0.0, "'clip_text': refused where an unsafe text fits better than every safe one by this", unit="cosine"
    )


@dataclass(frozen=True)
class AttributionSettings:
    """Cross-attention maps (A.2)."""

    layers: tuple[str, ...] = setting((), "prefixes of attn2 layers such as 'up_blocks.1'; () is all (R)")
    step_range: tuple[float, float] = setting(
        (0.0, 1.0), "R: all steps", unit="fractions of the schedule, [from, to)", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class MaskCutSettings:
    """Training-free proposals from DINO's keys (D.1)."""

    input_px: int = setting(480, "released; images are stretched to a square", unit="px", minimum=8)
    layer: int = setting(-1, "released: keys of the last block")
    statistics: Statistics = setting("imagenet", "released")
    tau: float = setting(0.15, "released pseudo-labels", unit="cosine", minimum=-1.0, maximum=1.0)
    masks: int = setting(3, "rounds", minimum=1, maximum=20)
    max_overlap: float = setting(0.5, "a round like the one before is dropped", unit="IoU", minimum=0.0)
    min_area: float = setting(0.01, "smaller rounds are dropped", unit="fraction of the image", minimum=0.0)
    refine: bool = setting(True, "PAMR in place of the dense CRF, which cannot be built (D.4)")
    min_agreement: float = setting(
        0.5, "a mask that refining changes more is dropped", unit="IoU", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class CutlerSettings:
    """CutLER's detector (A.3, D.2)."""

    min_score: float = setting(0.35, "P, R", unit="score", minimum=0.0, maximum=1.0)
    short_side_px: int = setting(800, "released", unit="px", minimum=32, maximum=4096)
    max_long_side_px: int = setting(1333, "released", unit="px", minimum=32, maximum=8192)
    max_detections: int = setting(100, "released", minimum=1, maximum=1000)
    box_nms: float = setting(0.5, "released", unit="IoU", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class Detectron2Settings:
    """An instance segmentation model of the user's own, run by detectron2 where that is installed."""

    config: str = setting("", "detectron2 config file (YAML)")
    weights: str = setting("", "checkpoint file; read with weights_only=True")
    min_score: float = setting(0.35, "as CutLER's", unit="score", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class ProposalSettings:
    """Where foreground and background candidates come from (A.3, A.4)."""

    source: str = setting(
        "cutler", "P. 'otsu': a threshold an image; 'multi_otsu': two a category (A.4.6); 'fixed': below"
    )
    fixed_foreground: float = setting(0.5, "A.4.5", unit="attribution", minimum=0.0, maximum=1.0)
    fixed_background: float = setting(0.2, "A.4.5; also Otsu's", unit="attribution", minimum=0.0, maximum=1.0)
    cutler: CutlerSettings = field(default_factory=CutlerSettings)
    maskcut: MaskCutSettings = field(default_factory=MaskCutSettings)
    detectron2: Detectron2Settings = field(default_factory=Detectron2Settings)
    added: tuple[tuple[str, Any], ...] = added_tables("proposals")


@dataclass(frozen=True)
class SupportSettings:
    """Eq. 1's refinements (A.4)."""

    background_max: float = setting(0.2, "R: background must lie below", unit="attribution", minimum=0.0, maximum=1.0)
    erode_background: bool = setting(True, "R: one erosion with the 4-connected cross")


@dataclass(frozen=True)
class FeatureSettings:
    """What every extractor's settings have, those of other packages too."""

    stuff_similarity: float = setting(
        0.85,
        "A.9.3, R: background prototypes nearer to stuff are dropped",
        unit="cosine",
        minimum=-1.0,
        maximum=1.0,
        online=True,
    )
    mib_per_image: int = setting(
        80,
        "DINO's; benchmarks/full_size_cost.py. 0 leaves memory out of the batch size",
        unit="MiB",
        minimum=0,
        online=True,
    )


@dataclass(frozen=True)
class StableDiffusionFeatureSettings(FeatureSettings):
    """UNet cross-attention queries (A.11)."""

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
        "P: D = 6400; R adds 'mid_block.attentions.0': D = 7680",
    )
    timestep: int = setting(200, "P, R", unit="DDPM timestep", minimum=0, maximum=999)
    noise_seed: int = setting(43, "R; one noise for all images, so equal images have equal features", minimum=0)
    posterior: Literal["mode", "sample"] = setting("sample", "R; 'mode' leaves out the VAE's own noise")
    normalise_layers: bool = setting(False, "R: layers with large norms dominate the cosine")
    support_px: int = setting(512, "R; support images are stretched to it", unit="px", minimum=8)
    window_px: int = setting(512, "R; windows are stretched to it", unit="px", minimum=8, online=True)
    mib_per_image: int = setting(330, "benchmarks/full_size_cost.py", unit="MiB", minimum=0, online=True)


@dataclass(frozen=True)
class TransformerFeatureSettings(FeatureSettings):
    """What the extractors on vision transformers have in common (A.11)."""

    feature: Literal["keys", "tokens"] = setting("keys", "'tokens' is what the whole encoder says of each patch")
    layer: int = setting(-1, "block whose keys are read; nothing after it is run. Unused for tokens")
    statistics: Statistics = setting("imagenet", "P, R")
    aspect: Aspect = setting("stretch", "R", online=True)
    support_px: int = setting(512, "R", unit="px", minimum=8)
    window_px: int = setting(448, "R", unit="px", minimum=8, online=True)
    max_long_side_px: int = setting(
        800, "R, DINO: bounds panoramas where aspect is 'keep'", unit="px", minimum=8, online=True
    )


@dataclass(frozen=True)
class ClipFeatureSettings(TransformerFeatureSettings):
    """CLIP's image encoder; its tokens are projected into the space of its texts."""

    layer: int = setting(-2, "P, R: the second-to-last block")
    statistics: Statistics = setting("imagenet", "R, a quirk; 'clip' is what CLIP was trained with")


@dataclass(frozen=True)
class DinoFeatureSettings(TransformerFeatureSettings):
    """DINO's ViT; patches of 8 px."""

    aspect: Aspect = setting("keep", "R: windows up to window_px stay as they are", online=True)
    window_px: int = setting(448, "R: short side of what is larger", unit="px", minimum=8, online=True)


@dataclass(frozen=True)
class Dinov2FeatureSettings(TransformerFeatureSettings):
    """DINOv2's ViT; patches of 14 px, and tokens that were trained to be used as they are."""

    feature: Literal["keys", "tokens"] = setting("tokens", "what DINOv2 is used for; 'keys' as DINO's")
    support_px: int = setting(518, "what it was trained at last: 37 x 37 patches", unit="px", minimum=8)
    window_px: int = setting(518, "as support_px", unit="px", minimum=8, online=True)


@dataclass(frozen=True)
class Dinov3FeatureSettings(TransformerFeatureSettings):
    """DINOv3's ViT; patches of 16 px, rotary positions."""

    feature: Literal["keys", "tokens"] = setting("tokens", "as DINOv2's")


@dataclass(frozen=True)
class MaeFeatureSettings(TransformerFeatureSettings):
    """MAE's encoder, with no patch masked (P: ViT-L/16 at 448 px)."""

    support_px: int = setting(512, "R", unit="px", minimum=8)


@dataclass(frozen=True)
class ExtractorSettings:
    """Which dense features are computed, and how (A.11)."""

    use: tuple[str, ...] = setting(("stable_diffusion", "dino", "clip"), "P")
    stable_diffusion: StableDiffusionFeatureSettings = field(default_factory=StableDiffusionFeatureSettings)
    clip: ClipFeatureSettings = field(default_factory=ClipFeatureSettings)
    dino: DinoFeatureSettings = field(default_factory=DinoFeatureSettings)
    dinov2: Dinov2FeatureSettings = field(default_factory=Dinov2FeatureSettings)
    dinov3: Dinov3FeatureSettings = field(default_factory=Dinov3FeatureSettings)
    mae: MaeFeatureSettings = field(default_factory=MaeFeatureSettings)
    added: tuple[tuple[str, FeatureSettings], ...] = added_tables("extractors")
    batch_size: int = setting(
        16, "at most; less where memory is short", unit="images or windows", minimum=1, online=True
    )


@dataclass(frozen=True)
class PrototypeSettings:
    """Eq. 2-3 (A.5, A.6)."""

    parts: int = setting(32, "K; the paper found no sensitivity between 8 and 64", minimum=1, maximum=1024)
    clustering: Literal["scikit-learn", "torch"] = setting(
        "scikit-learn", "R; 'torch' is the same algorithm on the models' device: seconds where that takes a minute"
    )
    kmeans_seed: int = setting(0, "R", minimum=0, maximum=2**32 - 1)
    kmeans_iterations: int = setting(300, "scikit-learn's default, which R used", minimum=1)
    mask_coverage: float = setting(
        0.0, "R: a feature cell counts where its bilinear mask value is greater", minimum=0.0, maximum=0.999
    )


@dataclass(frozen=True)
class PrefilterSettings:
    """Which things CLIP believes to be in the image (A.10)."""

    enabled: bool = setting(True, "P; off keeps every category")
    subsets: bool = setting(True, "P; off skips the second stage")
    max_categories: int = setting(10, "eta, P; 2^eta - 1 subsets are scored", minimum=1, maximum=14)
    template: str = setting("a {category}", "R")
    joiner: str = setting(" and ", "R: 'a cat and a dog'")
    statistics: Statistics = setting("clip", "R: here, other than for features, CLIP's own")
    logit_scale: float = setting(1.0, "R: softmax of raw cosines; CLIP's own 100 would keep one or two", minimum=0.0)


@dataclass(frozen=True)
class StuffFilterSettings:
    """Drop background prototypes that look like stuff of the vocabulary (A.9)."""

    enabled: bool = setting(True, "P")
    extra_stuff: tuple[str, ...] = setting((), "names that are stuff beside the released table")
    unknown_names: Literal["thing", "nearest"] = setting(
        "thing", "R; 'nearest': as the known name that is nearest in CLIP's text space"
    )


@dataclass(frozen=True)
class WindowSettings:
    """Where features are computed in a target image (A.12)."""

    short_side_px: int = setting(448, "P; Lanczos, aspect kept", unit="px", minimum=8, maximum=4096)
    max_long_side_px: int = setting(2048, "A.14's img_scale: bounds panoramas", unit="px", minimum=8)
    crops_px: tuple[tuple[int, int], ...] = setting(
        ((448, 224), (336, 224)),
        "P, R: (window, stride); () leaves only the whole image",
        unit="px",
        minimum=1,
    )
    whole_image: bool = setting(True, "R: one more window; a square image's counts twice")


@dataclass(frozen=True)
class MatchingSettings:
    """Eq. 4 (A.8)."""

    extractors: tuple[str, ...] = setting((), "the voters among extractors.use; () is all")
    kinds: tuple[PrototypeKind, ...] = setting(("class", "instance", "part"), "P, Eq. 3")
    background: Literal["prototypes", "threshold", "none"] = setting(
        "prototypes", "P; 'none' labels every pixel: the 'without background' protocol"
    )
    background_threshold: float = setting(
        0.75, "P, for SD: a pixel whose best score is lower is background", minimum=-1.0, maximum=1.0
    )


@dataclass(frozen=True)
class RefineSettings:
    """PAMR (A.13) and clean-up of the label map."""

    pamr: bool = setting(False, "P reports both; off is faster")
    pamr_iterations: int = setting(10, "W, T, R", minimum=1)
    pamr_dilations: tuple[int, ...] = setting((1, 2, 4, 8, 12, 24), "W, T, R", unit="px", minimum=1)
    min_part_px: int = setting(0, "smaller parts become background", unit="px of the image", minimum=0)
    max_hole_px: int = setting(0, "background holes up to it are filled", unit="px of the image", minimum=0)


@dataclass(frozen=True)
class CacheSettings:
    """What is kept between calls."""

    features_mib: int = setting(
        256, "features of recent images: a vocabulary edit re-encodes nothing", unit="MiB", minimum=0
    )
    texts: int = setting(50_000, "CLIP text embeddings of category subsets", unit="entries", minimum=0)


@dataclass(frozen=True)
class MemorySettings:
    """How much of the device's memory may be used; batches become smaller to keep to it."""

    build_gib: float = setting(12.0, "a consumer GPU", unit="GiB, weights included", minimum=0.1)
    segment_gib: float = setting(6.0, "leaves room for a second model", unit="GiB, weights included", minimum=0.1)


@dataclass(frozen=True)
class PresetTables:
    """Every table of a preset, unchecked; :class:`ovdiff.presets.Preset` is one whose values make sense together."""

    name: str
    models: PresetModels
    engine: Literal["ovdiff"] = setting("ovdiff", "whose preset this is; see ovdiff.engines", online=True)
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    attribution: AttributionSettings = field(default_factory=AttributionSettings)
    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    support: SupportSettings = field(default_factory=SupportSettings)
    extractors: ExtractorSettings = field(default_factory=ExtractorSettings)
    prototypes: PrototypeSettings = field(default_factory=PrototypeSettings)
    prefilter: PrefilterSettings = field(default_factory=PrefilterSettings, metadata={"online": True})
    stuff_filter: StuffFilterSettings = field(default_factory=StuffFilterSettings, metadata={"online": True})
    windows: WindowSettings = field(default_factory=WindowSettings, metadata={"online": True})
    matching: MatchingSettings = field(default_factory=MatchingSettings, metadata={"online": True})
    refine: RefineSettings = field(default_factory=RefineSettings, metadata={"online": True})
    memory: MemorySettings = field(default_factory=MemorySettings, metadata={"online": True})
    cache: CacheSettings = field(default_factory=CacheSettings, metadata={"online": True})

    def active_extractors(self) -> tuple[str, ...]:
        """Return the extractors that vote in Eq. 4."""
        return self.matching.extractors or self.extractors.use
