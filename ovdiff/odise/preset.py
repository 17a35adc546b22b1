"""Every number of ODISE is a named, documented field here. Data only; never imports torch.

The defaults are those of the paper and its released code (C.1 to C.4). A field of the head's architecture is marked
*architecture*: a head's weights fit one architecture only.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field with documentation; it returns a field, not a default

from dataclasses import MISSING, dataclass, field, replace
from itertools import pairwise
from typing import Literal

from ovdiff.errors import PresetError
from ovdiff.presets.fields import setting
from ovdiff.presets.mapping import digest, mask_values
from ovdiff.presets.model_settings import ClipModelSettings, DiffusionModelSettings, ModelSettings
from ovdiff.presets.part_settings import RESAMPLING_REASON, Resampling, Statistics
from ovdiff.presets.segmenting_settings import StuffFilterSettings

LEVELS = 4
"""The levels of the pyramid: Mask2Former reads three, and makes masks on the fourth."""
ENGINE = "odise"
"""The name of the engine, as a preset's ``engine`` gives it."""


@dataclass(frozen=True)
class OdiseModels:
    """The models of a preset. Diffusion model and CLIP are frozen, the head is trained."""

    diffusion: DiffusionModelSettings = setting(MISSING, "gives the features; the paper's is Stable Diffusion 1.3")
    clip: ClipModelSettings = setting(MISSING, "embeds names, masks and, for the captioner, the image")
    head: ModelSettings = setting(MISSING, "the trained part, as `ovdiff odise train` writes it")


@dataclass(frozen=True)
class TapSettings:
    """Which activations of the frozen diffusion model are the features (C.1)."""

    input_px: int = setting(512, "C.1: the side of a window as the diffusion model sees it", unit="px", minimum=8)
    windows: Literal["sliding", "whole"] = setting(
        "sliding", "C.1: windows that do not overlap, whose features are stitched; 'whole' stretches the image to one"
    )
    window_px: int = setting(512, "C.1: the side of a sliding window in the image", unit="px", minimum=8)
    short_side_px: int = setting(1024, "C.3: the image's short side; of sliding windows alone", unit="px", minimum=8)
    max_long_side_px: int = setting(2560, "C.3; of sliding windows alone", unit="px", minimum=8)
    timestep: int = setting(0, "C.1", minimum=0, maximum=999)
    noise_seed: int = setting(42, "C.1: all windows share one noise", minimum=0)
    vae_encoder: tuple[str, ...] = setting(
        ("down_blocks.2.resnets.1", "down_blocks.3.resnets.1"), "C.1: the inputs of these modules", unit="modules"
    )
    vae_decoder: tuple[str, ...] = setting(
        ("up_blocks.0.resnets.2", "up_blocks.1.resnets.2"), "C.1: the inputs of these modules", unit="modules"
    )
    unet: tuple[str, ...] = setting(
        ("up_blocks.0.resnets.2", "up_blocks.1.resnets.2", "up_blocks.2.resnets.2", "up_blocks.3.resnets.2"),
        "C.1: the inputs of these modules, in which the decoder's state and the skip connection lie side by side",
        unit="modules",
    )
    strides: tuple[int, ...] = setting(
        (4, 8, 16, 32),
        "C.1: the levels of the feature pyramid; a tap belongs to the level of its own stride, clipped to these",
        unit="px",
        minimum=1,
    )
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON)
    fitting: Literal["nearest", "bilinear"] = setting(
        "nearest", "the released code: how a tap is resized to the level that it belongs to"
    )
    batch_size: int = setting(4, "the most windows at once", unit="windows", minimum=1, changes_no_mask=True)
    mib_per_window: int = setting(
        0,
        "the memory that a window takes while it is encoded; 0 leaves memory out of the batch size",
        unit="MiB",
        minimum=0,
        changes_no_mask=True,
        later=True,
    )
    budget_gib: float = setting(
        6.0,
        "the memory of the device that windows may fill while they are encoded; the masks of a large image take more, "
        "see docs/odise.md",
        unit="GiB, weights included",
        minimum=0.1,
        changes_no_mask=True,
        later=True,
    )


@dataclass(frozen=True)
class CaptionerSettings:
    """The implicit captioner: CLIP's embedding of the image in place of a caption (C.1)."""

    condition: Literal["learned", "null"] = setting(
        "learned", "C.1. 'null' gives the UNet the empty text, and needs no captioner"
    )
    gate: float = setting(0.0, "C.1: both gates begin at tanh(gate)", minimum=-1.0, maximum=1.0)
    standardise: bool = setting(False, "C.1: the embedding is used as it is; true divides it by its deviation")
    statistics: Statistics = setting("clip", "the mean and deviation of the pixels that CLIP sees")
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON)


@dataclass(frozen=True)
class MaskGeneratorSettings:
    """Mask2Former without a backbone (C.1). All fields but the first are the head's architecture."""

    dropout: float = setting(0.0, "C.1", minimum=0.0, maximum=0.9, changes_no_mask=True)
    bottleneck: int = setting(128, "C.1: the width of the block that projects a tap", minimum=8)
    level_channels: int = setting(512, "C.1: the channels of a pyramid level", minimum=32)
    norm_groups: int = setting(32, "the groups of the bottleneck's group normalisation", minimum=1)
    hidden: int = setting(256, "C.1", minimum=32)
    mask_channels: int = setting(256, "C.1", minimum=8)
    heads: int = setting(8, "C.1", minimum=1)
    encoder_layers: int = setting(6, "C.1: layers of deformable attention", minimum=1)
    encoder_ffn: int = setting(1024, "C.1", minimum=8)
    decoder_layers: int = setting(9, "C.1: layers of masked attention", minimum=1)
    decoder_ffn: int = setting(2048, "C.1", minimum=8)
    queries: int = setting(100, "C.1: the most masks of an image", minimum=1)


@dataclass(frozen=True)
class ClassifierSettings:
    """How a mask embedding is compared with names (C.1, C.2)."""

    embedding: int = setting(256, "C.1: the space in which masks and names are compared", minimum=8)
    mlp_layers: int = setting(3, "C.1", minimum=1)
    projection: Literal["linear", "none"] = setting(
        "linear", "C.1: names get a linear layer; 'none' keeps CLIP's space, and embedding must be CLIP's"
    )
    void: Literal["null", "objectness"] = setting(
        "null",
        "C.2: a learned text competes with the names. 'objectness' is a score of the mask's query alone, for heads "
        "that learn from captions",
    )
    temperature: float = setting(0.07, "C.1: the learned scale begins at 1 / temperature", minimum=0.001, maximum=1.0)
    max_scale: float = setting(100.0, "C.1", minimum=1.0)
    templates: tuple[str, ...] = setting(
        ("a photo of a {category}.",), "C.3; a name's embedding is the mean over the templates"
    )


@dataclass(frozen=True)
class ClipBranchSettings:
    """CLIP's own opinion of each mask (C.3)."""

    enabled: bool = setting(True, "C.3")
    input_px: int = setting(336, "C.3: the side to which the image is stretched", unit="px", minimum=8)
    statistics: Statistics = setting("clip", "the mean and deviation of the pixels")
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON)
    templates: tuple[str, ...] = setting(("a photo of a {category}.",), "C.3")
    attends: Literal["patches", "patches_and_class"] = setting(
        "patches_and_class", "the released code; the paper's text says the patches of the mask alone"
    )
    logit_scale: float = setting(100.0, "CLIP's own scale", minimum=1.0)
    kinds: Literal["all", "things"] = setting(
        "all", "C.3; 'things' lets the diffusion branch alone decide the trained stuff"
    )


@dataclass(frozen=True)
class FusionSettings:
    """How the two branches are weighed (C.3)."""

    alpha: float = setting(0.3, "C.3: CLIP's weight for a category of the training", minimum=0.0, maximum=1.0)
    beta: float = setting(0.7, "C.3: CLIP's weight for any other category", minimum=0.0, maximum=1.0)
    others: Literal["none", "training"] = setting(
        "none", "C.3; 'training' lets the labels of the training that nobody asked for win, as background"
    )


@dataclass(frozen=True)
class OutputSettings:
    """From masks with probabilities to semantic, panoptic and instance results (C.3)."""

    object_threshold: float = setting(0.0, "C.3: the least probability of a panoptic segment", minimum=0.0, maximum=1.0)
    overlap: float = setting(
        0.8, "C.3: the least share of a mask that must be left after better ones", minimum=0.0, maximum=1.0
    )
    instances: int = setting(100, "C.3: the most instances of an image", minimum=1)
    background: float = setting(
        0.0, "a pixel whose best semantic score is below this is background", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class LossSettings:
    """The loss of a training (C.2)."""

    name: float = setting(2.0, "C.2: the weight of the names' cross-entropy", minimum=0.0)
    mask: float = setting(5.0, "C.2: the weight of the masks' binary cross-entropy", minimum=0.0)
    dice: float = setting(5.0, "C.2", minimum=0.0)
    grounding: float = setting(2.0, "ours, on the last layer; the released code has 1 on every layer", minimum=0.0)
    no_object: float = setting(0.1, "C.2: the weight of a query that has no segment", minimum=0.0, maximum=1.0)
    points: int = setting(12544, "C.2: sampled points of a mask; 0 takes the whole mask", minimum=0)
    oversample: float = setting(3.0, "C.2", minimum=1.0)
    importance: float = setting(0.75, "C.2: the share of points where a mask is unsure", minimum=0.0, maximum=1.0)
    words: int = setting(8, "C.2: the words of a caption, drawn with replacement", minimum=1)
    grounded: Literal["all", "matched"] = setting(
        "all", "C.2: each mask can carry a word; 'matched' leaves out masks that found no segment"
    )
    true_captions: Literal["ignore", "negative"] = setting(
        "negative", "C.2; 'ignore' takes a caption whose words all hold of another image for no negative of it"
    )
    void: Literal["negative", "ignore", "nameless"] = setting(
        "negative",
        "C.2: a query on unlabelled pixels learns that there is nothing. 'ignore' teaches it nothing. 'nameless' takes "
        "each unlabelled region that looks like an object for a segment of unknown name",
    )
    nameless_area: float = setting(0.005, "the least area of a nameless segment", unit="of the image", minimum=0.0)


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how fast a head learns (C.4)."""

    steps: int = setting(92188, "C.4: 50 epochs of COCO", minimum=1)
    batch: int = setting(64, "C.4", unit="images", minimum=1)
    learning_rate: float = setting(1e-4, "C.4, AdamW", minimum=0.0)
    from_rate: float = setting(
        0.1,
        "the learning rate of a head that begins from another one, as a multiple; with 1 an hour's training was "
        "forgotten within 80 steps on two tasks",
        minimum=0.0,
    )
    weight_decay: float = setting(0.05, "C.4; matrices only", minimum=0.0)
    schedule: Literal["steps", "cosine"] = setting(
        "steps", "C.4: a tenth of the rate from 88.9 % and a hundredth from 96.3 % on; 'cosine' falls to 2 %"
    )
    warmup: int = setting(250, "C.4", unit="steps", minimum=0)
    max_gradient: float = setting(0.01, "C.4: the norm to which gradients are clipped", minimum=0.0)
    ema: float = setting(0.0, "C.4 has none; the decay of the average of the weights", minimum=0.0, maximum=0.9999)
    captioner_rate: float = setting(1.0, "the captioner's learning rate, as a multiple", minimum=0.0)
    captioner_steps: int = setting(
        0,
        "the captioner learns during so many first steps, then its features are stored; 0 is all, or none of a head "
        "that is begun from",
        minimum=0,
    )
    views: int = setting(4, "how many views of an image are encoded, of which the first is whole", minimum=1)
    scale: tuple[float, float] = setting((0.1, 2.0), "C.4: large-scale jitter", minimum=0.01)
    colour: float = setting(0.0, "the strength of colour jitter", minimum=0.0, maximum=1.0)
    mirror: bool = setting(True, "C.4; features are mirrored, not images")
    mask_px: int = setting(256, "the side of the masks that are learned", unit="px", minimum=8)
    autocast: Literal["none", "bfloat16", "float16"] = setting("float16", "C.4: AMP is optional")
    seed: int = setting(0, "", minimum=0)
    checkpoint_every: int = setting(500, "", unit="steps", minimum=1)
    validate_every: int = setting(2000, "", unit="steps", minimum=1)


@dataclass(frozen=True)
class EncodingCacheSettings:
    """What is kept of images and texts in memory."""

    images: int = setting(
        32, "so many images are kept, so that new words need no model", minimum=0, changes_no_mask=True
    )
    texts: int = setting(50000, "so many texts are kept", minimum=0, changes_no_mask=True)


@dataclass(frozen=True)
class OdisePreset:
    """One complete choice of models and hyper-parameters of ODISE."""

    name: str = setting(MISSING, "the preset's own name", changes_no_mask=True)
    models: OdiseModels = setting(MISSING, "")
    engine: str = setting(ENGINE, "the engine that reads the preset")
    taps: TapSettings = field(default_factory=TapSettings)
    captioner: CaptionerSettings = field(default_factory=CaptionerSettings)
    mask_generator: MaskGeneratorSettings = field(default_factory=MaskGeneratorSettings)
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    clip_branch: ClipBranchSettings = field(default_factory=ClipBranchSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    outputs: OutputSettings = field(default_factory=OutputSettings)
    stuff_filter: StuffFilterSettings = field(default_factory=StuffFilterSettings)
    cache: EncodingCacheSettings = field(default_factory=EncodingCacheSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        """Refuse combinations that no head can have.

        Raises:
            PresetError: values contradict each other; the message names the fields.
        """
        if found := problems(self):
            raise PresetError(f"Preset {self.name!r}: {found[0]}.")

    def without_background(self) -> "OdisePreset":
        """Return the preset with which every pixel gets a category, as datasets want it that have no background."""
        return replace(self, fusion=replace(self.fusion, others="none"), outputs=replace(self.outputs, background=0.0))

    def fingerprint(self) -> str:
        """Return a hex hash of every field that can change a mask; how a head was trained is in its weights."""
        values = mask_values(self)
        return digest({name: value for name, value in values.items() if name not in ("loss", "training", "cache")})


def problems(preset: OdisePreset) -> list[str]:
    """Say which fields of a preset contradict each other, in words."""
    generator, strides = preset.mask_generator, preset.taps.strides
    found = [
        f"mask_generator.{name} is {value}; it must be a multiple of {divisor}, {why}"
        for name, value, divisor, why in (
            ("hidden", generator.hidden, 32, "the groups of Mask2Former's normalisation"),
            ("hidden", generator.hidden, generator.heads, "mask_generator.heads"),
            ("level_channels", generator.level_channels, generator.norm_groups, "mask_generator.norm_groups"),
            ("bottleneck", generator.bottleneck, generator.norm_groups, "mask_generator.norm_groups"),
        )
        if value % divisor
    ]
    if len(strides) != LEVELS or any(next_one != 2 * one for one, next_one in pairwise(strides)):
        found.append(f"taps.strides is {list(strides)}; expected {LEVELS} strides, each twice the one before")
    for table in ("classifier", "clip_branch"):
        templates = getattr(preset, table).templates
        if not templates or any("{category}" not in template for template in templates):
            found.append(f"{table}.templates is {list(templates)}; each needs {{category}} in place of the name")
    low, high = preset.training.scale
    if low > high:
        found.append(f"training.scale is {list(preset.training.scale)}; expected the least and the largest scale")
    if preset.training.max_gradient == 0:
        found.append("training.max_gradient is 0, so nothing would be learned; give the largest norm of a gradient")
    if not preset.stuff_filter.enabled:
        found.append(
            "stuff_filter.enabled is false, but ODISE has no background prototypes that could be kept; set it to true. "
            "Which names are stuff is said by stuff_filter.extra_stuff"
        )
    return found
