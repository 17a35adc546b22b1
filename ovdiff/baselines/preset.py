"""Every number of the baselines is a named, documented field here. Data only; never imports torch.

A field's reason names the method that the default comes from: its paper, or the code that its authors released.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field with documentation; it returns a field, not a default

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, replace
from typing import Any, Literal, Self

from ovdiff.errors import PresetError
from ovdiff.presets.fields import setting
from ovdiff.presets.mapping import digest, mask_values
from ovdiff.presets.model_settings import ClipModelSettings, ModelSettings
from ovdiff.presets.part_settings import RESAMPLING_REASON, Resampling, Statistics
from ovdiff.presets.segmenting_settings import RefineSettings, WindowSettings
from ovdiff.presets.validation import window_problems

CLIP_DENSE, GROUPVIT, CLIPSEG = "clip_dense", "groupvit", "clipseg"
"""The names of the engines, as a preset's ``engine`` gives them."""
SAM = "sam"
"""What the preset of an upper line gives in its place."""

Attention = Literal["plain", "maskclip", "sclip", "naclip", "clip_surgery"]


@dataclass(frozen=True)
class DenseSettings:
    """What becomes of the last blocks of CLIP's image encoder, so that its patches can be compared with texts."""

    attention: Attention = setting(
        "naclip",
        "'plain' leaves CLIP as it is. 'maskclip': each patch sees its own value alone. 'sclip': softmax(qq') + "
        "softmax(kk'). 'naclip': softmax(kk' + a Gaussian around the patch). 'clip_surgery': softmax(vv') in a path "
        "beside CLIP's own through the last blocks",
    )
    last_block: Literal["whole", "attention"] = setting(
        "attention",
        "NACLIP drops the residual and the feed-forward part of the last block; the other methods keep the 'whole' "
        "block. Not read by 'clip_surgery'",
    )
    gaussian_std: float = setting(5.0, "NACLIP, read by it alone", unit="patches", minimum=0.01)
    surgery_blocks: int = setting(6, "CLIP surgery's code, read by it alone", unit="blocks from the end", minimum=1)
    remove_redundant: bool = setting(
        False, "CLIP surgery's second half: what a patch has in common with all words is taken away"
    )
    redundant_scale: float = setting(
        2.0, "CLIP surgery's code: how much more a word counts that the whole window shows", minimum=0.0
    )
    statistics: Statistics = setting("clip", "all of these methods: the mean and deviation of the pixels")
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON)


@dataclass(frozen=True)
class TextSettings:
    """How a word becomes a text."""

    templates: tuple[str, ...] = setting(
        ("a photo of a {category}.",), "a word's vector is the mean over these; SCLIP and NACLIP have CLIP's 80"
    )


@dataclass(frozen=True)
class ActivationSettings:
    """How similarities become the scores that compete."""

    activation: Literal["softmax", "none"] = setting(
        "softmax", "over all words, those of the background too. 'none' compares similarities as they are"
    )
    scale: float = setting(40.0, "SCLIP, NACLIP: similarities are multiplied by it before the softmax", minimum=0.0)


@dataclass(frozen=True)
class BackgroundSettings:
    """When a pixel shows none of the asked words."""

    words: tuple[str, ...] = setting(
        (), "words that win pixels and are never drawn; one that is asked for steps aside. () for none"
    )
    threshold: float = setting(0.1, "a pixel whose best score is below this is background", minimum=-1.0, maximum=1.0)


@dataclass(frozen=True)
class BatchSettings:
    """How many windows are encoded at once."""

    size: int = setting(8, "the most windows at once", unit="windows", minimum=1, changes_no_mask=True)
    mib_per_window: int = setting(
        0,
        "the memory that a window takes, by benchmarks/baselines_cost.py; 0 leaves memory out of the batch size",
        unit="MiB",
        minimum=0,
        changes_no_mask=True,
    )
    budget_gib: float = setting(
        6.0, "the memory of the device", unit="GiB, weights included", minimum=0.1, changes_no_mask=True
    )


@dataclass(frozen=True)
class BaselineCacheSettings:
    """What is kept of images and texts in memory."""

    images: int = setting(
        8, "so many images are kept, so that new words need no image encoder", minimum=0, changes_no_mask=True
    )
    texts: int = setting(50000, "so many texts are kept", minimum=0, changes_no_mask=True)


@dataclass(frozen=True)
class ClipDenseModels:
    """The model of CLIP alone."""

    clip: ClipModelSettings = setting(MISSING, "both towers are used")


@dataclass(frozen=True)
class BaselinePreset:
    """What the presets of all baselines have; a preset of an engine adds its models."""

    name: str = setting(MISSING, "the preset's own name", changes_no_mask=True)
    engine: str = setting(MISSING, "the engine that reads the preset")
    texts: TextSettings = field(default_factory=TextSettings)
    windows: WindowSettings = field(default_factory=WindowSettings)
    background: BackgroundSettings = field(default_factory=BackgroundSettings)
    refine: RefineSettings = field(default_factory=RefineSettings)
    batches: BatchSettings = field(default_factory=BatchSettings)
    cache: BaselineCacheSettings = field(default_factory=BaselineCacheSettings)

    def __post_init__(self) -> None:
        """Refuse values that contradict each other.

        Raises:
            PresetError: the message names the fields.
        """
        for problem in _problems(self):
            raise PresetError(f"Preset {self.name!r}: {problem}")

    def fingerprint(self) -> str:
        """Return a hex hash of every field that can change a mask."""
        return digest(mask_values(self))

    def without_background(self) -> Self:
        """Return a preset that gives every pixel a category, as datasets without background want it."""
        refine = replace(self.refine, min_part_px=0)
        return replace(self, background=BackgroundSettings(words=(), threshold=-1.0), refine=refine)

    def encoding_values(self) -> dict[str, Any]:
        """Return the fields that shape the encoding of an image, and no field that concerns words or scores."""
        words = ("texts", "scores", "background", "refine", "name", "cache", "batches")
        return {name: value for name, value in mask_values(self).items() if name not in words}


@dataclass(frozen=True, kw_only=True)
class ClipDensePreset(BaselinePreset):
    """Methods that need CLIP alone: MaskCLIP, SCLIP, NACLIP, CLIP surgery."""

    models: ClipDenseModels = setting(MISSING, "")
    engine: str = setting(CLIP_DENSE, "the engine that reads the preset")
    dense: DenseSettings = field(default_factory=DenseSettings)
    scores: ActivationSettings = field(default_factory=ActivationSettings)


@dataclass(frozen=True)
class GroupVitModels:
    """The model of GroupViT."""

    groupvit: ModelSettings = setting(MISSING, "the image encoder that groups patches, and a text encoder")


@dataclass(frozen=True)
class GroupVitSettings:
    """GroupViT's groups of patches, each of which gets a word."""

    words: int = setting(5, "GroupViT's code: so many words, the best of the whole window, may name a group", minimum=1)
    statistics: Statistics = setting("imagenet", "GroupViT's code: the mean and deviation of the pixels")
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON)


@dataclass(frozen=True, kw_only=True)
class GroupVitPreset(BaselinePreset):
    """GroupViT: learned from images with captions, without masks."""

    models: GroupVitModels = setting(MISSING, "")
    engine: str = setting(GROUPVIT, "the engine that reads the preset")
    groups: GroupVitSettings = field(default_factory=GroupVitSettings)


@dataclass(frozen=True)
class ClipSegModels:
    """The model of CLIPSeg."""

    clipseg: ModelSettings = setting(MISSING, "CLIP's two towers and a decoder that was trained on masks")


@dataclass(frozen=True)
class ClipSegSettings:
    """CLIPSeg's decoder, which is asked for one word at a time."""

    input_px: int = setting(352, "CLIPSeg's code: the side of the square to which a window is stretched", minimum=8)
    words_at_once: int = setting(16, "each takes a pass of the decoder", minimum=1, changes_no_mask=True)
    statistics: Statistics = setting("imagenet", "CLIPSeg's code: the mean and deviation of the pixels")
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON)


@dataclass(frozen=True, kw_only=True)
class ClipSegPreset(BaselinePreset):
    """CLIPSeg: a decoder on CLIP that was trained on masks with phrases."""

    models: ClipSegModels = setting(MISSING, "")
    engine: str = setting(CLIPSEG, "the engine that reads the preset")
    decoder: ClipSegSettings = field(default_factory=ClipSegSettings)


@dataclass(frozen=True)
class SamSettings:
    """SAM, which draws masks of given boxes or points. It knows no words, so it is no engine and has no preset."""

    model: ModelSettings = field(
        default_factory=lambda: ModelSettings(
            "facebook/sam-vit-base", revision="f6d135382339e4c0dfde18a7c079a536dc2e1e92"
        )
    )
    prompts_at_once: int = setting(16, "each takes 16 MiB while its mask is enlarged", minimum=1, changes_no_mask=True)


@dataclass(frozen=True)
class SamModels:
    """The model of SAM."""

    sam: ModelSettings = field(default_factory=lambda: SamSettings().model)


@dataclass(frozen=True)
class SamPreset:
    """SAM as an upper line of an evaluation: it is given boxes or points of the truth. No service can use it."""

    name: str = setting("sam", "the preset's own name", changes_no_mask=True)
    engine: str = setting(SAM, "what reads the preset; no engine of the commands, because it needs the truth")
    prompts: Literal["boxes", "points"] = setting(
        "boxes", "what SAM is given of each object of the truth: its box, or the pixel that is deepest inside"
    )
    fills: bool = setting(
        False, "whether a pixel of no mask takes the label of the nearest mask; else it is background"
    )
    prompts_at_once: int = setting(16, "each takes 16 MiB while its mask is enlarged", minimum=1, changes_no_mask=True)
    models: SamModels = field(default_factory=SamModels)

    def fingerprint(self) -> str:
        """Return a hex hash of every field that can change a mask."""
        return digest(mask_values(self))

    def without_background(self) -> Self:
        """Return a preset that gives every pixel a category, as datasets without background want it."""
        return replace(self, fills=True)

    @property
    def settings(self) -> SamSettings:
        """What SAM itself reads."""
        return SamSettings(self.models.sam, self.prompts_at_once)


def _problems(preset: BaselinePreset) -> Iterator[str]:
    templates = preset.texts.templates
    if not templates or any(template.count("{category}") != 1 for template in templates):
        yield f"texts.templates is {list(templates)}; each must contain '{{category}}' exactly once."
    if any(not word.strip() for word in preset.background.words):
        yield "background.words has a blank word; remove it."
    yield from window_problems(preset.windows)
