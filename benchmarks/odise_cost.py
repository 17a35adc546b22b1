"""What an image and a training step cost on ODISE's real architecture, stage by stage, without weights or a GPU.

    OMP_NUM_THREADS=1 python -m benchmarks.odise_cost --out benchmarks/results/odise_cost.json

Weights are on torch's "meta" device (:mod:`benchmarks.memory_trace`), so this takes a minute and 1 GB, and downloads
nothing. Attention counts as the fused kernel. Autocast, which "meta" does not have, is left out: the head learns in
float32 here, so a step in float16 takes less memory than this. Seconds are not measured.
"""

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks import architectures
from benchmarks.full_size_models import FullSizeModels
from benchmarks.memory_plan import pretended_card
from benchmarks.memory_trace import MIB, Cost, PretendedGpu, cost_of
from ovdiff.engines import load_any_preset
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.memory import RESERVE_MIB
from ovdiff.odise.encoding import WindowGrid, cut
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.head_file import HeadCard
from ovdiff.odise.naming import Label, LabelTexts
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.feature_store import Batch, FeatureStore
from ovdiff.odise.training.trainer import Trainer
from ovdiff.odise.training.views import view_grid

Results = dict[str, Any]

SIZES_HW = {"1:1": (1024, 1024), "4:3": (1024, 1365), "the longest": (1024, 2560)}
"""Images that the published sizes leave as they are."""

LABELS, SEGMENTS = 133, 12
"""COCO's panoptic labels, and segments of a training image: a round number near COCO's mean of 11."""


class FullSizeOdise(OdiseParts):
    """The parts of the second engine on weights without values."""

    def __init__(self, preset: OdisePreset) -> None:
        """Build all models."""
        self._built = FullSizeModels("meta", clip=architectures.CLIP_L14_336)
        super().__init__(preset, cast(LoadedModels, self._built))
        with PretendedGpu():  # not in inference mode: a training could not learn through such weights
            _ = self.encoder
            with torch.inference_mode():
                _ = self.text_channels
        with torch.device("meta"):
            made = self.new_head()
        self._made = made.to("meta")  # transformers makes one parameter on the CPU, whatever the device

    def head_identity(self) -> str:
        """Return a name: there are no files."""
        return "without values"

    @property
    def head(self) -> tuple[OdiseHead, HeadCard]:
        """The head as the engine loads it."""
        return self._made.eval().requires_grad_(False), HeadCard((Label("thing", ("thing",), False),), {}, {})

    def learning_head(self) -> OdiseHead:
        """Return the head, ready to learn."""
        return self._made.train().requires_grad_(True)

    def weights(self) -> list[Tensor]:
        """Return all weights, frozen and trained."""
        return [*self._built.weights(), *self._made.parameters(), *self._made.buffers()]


def encoding_stages(parts: FullSizeOdise) -> dict[str, Results]:
    """Trace what encoding is made of: the frozen models a window, and the rest for a 4:3 image."""
    preset, encoder, (head, _) = parts.preset, parts.encoder, parts.head
    captioner, settings, side = head.captioner, preset.captioner, preset.taps.input_px // 8
    latents = torch.zeros(4, 4, side, side, device="meta")
    embeddings = torch.zeros(4, parts.text_channels, device="meta")

    def clip(count: int) -> object:
        return parts.clip.image_features(_windows(preset, count), settings.statistics, settings.resampling)

    of_window: dict[str, Callable[[int], object]] = {
        "VAE": lambda count: encoder.taps.vae(_windows(preset, count)),
        "CLIP for the captioner": clip,
        "one pass of the UNet": lambda count: encoder.unet(latents[:count], embeddings[:count], captioner),
        "a window, whole": lambda count: encoder.encode(_windows(preset, count), captioner),
    }
    found = {name: _traced("window", parts, run, (1, 2, 4), [latents]) for name, run in of_window.items()}
    image, grid = _image(SIZES_HW["4:3"]), cut(_image(SIZES_HW["4:3"]), preset.taps)[1]
    with torch.inference_mode(), PretendedGpu():
        taps = [tap.float() for tap in encoder.encode(_windows(preset, grid.rows * grid.columns), captioner)]
        masks = head.find(taps, grid)[-1].logits
    engine, held = _engine(parts), [*taps, masks]
    of_image: dict[str, Callable[[int], object]] = {
        "mask generator": lambda _count: head.find(taps, grid),
        "CLIP's branch, 100 masks": lambda _count: engine._regions(image, masks),
    }
    return {**found, **{name: _traced("image", parts, run, (1,), held) for name, run in of_image.items()}}


def images(parts: FullSizeOdise, card_gib: float = 80.0) -> dict[str, Results]:
    """Trace whole images of several shapes within the preset's budget, on a card of a size."""
    found = {}
    weights_mib = _mib(parts.weights())
    for name, size_hw in SIZES_HW.items():
        image, engine = _image(size_hw), _engine(parts)
        grid = cut(image, parts.preset.taps)[1]
        with pretended_card(card_gib) as trace:
            trace.hold(parts.weights())
            engine._encode(image)
        cost = cost_of(lambda engine=engine, image=image: engine._encode(image), parts.weights())
        found[name] = {
            "size_hw": size_hw,
            "windows": grid.rows * grid.columns,
            "weights_mib": weights_mib,
            "peak_mib": trace.peak_bytes / MIB + RESERVE_MIB,
            "tflop": 2 * cost.gmac / 1000,
        }
    return found


@dataclass(frozen=True)
class Step:
    """One training step: a change of the preset, and whether the captioner still learns."""

    preset: OdisePreset
    views: int
    learns_captioner: bool = True


def training_steps(preset: OdisePreset) -> dict[str, Results]:
    """Trace steps of one and two views, with a captioner that learns and with one that rests."""
    found = {}
    for learns, name in ((True, "the captioner learns"), (False, "the captioner rests, its features are stored")):
        costs = {views: step_cost(Step(preset, views, learns)) for views in (1, 2)}
        found[name] = {
            "peak_mib": {str(views): cost.peak_mib for views, cost in costs.items()},
            "mib_per_view": costs[2].peak_mib - costs[1].peak_mib,
            "mib_at_rest": at_rest_mib(preset),
            "tflop_per_view": 2 * (costs[2].gmac - costs[1].gmac) / 1000,
        }
    return found


def at_rest_mib(preset: OdisePreset) -> float:
    """Return what a training holds between steps beside the weights: gradients, AdamW's two moments, the average."""
    return 4 * _mib(list(FullSizeOdise(preset).learning_head().parameters()))


def step_cost(step: Step) -> Cost:
    """Trace one step of a training: losses, gradients, AdamW. All but the weights counts."""
    parts = FullSizeOdise(step.preset)
    with torch.inference_mode(), PretendedGpu():
        grid, head = view_grid(step.preset.taps), parts.learning_head()
        taps = parts.encoder.encode(_windows(step.preset, grid.rows * grid.columns * step.views), head.captioner)
    if head.captioner is not None:
        head.captioner.requires_grad_(step.learns_captioner)
    batch = _batch(step, taps, parts, grid)
    texts = torch.zeros(LABELS, parts.text_channels, device="meta")
    names = LabelTexts(texts, torch.arange(LABELS), LABELS)
    nothing = cast(FeatureStore, None)
    trainer = Trainer(step.preset, head, parts.encoder, nothing, grid, names, None, Path())
    learning = [weight for weight in head.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning)

    def run() -> None:
        losses = trainer.losses(batch, np.random.default_rng(0), mirror=False)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learning, step.preset.training.max_gradient)
        optimizer.step()

    with mock.patch.object(torch, "autocast", lambda *_args, **_how: nullcontext()):  # "meta" has none
        return cost_of(run, parts.weights(), learning=True)


def _batch(step: Step, taps: list[Tensor], parts: FullSizeOdise, grid: WindowGrid) -> Batch:
    """Return views as the store gives them, in half precision."""
    count, settings = step.views, step.preset.taps
    windows, maps = len(taps[0]), len(settings.vae_encoder) + len(settings.vae_decoder)
    stored = [torch.zeros(tap.shape, dtype=torch.float16, device="meta") for tap in taps]
    side, latent = step.preset.training.mask_px, settings.input_px // 8
    return Batch(
        maps=stored[:maps],
        unet=None if step.learns_captioner else stored[maps:],
        latents=torch.zeros(windows, 4, latent, latent, dtype=torch.float16, device="meta"),
        embeddings=torch.zeros(windows, parts.text_channels, dtype=torch.float16, device="meta"),
        segments=torch.zeros(count, side, side, dtype=torch.uint8, device="meta"),
        names=[list(range(SEGMENTS))] * count,
        captions=[[]] * count,
        images=list(range(count)),
        partial=[False] * count,
    )


def _traced(
    item: str, parts: FullSizeOdise, run: Callable[[int], object], counts: tuple[int, ...], held: list[Tensor]
) -> Results:
    costs = {count: cost_of(lambda count=count: run(count), [*parts.weights(), *held]) for count in counts}
    return {
        "item": item,
        "peak_mib": {str(count): cost.peak_mib for count, cost in costs.items()},
        "mib_per_item": max(cost.peak_mib / count for count, cost in costs.items()),
        "gmac_per_item": costs[counts[-1]].gmac / counts[-1],
    }


def _engine(parts: FullSizeOdise) -> OdiseEngine:
    engine = OdiseEngine(parts.preset, models=parts.models)
    engine._parts = parts
    return engine


def _windows(preset: OdisePreset, count: int) -> NDArray[np.uint8]:
    return np.zeros((count, preset.taps.input_px, preset.taps.input_px, 3), np.uint8)


def _image(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    return np.zeros((*size_hw, 3), np.uint8)


def _mib(tensors: list[Tensor]) -> float:
    return sum(tensor.nbytes for tensor in tensors) / MIB


def lowered(preset: OdisePreset) -> dict[str, Results]:
    """Trace a step of one view with one setting after the other lowered: what is it worth?"""
    training, taps, loss = preset.training, preset.taps, preset.loss
    tried: dict[str, Step] = {
        "as published": Step(preset, 1),
        "training.captioner_rate = 0": Step(preset, 1, learns_captioner=False),
        f"taps.short_side_px = {taps.short_side_px // 2}": Step(
            replace(preset, taps=replace(taps, short_side_px=taps.short_side_px // 2)), 1
        ),
        "loss.points = 1000": Step(replace(preset, loss=replace(loss, points=1000)), 1),
        f"training.mask_px = {training.mask_px // 4}": Step(
            replace(preset, training=replace(training, mask_px=training.mask_px // 4)), 1
        ),
    }
    return {name: {"peak_mib": step_cost(step).peak_mib} for name, step in tried.items()}


def stages_table(results: Results) -> str:
    """Return the stages of encoding as Markdown."""
    lines = ["| stage | of | GMAC an item | MiB an item |", "| --- | --- | --: | --: |"]
    for name, row in results["stages"].items():
        lines.append(f"| {name} | {row['item']} | {row['gmac_per_item']:.0f} | {row['mib_per_item']:.0f} |")
    return "\n".join([*lines, "", f"*All weights: {results['weights_mib'] / 1024:.2f} GiB.*"])


def images_table(results: Results) -> str:
    """Return whole images as Markdown, in GiB."""
    lines = ["| image | windows | TFLOP | GiB, weights and reserve included |", "| --- | --: | --: | --: |"]
    for name, row in results["images"].items():
        height, width = row["size_hw"]
        cells = f"{name}, {width} x {height} px | {row['windows']} | {row['tflop']:.1f} | {row['peak_mib'] / 1024:.1f}"
        lines.append(f"| {cells} |")
    return "\n".join(lines)


def steps_table(results: Results) -> str:
    """Return training steps as Markdown: what a view costs, and how many fit on cards."""
    cards = (24, 40, 80)
    fits = " | ".join(f"views on {card} GB" for card in cards)
    lines = [f"| step | TFLOP a view | GiB a view | {fits} |", f"| --- | --: | --: |{' --: |' * len(cards)}"]
    for name, row in results["steps"].items():
        room = [card * 1e9 / MIB - results["weights_mib"] - row["mib_at_rest"] - RESERVE_MIB for card in cards]
        counts = " | ".join(str(max(0, int(left // row["mib_per_view"]))) for left in room)
        lines.append(f"| {name} | {row['tflop_per_view']:.1f} | {row['mib_per_view'] / 1024:.2f} | {counts} |")
    lines += ["", "| a step of one view, with | GiB beside the weights |", "| --- | --: |"]
    lines += [f"| {name} | {row['peak_mib'] / 1024:.2f} |" for name, row in results["lowered"].items()]
    return "\n".join(lines)


def measure(preset: OdisePreset) -> Results:
    """Return all figures of a preset."""
    parts = FullSizeOdise(preset)
    return {
        "preset": preset.name,
        "weights_mib": _mib(parts.weights()),
        "stages": encoding_stages(parts),
        "images": images(parts),
        "steps": training_steps(preset),
        "lowered": lowered(preset),
    }


def main(write: Callable[[str], None] = print) -> None:
    """Trace, print Markdown tables, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="odise", help="a name, or a TOML file with the published models")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = measure(cast(OdisePreset, load_any_preset(options.preset)))
    write("\n\n".join(table(results) for table in (stages_table, images_table, steps_table)))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
