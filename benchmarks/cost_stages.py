"""The stages of building a category and of labelling an image, as the product runs them, at full size.

A stage is a function of a preset's parts and a number of items; it returns a callable that runs the product's own
code on so many. Beside each stands its floor: what the arithmetic alone asks for, counted by hand in section B of the
specification, in 10^9 multiplications with addition, attention included.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from numpy.typing import NDArray

from benchmarks.full_size_models import FullSizeParts
from ovdiff.bank.prototypes import KINDS
from ovdiff.building.clustering import k_means
from ovdiff.building.generation.attribution import AttributionRecorder
from ovdiff.building.generation.diffusion import decode
from ovdiff.extractors.extractor import Purpose
from ovdiff.extractors.transformer import TransformerExtractor
from ovdiff.models.pamr import pamr
from ovdiff.presets import Preset
from ovdiff.presets.needs import feature_dtype, feature_settings
from ovdiff.segmenting.origins import NOT_STORED, RowOrigins, joined
from ovdiff.segmenting.prefilter import embed_image
from ovdiff.segmenting.segmenter import BACKGROUND, PrototypeTable, class_scores
from ovdiff.segmenting.windows import plan_windows

Run = Callable[[], object]
SizeHW = tuple[int, int]

WORKING_HW = (448, 597)
"""The working size of a 4:3 image (A.12)."""

CATEGORIES = 20
"""Of the vocabulary that is matched: VOC's."""

TEXTS = 256
"""Captions that the prefilter embeds: a quarter of the most that an image can ask for (A.10)."""

_UNET, _VAE_DECODE, _VAE_ENCODE = 402.0, 1257.0, 558.0
_CLIP_TEXT = 3.0
_BY_INPUT: dict[tuple[str, SizeHW], float] = {
    ("dino", (336, 336)): 208.0,
    ("dino", (448, 448)): 448.0,
    ("dino", (448, 597)): 669.0,
    ("dino", (512, 512)): 658.0,
    ("clip", (224, 224)): 18.0,
    ("clip", (448, 448)): 78.0,
    ("clip", (512, 512)): 107.0,
    ("mae", (448, 448)): 268.0,
}
_MATCHING = {"stable_diffusion": 68.0, "dino": 6.2, "clip": 1.6}  # half of section B's GFLOP at 21 classes


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        item: what is counted: "image", "window", ...
        prepare: gives the callable that runs a number of items.
        per_category: items that one category takes.
        per_image: items that one 4:3 image takes.
        floor_gmac: section B's arithmetic an item; ``None`` where it tells none.
        batches: how many items at once are traced.
        traced_on: "cpu" where what is run depends on values, so that it must be run for real.
        float32: whether it computes in float32 whatever the preset's dtypes are.
    """

    item: str
    prepare: Callable[[FullSizeParts, int], Run]
    per_category: int = 0
    per_image: int = 0
    floor_gmac: float | None = None
    batches: tuple[int, ...] = (1, 2, 4, 8)
    traced_on: Literal["meta", "cpu"] = "meta"
    float32: bool = False


def stages(preset: Preset, working_hw: SizeHW = WORKING_HW) -> dict[str, Stage]:
    """Return a preset's stages by name, in the order in which they run, for an image of a working size."""
    return {**_category_stages(preset), **_image_stages(preset, working_hw)}


def peer_stages(preset: Preset) -> dict[str, Stage]:
    """Return what is no stage of the product, but is measured beside one."""
    step = stages(preset)["denoising step with attribution"]
    return {"denoising step, diffusers' unfused attention": replace(step, prepare=unfused_step, per_category=0)}


def _category_stages(preset: Preset) -> dict[str, Stage]:
    generation = preset.generation
    passes = 2 if generation.guidance > 1 else 1
    found = {
        "denoising step with attribution": Stage(
            "image", denoising_step, generation.images * generation.steps, 0, passes * _UNET, (1, 2, 4, 8, 16)
        ),
        "VAE decoding": Stage("image", decoding, generation.images, 0, _VAE_DECODE, (1, 2)),
        "safety check": Stage("image", checking, generation.images),
    }
    if preset.proposals.source == "maskcut":
        found["MaskCut's keys"] = Stage("image", maskcut_keys, generation.images, 0, None, (1,))
    if preset.proposals.source == "cutler":
        found["CutLER"] = Stage("image", proposing, generation.images, 0, None, (1,), "cpu", float32=True)
    for name in preset.extractors.use:
        size = feature_settings(preset, name).support_px
        found[f"{name} features, support image"] = Stage(
            "image", features(name, (size, size), "support"), generation.images, 0, _feature_floor(name, (size, size))
        )
        found[f"{name} clustering"] = Stage("side", clustering(name), 2, 0, None, (1,), float32=True)
    return found


def _image_stages(preset: Preset, working_hw: SizeHW) -> dict[str, Stage]:
    found = {}
    for name in preset.active_extractors():
        for seen_hw, windows in _windows_as_seen(preset, name, working_hw).items():
            found[f"{name} features, window at {seen_hw[0]} x {seen_hw[1]}"] = Stage(
                "window", features(name, windows[0], "window"), 0, len(windows), _feature_floor(name, seen_hw)
            )
        count = len(plan_windows(working_hw, preset.windows))
        found[f"{name} matching"] = Stage("window", matching(name), 0, count, _MATCHING.get(name), float32=True)
    if preset.prefilter.enabled:
        found["CLIP image embedding"] = Stage("image", embedding(working_hw), 0, 1, _BY_INPUT["clip", (224, 224)], (1,))
        texts = 2**preset.prefilter.max_categories - 1
        found["CLIP text embedding"] = Stage("text", captions, 0, texts, _CLIP_TEXT, (TEXTS,), float32=True)
    found["PAMR"] = Stage("image", refining(working_hw), 0, int(preset.refine.pamr), None, (1,), float32=True)
    return found


def _windows_as_seen(preset: Preset, name: str, working_hw: SizeHW) -> dict[SizeHW, list[SizeHW]]:
    """Return the sizes of a 4:3 image's windows by the size at which an extractor sees them, before patches."""
    settings = feature_settings(preset, name)
    kept = getattr(settings, "aspect", "stretch") == "keep"
    seen: dict[SizeHW, list[SizeHW]] = {}
    for window in plan_windows(working_hw, preset.windows):
        size_hw = window.height, window.width
        seen.setdefault(size_hw if kept else (settings.window_px,) * 2, []).append(size_hw)
    return seen


def _feature_floor(name: str, seen_hw: SizeHW) -> float | None:
    return _VAE_ENCODE + _UNET if name == "stable_diffusion" else _BY_INPUT.get((name, seen_hw))


def noise(count: int, size_hw: SizeHW) -> NDArray[np.uint8]:
    """Return images (B, H, W, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (count, *size_hw, 3), dtype=np.uint8)


def denoising_step(parts: FullSizeParts, count: int, *, recorded: bool = True) -> Run:
    """One step of sampling: the UNet on both halves of guidance, attribution recorded."""
    settings, pipeline = parts.preset.generation, parts.models.diffusion(parts.preset.models.generator)
    unet, grid = pipeline.unet, settings.size_px // pipeline.vae_scale_factor
    rows = count * (2 if settings.guidance > 1 else 1)
    latents = torch.randn(rows, unet.config.in_channels, grid, grid).to(unet.device, unet.dtype)
    text = torch.randn(rows, pipeline.tokenizer.model_max_length, unet.config.cross_attention_dim)
    states, timestep = text.to(unet.device, unet.dtype), torch.tensor(500)

    @torch.inference_mode()
    def run() -> None:
        if not recorded:
            unet(latents, timestep, encoder_hidden_states=states)
            return
        span = slice(6, 7)  # a category of one token behind "A good picture of a"
        with AttributionRecorder(unet, parts.preset.attribution, span, images=count, grid=grid, steps=1) as recorder:
            unet(latents, timestep, encoder_hidden_states=states)
            recorder.end_step()

    return run


def unfused_step(parts: FullSizeParts, count: int) -> Run:
    """The same step with diffusers' own processor that keeps every probability, in every layer; nothing recorded."""
    unet, plain = (
        parts.models.diffusion(parts.preset.models.generator).unet,
        denoising_step(parts, count, recorded=False),
    )

    def run() -> None:
        before = unet.attn_processors
        unet.set_attn_processor(AttnProcessor())
        try:
            plain()
        finally:
            unet.set_attn_processor(before)

    return run


def decoding(parts: FullSizeParts, count: int) -> Run:
    """Latents to images."""
    pipeline = parts.models.diffusion(parts.preset.models.generator)
    grid = parts.preset.generation.size_px // pipeline.vae_scale_factor
    latents = torch.randn(count, pipeline.vae.config.latent_channels, grid, grid).to(pipeline.vae.device)
    return lambda: decode(pipeline, latents)


def checking(parts: FullSizeParts, count: int) -> Run:
    """The look for images that nobody should see."""
    check, size = parts.safety, parts.preset.generation.size_px
    pixels = noise(count, (size, size))
    return lambda: check is None or check.refused(pixels)


def proposing(parts: FullSizeParts, _count: int) -> Run:
    """Class-agnostic masks of one support image."""
    proposer, size = parts.source, parts.preset.generation.size_px
    image = noise(1, (size, size))[0]
    return lambda: proposer.propose(image)


def maskcut_keys(parts: FullSizeParts, count: int) -> Run:
    """What of MaskCut runs on the device: DINO's keys."""
    extractor, side = cast(TransformerExtractor, parts.extractors["dino"]), parts.preset.proposals.maskcut.input_px
    pixels = noise(count, (side, side))
    return lambda: extractor.keys(pixels, side)


def features(name: str, size_hw: SizeHW, purpose: Purpose) -> Callable[[FullSizeParts, int], Run]:
    """Return the stage of one extractor on images of one size."""

    def prepare(parts: FullSizeParts, count: int) -> Run:
        extractor, pixels = parts.extractors[name], noise(count, size_hw)
        return lambda: extractor.extract(pixels, purpose)

    return prepare


def clustering(name: str) -> Callable[[FullSizeParts, int], Run]:
    """Return the stage of k-means on one side of a category, at most: every cell of every support image.

    On "meta" one pass follows the seeding; a real run makes as many as the features need.
    """

    def prepare(parts: FullSizeParts, _count: int) -> Run:
        width, cells = feature_shape(parts.preset, name, "support")
        dtype = torch.float16 if feature_dtype(parts.preset, name) == "float16" else torch.float32
        rows = torch.empty(parts.preset.generation.images * cells * cells, width, dtype=dtype)
        settings, device = parts.preset.prototypes, torch.device(parts.models.device)
        return lambda: k_means(
            rows, settings.parts, seed=settings.kmeans_seed, iterations=settings.kmeans_iterations, device=device
        )

    return prepare


def embedding(working_hw: SizeHW) -> Callable[[FullSizeParts, int], Run]:
    """Return the stage of CLIP's opinion of an image, for the prefilter."""

    def prepare(parts: FullSizeParts, _count: int) -> Run:
        clip, image = parts.segmenting.clip, noise(1, working_hw)[0]
        return lambda: embed_image(clip, image, parts.preset.prefilter)

    return prepare


def captions(parts: FullSizeParts, count: int) -> Run:
    """Captions of subsets of categories."""
    clip = parts.segmenting.clip  # not parts.segmenting.texts, which remembers them
    names = [f"a cat and a dog and a number {index}" for index in range(count)]
    return lambda: clip.embed_texts(names)


def matching(name: str, categories: int = CATEGORIES) -> Callable[[FullSizeParts, int], Run]:
    """Return the stage of Eq. 4 on windows: cosines with every prototype, and the best of each class."""

    def prepare(parts: FullSizeParts, count: int) -> Run:
        width, cells = feature_shape(parts.preset, name, "window")
        table = prototype_table(parts.preset, width, categories, parts.models.device)
        maps = torch.zeros(count, width, cells, cells)  # as costly as any, and not even written on "meta"
        return lambda: class_scores(maps, table, [BACKGROUND, *range(categories)])

    return prepare


def prototype_table(preset: Preset, width: int, categories: int, device: torch.device) -> PrototypeTable:
    """Return a table of as many prototypes as things of a vocabulary have; the vectors are zeros."""
    per_kind = (1, preset.generation.images, preset.prototypes.parts)
    a_side = sum(per_kind)  # A.7
    owners = np.repeat(np.tile(np.arange(categories), 2), a_side)
    classes = np.repeat([*([BACKGROUND] * categories), *range(categories)], a_side)
    kinds = np.repeat(np.arange(3, dtype=np.uint8), per_kind)
    images = np.repeat(np.int32(NOT_STORED), a_side)
    images[kinds == KINDS.index("instance")] = np.arange(preset.generation.images)
    one_side = RowOrigins(kinds, np.arange(a_side, dtype=np.int32), images)
    vectors = torch.zeros(len(owners), width, device=device)
    return PrototypeTable(vectors, classes, owners, joined([one_side] * (2 * categories)))


def refining(working_hw: SizeHW) -> Callable[[FullSizeParts, int], Run]:
    """Return the stage of PAMR on the score maps of an image."""

    def prepare(parts: FullSizeParts, _count: int) -> Run:
        scores = torch.rand(CATEGORIES + 1, *working_hw).to(parts.models.device)
        image = noise(1, working_hw)[0]
        return lambda: pamr(image, scores, parts.preset.refine)

    return prepare


def feature_shape(preset: Preset, name: str, purpose: Purpose) -> tuple[int, int]:
    """Return a full-size extractor's width and the cells along a side of a square support image or window."""
    widths: dict[str, int] = {"stable_diffusion": 6400, "mae": 1024}
    patches: dict[str, int] = {"stable_diffusion": 8, "dino": 8, "dinov2": 14}
    settings = feature_settings(preset, name)
    side = settings.support_px if purpose == "support" else settings.window_px
    return widths.get(name, 768), side // patches.get(name, 16)


def used_extractors(preset: Preset) -> Iterator[str]:
    """Yield the extractors whose weights a preset loads."""
    yield from dict.fromkeys((*preset.extractors.use, *preset.active_extractors()))
