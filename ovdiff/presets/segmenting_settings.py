"""How an image is segmented with prototypes: the numbers of the segmenting half. Data only; never imports torch.

:mod:`ovdiff.presets.schema` marks all these tables *online*: a change of them never invalidates stored prototypes. P is
the paper, R its released code, and A.8 a section of the specification, as there.

Tested by tests/ovdiff/presets/test_schema.py.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field with documentation; it returns a field, not a default

from dataclasses import dataclass, field
from typing import Literal

from ovdiff.presets.building_settings import PrototypeKind
from ovdiff.presets.fields import setting
from ovdiff.presets.part_settings import RESAMPLING_REASON, Resampling, Statistics


@dataclass(frozen=True)
class PrefilterSettings:
    """Which things CLIP believes to be in the image (A.10)."""

    enabled: bool = setting(True, "P; false keeps every category", shapes_no_encoding=True)
    subsets: bool = setting(
        True, "P; false skips the second stage, which compares captions of several categories", shapes_no_encoding=True
    )
    max_categories: int = setting(
        10,
        "P: eta, the most categories of the second stage, which scores 2^eta - 1 captions",
        minimum=1,
        maximum=14,
        shapes_no_encoding=True,
    )
    template: str = setting("a {category}", "R: the caption of one category", shapes_no_encoding=True)
    joiner: str = setting(" and ", "R: joins captions, as in 'a cat and a dog'", shapes_no_encoding=True)
    caption_order: Literal["vocabulary", "likelihood"] = setting(
        "vocabulary",
        "the order of the phrases in a joint caption, if more than max_categories things are likely; R names the "
        "likeliest first, so few captions recur: up to 2^eta - 1 texts are embedded for each such image",
        later=True,
        shapes_no_encoding=True,
    )
    statistics: Statistics = setting("clip", "R uses CLIP's own statistics here, but not for features")
    stretch_px: int = setting(
        0,
        "the square that the image is stretched to by Lanczos before CLIP's input size; R has 512, 0 leaves it out",
        unit="px",
        minimum=0,
        maximum=4096,
        later=True,
    )
    resampling: Resampling = setting("bicubic", RESAMPLING_REASON, later=True)
    logit_scale: float = setting(
        1.0,
        "R takes the softmax of raw cosines; CLIP's own 100 would keep one or two categories",
        minimum=0.0,
        shapes_no_encoding=True,
    )


@dataclass(frozen=True)
class StuffFilterSettings:
    """Drop background prototypes that look like stuff of the vocabulary (A.9)."""

    enabled: bool = setting(True, "P; false keeps all background prototypes")
    extra_stuff: tuple[str, ...] = setting((), "names that are stuff although the released table does not list them")
    unknown_names: Literal["thing", "nearest"] = setting(
        "thing", "R; 'nearest' takes the kind of the known name that is nearest in CLIP's text space"
    )


@dataclass(frozen=True)
class AnchorSettings:
    """Words beside the vocabulary that may win where nothing that was asked for is, and that are never drawn.

    CLIP compares parts of the image with all of them. Those in ``prototypes`` also compete for pixels, as soon as their
    prototype sets are built, which is done once for all projects of a preset.
    """

    words: tuple[str, ...] = setting(
        (),
        "P has none. In a file also the name of a list: 'common_words', or the path of a .txt file, one word a line",
    )
    prototypes: tuple[str, ...] = setting(
        (),
        "the anchors that compete for pixels too, written as 'words' is: stuff and things that most images have",
    )
    same_cosine: float = setting(
        0.95,
        "an anchor whose text is nearer to a category's own text than this means the same, and steps aside",
        unit="cosine",
        minimum=-1.0,
        maximum=1.0,
    )
    near_cosine: float = setting(
        0.05,
        "CLIP takes a support image for a word that fits it at most this much worse than the fittest anchor, because "
        "the image shows other things too; 5 logits at CLIP's own scale of 100",
        unit="cosine",
        minimum=0.0,
        maximum=2.0,
        changes_no_mask=True,
    )
    doubtful_below: float = setting(
        0.5,
        "a word is doubtful if CLIP takes a smaller share for it; cautious, because it was not measured on photographs",
        unit="share of the support images",
        minimum=0.0,
        maximum=1.0,
        changes_no_mask=True,
    )


@dataclass(frozen=True)
class PartCheckSettings:
    """CLIP looks at the parts that the pixels found, and may give them to other words. Neither P nor R does.

    Where things are is left as the pixels decided. Which thing a pixel shows is decided again, by the sum of

    - ``pixel_scale`` times the pixel's score, a mean cosine (Eq. 4),
    - ``part_weight`` times the logarithm of CLIP's share for the connected part of one word,
    - ``region_weight`` times the same for the connected region of any things, of which the part is a piece.

    Each share is a softmax over all competing things of ``logit_scale`` times CLIP's cosine of crop and word.
    """

    enabled: bool = setting(False, "P and R decide by pixels alone")
    crops_wider: tuple[float, ...] = setting(
        (0.5, 1.0),
        "a crop is wider than the part, because CLIP knows things in their surroundings",
        unit="share of the part's sides, one crop for each",
        minimum=0.0,
        maximum=4.0,
    )
    min_aspect: float = setting(
        0.5,
        "a narrower crop is widened, because CLIP stretches crops to squares",
        unit="shorter side / longer side",
        minimum=0.0,
        maximum=1.0,
    )
    crop_px: int = setting(224, "the side of CLIP's input", unit="px", minimum=8)
    min_part_px: int = setting(
        6,
        "CLIP sees nothing in a smaller part: it follows its region, or is a speck and becomes background",
        unit="px of the working image",
        minimum=1,
    )
    max_parts: int = setting(64, "the largest parts of an image are looked at", minimum=1)
    logit_scale: float = setting(30.0, "CLIP's cosines of two words differ by hundredths", minimum=0.0)
    pixel_scale: float = setting(
        20.0, "a cosine that is .05 higher weighs as much as a share e times as large", minimum=0.0
    )
    part_weight: float = setting(0.5, "as much as the region has", minimum=0.0)
    region_weight: float = setting(0.5, "a part of a wrong word is often a piece of a larger thing", minimum=0.0)
    min_share: float = setting(
        0.3,
        "a part becomes background if its word has less than this of the share of a word that only CLIP knows",
        unit="ratio of shares",
        minimum=0.0,
        maximum=1.0,
    )
    colours: tuple[str, ...] = setting(
        ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey"),
        "a 'red ball' is also compared with balls of these colours",
    )
    stuff_min_share: float = setting(
        0.0,
        "stuff that covers less and is uncertain goes to the runner-up; 0 turns this off",
        unit="share of the image",
        minimum=0.0,
        maximum=1.0,
    )
    stuff_min_margin: float = setting(
        0.04,
        "stuff with a larger mean margin is certain, however little of it there is",
        unit="cosine",
        minimum=0.0,
        maximum=2.0,
    )


@dataclass(frozen=True)
class WindowSettings:
    """Where features are computed in a target image (A.12)."""

    short_side_px: int = setting(
        448, "P: the image is resized to it by Lanczos, with its aspect kept", unit="px", minimum=8, maximum=4096
    )
    max_long_side_px: int = setting(2048, "A.14's img_scale, a limit for panoramas", unit="px", minimum=8)
    rounding: Literal["nearest", "down"] = setting(
        "nearest", "of the side that is computed; R rounds 'down', as torchvision does", unit="px", later=True
    )
    crops_px: tuple[tuple[int, int], ...] = setting(
        ((448, 224), (336, 224)),
        "P, R: (window, stride); () uses the whole image as the only window",
        unit="px",
        minimum=1,
    )
    whole_image: bool = setting(
        True, "R: the whole image is one more window; in a square image that window counts twice"
    )
    features_dtype: Literal["computed", "float16"] = setting(
        "computed",
        "how the features of windows are kept, in memory and on disk: float16 for a model in float16, else float32. "
        "'float16' halves the latter, and moves a cosine by less than 1e-5",
        later=True,
    )


@dataclass(frozen=True)
class MatchingSettings:
    """How pixels are compared with prototypes: Eq. 4 (A.8)."""

    extractors: tuple[str, ...] = setting((), "which extractors of extractors.use vote; () lets all vote")
    kinds: tuple[PrototypeKind, ...] = setting(("class", "instance", "part"), "P, Eq. 3: the prototypes that are used")
    background: Literal["prototypes", "threshold", "none"] = setting(
        "prototypes", "P; 'none' gives every pixel a category, as in the protocol 'without background'"
    )
    background_threshold: float = setting(
        0.75,
        "P, for SD: with 'threshold', a pixel whose best score is lower is background",
        minimum=-1.0,
        maximum=1.0,
    )


@dataclass(frozen=True)
class RefineSettings:
    """PAMR (A.13) and the clean-up of the label map."""

    pamr: bool = setting(False, "P reports results with and without PAMR; without it is faster")
    pamr_iterations: int = setting(10, "the same in R, in TCL and in PAMR's own code (1-stage-wseg)", minimum=1)
    pamr_dilations: tuple[int, ...] = setting(
        (1, 2, 4, 8, 12, 24),
        "the same in R, in TCL and in PAMR's own code (1-stage-wseg)",
        unit="px",
        minimum=1,
    )
    min_part_px: int = setting(0, "a smaller part of a mask becomes background", unit="px of the image", minimum=0)
    max_hole_px: int = setting(
        0, "a background hole of a mask is filled up to this size", unit="px of the image", minimum=0
    )


@dataclass(frozen=True)
class InstanceSettings:
    """How the pixels of a thing become objects, where objects are asked for."""

    method: Literal["parts", "cores", "proposals"] = setting(
        "cores",
        "'parts': connected parts. 'cores' cuts a part at its waists, so that objects of one kind that touch are two. "
        "'proposals' cuts by class-agnostic masks of the image first",
    )
    source: str = setting("", "the proposal source of the method 'proposals'; '' takes that of proposals.source")
    min_area: float = setting(
        0.001,
        "a smaller piece is no object; its pixels keep their category",
        unit="fraction of the image",
        minimum=0.0,
        maximum=1.0,
    )
    min_piece: float = setting(
        0.35,
        "no piece is cut off that is smaller, so that a handle or a tail stays",
        unit="of the largest piece",
        minimum=0.0,
        maximum=1.0,
    )
    waist: float = setting(
        0.85,
        "a part is cut where it is narrower than this; 1 cuts at every bend",
        unit="of the narrower object's width",
        minimum=0.0,
        maximum=1.0,
    )
    agreement: float = setting(
        0.6,
        "a proposal belongs to a thing if so much of it has the thing's label; else it is ignored",
        unit="of the proposal's area",
        minimum=0.5,
        maximum=1.0,
    )


@dataclass(frozen=True)
class RegionScoreWeights:
    """A logistic model of one kind of regions: from the evidence for a region to the odds that it is right."""

    intercept: float = setting(0.0, "fitted; with 0 and no weights each score is 0.5")
    cosine: float = setting(0.0, "fitted; the weight of the region's mean score by Eq. 4", unit="per cosine")
    margin: float = setting(0.0, "fitted; the weight of the mean margin to the runner-up", unit="per cosine")
    log_area: float = setting(0.0, "fitted; the weight of the region's share of the image", unit="per e-fold")
    log_presence: float = setting(
        0.0, "fitted; the weight of CLIP's share for the word in the whole image", unit="per e-fold"
    )
    log_share: float = setting(
        0.0, "fitted; the weight of CLIP's share for the word in the parts that it looked at", unit="per e-fold"
    )


@dataclass(frozen=True)
class ScoreSettings:
    """How sure the method is of a region. The weights are fitted: see `ovdiff presets calibrate`."""

    kind: Literal["mean_cosine", "calibrated"] = setting(
        "mean_cosine",
        "R has no scores. 'calibrated' is the probability that the region is right, at an IoU of 0.5, by the weights "
        "below; 'mean_cosine' is the mean winning score of the pixels by Eq. 4, and needs no weights",
    )
    things: RegionScoreWeights = field(default_factory=RegionScoreWeights)
    stuff: RegionScoreWeights = field(default_factory=RegionScoreWeights)


@dataclass(frozen=True)
class LearningSettings:
    """How an annotated image becomes a lesson. P and R do not learn from annotations."""

    cell_purity: float = setting(
        0.75,
        "a feature cell belongs to a word that covers so much of it; cells at borders mix the features of two things",
        unit="share of the cell",
        minimum=0.5,
        maximum=1.0,
    )
    rows_per_group: int = setting(
        32,
        "the most cells that are kept of those with one word by the person and one by the prediction, in one feature "
        "space, evenly spread; so a lesson stays small, however large its image is",
        unit="cells",
        minimum=1,
        maximum=1024,
    )


@dataclass(frozen=True)
class LessonSettings:
    """How lessons change scores (:mod:`ovdiff.segmenting.lessons`). P and R do not learn from annotations.

    The values were chosen on crowded scenes of the drawn world's `thresholds` split, generation seeds 45 and 46.
    """

    enabled: bool = setting(True, "lessons that are on count; without any lesson nothing changes")
    cosine_per_nat: float = setting(
        0.2,
        "how much a nat of a lesson's log share is worth beside the votes of the prototypes",
        unit="cosine per nat",
        minimum=0.0,
    )
    caution: float = setting(
        4.0,
        "as many lessons as this count half of what many count, because few images show little of what there is",
        unit="lessons",
        minimum=0.0,
    )
    support_weight: float = setting(
        1.0,
        "what the prototypes of the vocabulary count beside lessons; they stand for words that nobody annotated yet",
        unit="lessons",
        minimum=0.01,
    )
    shrinkage: float = setting(
        0.3,
        "so much of its mean variance is added to every dimension of the covariance of features",
        unit="share of the mean variance",
        minimum=1e-4,
    )
    crop_shrinkage: float = setting(
        3.0, "the same for CLIP's views of crops, which are fewer", unit="share of the mean variance", minimum=1e-4
    )
    crop_prior: float = setting(
        10.0,
        "as so many crops each word counts as being like all others, so that words without crops are neutral",
        unit="crops",
        minimum=0.01,
    )
