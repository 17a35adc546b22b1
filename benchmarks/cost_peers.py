"""The product beside named peers, in the same run: what each decision saves or costs.

Seconds are those of the machine; the ratio is what travels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from benchmarks.cost_seconds import in_turns, release
from benchmarks.cost_stages import CATEGORIES, Run, denoising_step, feature_shape, prototype_table, unfused_step
from benchmarks.full_size_models import FullSizeParts
from ovdiff.building.clustering import k_means
from ovdiff.building.generation.diffusion import make_scheduler
from ovdiff.building.generation.tokens import fill
from ovdiff.building.steps import make_prototype_set, make_support_set
from ovdiff.segmenting.segmenter import BACKGROUND, class_scores

_ROWS, _CLUSTERS, _ITERATIONS = 20_000, 32, 20
_GATED = 5  # categories that a prefilter leaves of twenty: a picture with few things in it


@dataclass(frozen=True)
class Comparison:
    """What ours takes, and what the peer takes."""

    what: str
    ours: str
    peer: str
    ours_s: float
    peer_s: float

    @property
    def ratio(self) -> float:
        """Return how many times as long the peer takes."""
        return self.peer_s / self.ours_s


Compare = Callable[[FullSizeParts, str], list[Comparison]]


def attribution(parts: FullSizeParts, device: str) -> list[Comparison]:
    """Recording attribution, beside diffusers without it and beside attention that keeps every probability.

    The second peer is what reading probabilities out of attention processors leads to: with diffusers' own unfused
    processor in every layer, self-attention of 64 x 64 places makes a matrix of 4,096 x 4,096 a head.
    """
    calls = denoising_step(parts, 1), denoising_step(parts, 1, recorded=False), unfused_step(parts, 1)
    ours, alone, unfused = in_turns(calls, device, rounds=3)
    step = "a denoising step of one image"
    return [
        Comparison(step, "attribution recorded", "diffusers' UNet alone", ours, alone),
        Comparison(step, "attribution recorded", "diffusers' unfused attention, nothing recorded", ours, unfused),
    ]


def clustering(parts: FullSizeParts, device: str) -> list[Comparison]:
    """K-means of the features of one side of a category, beside scikit-learn's."""
    rows = clustered_rows(_ROWS, feature_shape(parts.preset, "stable_diffusion", "support")[0])
    tensor = torch.from_numpy(rows)
    peer = KMeans(_CLUSTERS, n_init=1, max_iter=_ITERATIONS, random_state=0)
    ours_s, peer_s = in_turns(
        (
            lambda: k_means(tensor, _CLUSTERS, seed=0, iterations=_ITERATIONS, device=torch.device(device)),
            lambda: peer.fit(rows),
        ),
        device,
        rounds=1,
    )
    what = f"k-means, {_ROWS} x {rows.shape[1]}, K = {_CLUSTERS}"
    return [Comparison(what, "ovdiff.building.clustering", "scikit-learn's KMeans", ours_s, peer_s)]


def gating(parts: FullSizeParts, device: str) -> list[Comparison]:
    """Matching what the prefilter left, beside matching every category and masking afterwards (the released code)."""
    width, cells = feature_shape(parts.preset, "stable_diffusion", "window")
    table = prototype_table(parts.preset, width, CATEGORIES, parts.models.device)
    gated = table.gated(range(_GATED))
    maps = torch.randn(1, width, cells, cells)

    def score(rows: object, categories: int) -> Run:
        return lambda: class_scores(maps, rows, [BACKGROUND, *range(categories)])  # type: ignore[arg-type]

    ours_s, peer_s = in_turns((score(gated, _GATED), score(table, CATEGORIES)), device, rounds=3)
    what = "Stable Diffusion's cosines of a window"
    return [Comparison(what, f"gated first: {_GATED} categories", f"all {CATEGORIES} categories", ours_s, peer_s)]


def whole_category(parts: FullSizeParts, device: str) -> list[Comparison]:
    """Building a category, beside diffusers drawing as many images and nothing else. On a CPU this takes hours."""
    preset = parts.preset
    pipeline = parts.models.diffusion(preset.models.generator)
    scheduler = pipeline.scheduler

    def build() -> None:
        support = make_support_set(parts, ["cat"], lambda _stage, _done: None)
        make_prototype_set(parts, support, lambda _stage, _done: None)

    def draw() -> None:
        settings = preset.generation
        pipeline.scheduler = make_scheduler(settings, scheduler.config)
        for start in range(0, settings.images, settings.batch_size):
            count = min(settings.batch_size, settings.images - start)
            pipeline(
                [fill(settings.prompt_template, "cat")] * count,
                negative_prompt=[settings.negative_prompt] * count,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                height=settings.size_px,
                width=settings.size_px,
            )
        pipeline.scheduler = scheduler

    release(device)
    ours_s, peer_s = in_turns((build, draw), device, rounds=1)
    what = f"a category, N = {preset.generation.images}"
    return [Comparison(what, "ovdiff", "diffusers' StableDiffusionPipeline alone", ours_s, peer_s)]


def clustered_rows(count: int, width: int) -> NDArray[np.float32]:
    """Return rows (n, D) float32 around 64 centres: features of parts of things are no plain noise."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((2 * _CLUSTERS, width), dtype=np.float32)
    rows = random.standard_normal((count, width), dtype=np.float32)
    rows += centres[random.integers(len(centres), size=count)]
    return rows


ON_A_CPU: dict[str, Compare] = {"attribution": attribution, "clustering": clustering, "gating": gating}
ON_A_GPU: dict[str, Compare] = {**ON_A_CPU, "whole category": whole_category}
