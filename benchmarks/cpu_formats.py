"""Number formats on one CPU: processor seconds of `fast`'s encoders, and whether the masks stay the same.

    OMP_NUM_THREADS=1 python -m benchmarks.cpu_formats --out benchmarks/results/cpu_formats.json   # 8 minutes, 4 GB

Two parts, each of which ``--parts`` can pick; the other's results are kept in the file that ``--out`` names:

- ``seconds``: DINOv2 ViT-B/14 and CLIP ViT-B/16 of `fast`, with random weights, on one window each, in every format and
  by OpenVINO where that is installed. All formats run by turns, and the least of some rounds counts. The cosine with
  float32's tokens says how far the features are off.
- ``masks``: the embedded models, which are trained, in every format of torch on drawn scenes: how many pixels have the
  label that they have in float32, and the mIoU on the truth. Prototypes are the same for all of them.

Processor seconds are those of all threads together; other work on the machine lengthens them little.
"""

import argparse
import importlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from benchmarks import architectures
from benchmarks.cost_seconds import machine
from benchmarks.drawn_world import BANK, EVERYTHING, Bench, encode_scenes, vary
from benchmarks.spreads import markdown_table, write_results
from converters.metrics.confusion import confusion_matrix, mean_iou
from ovdiff import Bank, Engine, load_preset
from ovdiff.models.clip import Clip
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets.model_settings import ClipModelSettings, DiffusionModelSettings

PARTS = ("seconds", "masks")
FORMATS = ("float32", "float16", "bfloat16", "int8")
OPENVINO = {"OpenVINO, float32": "f32", "OpenVINO, bfloat16": "bf16"}
"""Formats that OpenVINO computes in, by its own names."""

ENCODERS = {"DINOv2 ViT-B/14": 518, "CLIP ViT-B/16": 448}
"""The encoders of `fast`, and the side of a window in px."""

THREADS = (1, 2)
ROUNDS, SCENES, SEED = 3, 60, 42
Results = dict[str, Any]
Run = Callable[[], Tensor]


class Int8Linear(nn.Linear):
    """A linear layer that computes in int8, by torch's dynamic quantisation.

    Libraries read the dtype of weights, which torch's own layer does not have; so the weights stay here, unused.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Quantise the weights of a layer, and keep them."""
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        only = nn.Sequential(nn.Linear(1, 1))
        only[0] = linear.float()
        self.quantised = torch.ao.quantization.quantize_dynamic(only, {nn.Linear}, dtype=torch.qint8)

    def forward(self, given: Tensor) -> Tensor:
        """Return what the layer makes of (..., D) float32."""
        made: Tensor = self.quantised(given.float())
        return made


def in_format(model: nn.Module, form: str) -> nn.Module:
    """Return a model in another number format, changed in place; int8 has linear layers of int8, float32 elsewhere."""
    if form != "int8":
        return model.to(getattr(torch, form))
    for parent in list(model.float().modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))
    return model


# ---------------------------------------------------------------- seconds


class _Tokens(nn.Module):
    """An encoder of `fast`, which returns a tensor alone, as OpenVINO's converter wants it."""

    def __init__(self, name: str, shrink: int) -> None:
        super().__init__()
        self.is_clip = name.startswith("CLIP")
        if self.is_clip:
            config = architectures.OPEN_CLIP_B16
            vision = {**config["vision_cfg"], "image_size": ENCODERS[name]}
            model = architectures.build_open_clip(shrink=shrink, config={**config, "vision_cfg": vision})
            model.visual.output_tokens = True
            self.model = model.visual.eval()
        else:
            self.model = architectures.build_dinov2(shrink=shrink).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        made: Tensor = self.model(pixels)[1] if self.is_clip else self.model(pixels).last_hidden_state
        return made


def seconds_rows(shrink: int = 1, rounds: int = ROUNDS) -> list[Results]:
    """Time each encoder in each format, on one and two threads, and compare its tokens with those of float32."""
    rows = []
    for name, side in ENCODERS.items():
        torch.manual_seed(0)
        weights = _Tokens(name, shrink).state_dict()
        pixels = torch.randn(1, 3, side, side)

        def encoder(form: str, name: str = name, weights: Any = weights) -> nn.Module:
            model = _Tokens(name, shrink).eval()
            model.load_state_dict(weights)
            return in_format(model, form)

        for threads in THREADS:
            runs = {form: _of_torch(encoder(form), form, pixels) for form in FORMATS}
            runs.update(_of_openvino(encoder("float32"), pixels, threads) if find_spec("openvino") else {})
            rows += [{"encoder": name, "threads": threads, **row} for row in _by_turns(runs, threads, rounds)]
    return rows


def _of_torch(model: nn.Module, form: str, pixels: Tensor) -> Run:
    given = pixels if form == "int8" else pixels.to(getattr(torch, form))
    return lambda: model(given)


def _of_openvino(model: nn.Module, pixels: Tensor, threads: int) -> dict[str, Run]:
    """Return what runs a model by OpenVINO in each of its formats."""
    openvino = importlib.import_module("openvino")
    with torch.no_grad():
        converted = openvino.convert_model(model, example_input=pixels, input=list(pixels.shape))
    runs: dict[str, Run] = {}
    for form, hint in OPENVINO.items():
        how = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": 1}
        compiled = openvino.Core().compile_model(converted, "CPU", how)
        runs[form] = lambda compiled=compiled: torch.from_numpy(compiled(pixels.numpy())[0])
    return runs


def _by_turns(runs: dict[str, Run], threads: int, rounds: int) -> list[Results]:
    """Return the least processor and wall seconds of each run, and its cosine with the first."""
    found: dict[str, list[tuple[float, float]]] = {form: [] for form in runs}
    tokens: dict[str, Tensor] = {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            for _ in range(rounds):
                for form, run in runs.items():
                    begun = time.process_time(), time.perf_counter()
                    tokens[form] = run().float()
                    found[form].append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    finally:
        torch.set_num_threads(before)
    first = next(iter(tokens.values()))
    return [
        {
            "format": form,
            "processor_s": min(each[0] for each in times),
            "wall_s": min(each[1] for each in times),
            "cosine": float(F.cosine_similarity(tokens[form], first, dim=-1).mean()),
        }
        for form, times in found.items()
    ]


# ---------------------------------------------------------------- masks


class InFormat(LoadedModels):
    """Loads models in float32, and computes with them in another format; recipes do not learn of it."""

    def __init__(self, form: str) -> None:
        """Load nothing yet."""
        super().__init__()
        self._form = form
        self._changed: dict[str, Any] = {}

    def diffusion(self, settings: DiffusionModelSettings) -> StableDiffusionPipeline:
        """Return a pipeline whose VAE and UNet compute in the format."""
        if "diffusion" not in self._changed:
            pipeline = super().diffusion(replace(settings, dtype="float32", vae_dtype="float32"))
            for part in (pipeline.unet, pipeline.vae):
                in_format(part, self._form)
            pipeline.text_encoder.to(pipeline.unet.dtype)
            self._changed["diffusion"] = pipeline
        found: StableDiffusionPipeline = self._changed["diffusion"]
        return found

    def clip(self, settings: ClipModelSettings) -> Clip:
        """Return a CLIP whose image tower computes in the format."""
        if "clip" not in self._changed:
            clip: Any = super().clip(replace(settings, dtype="float32"))
            for part in (clip._model.vision_model, clip._model.visual_projection):
                in_format(part, self._form)
            self._changed["clip"] = clip
        found: Clip = self._changed["clip"]
        return found


def masks_rows(scenes: int, bank: Path, seed: int = SEED) -> list[Results]:
    """Return how many pixels of drawn scenes have the same label in each format, and the mIoU."""
    preset = vary(load_preset("tinyworld"), cache={"disk_mib": 0}, generation={"seed": seed})
    Bench(preset, seed, bank)
    first: list[Any] = []
    rows = []
    for form in FORMATS:
        engine = Engine(preset, Bank(bank), models=InFormat(form))
        drawn = encode_scenes(engine, "test", range(scenes))
        found = [engine.label(encoded, EVERYTHING).label_map for encoded in drawn.encoded]
        first = first or found
        truths, count = drawn.truths(EVERYTHING), len(EVERYTHING.categories)
        total = sum(confusion_matrix(truth, made, count) for truth, made in zip(truths, found, strict=True))
        same = [float(np.mean(made == before)) for made, before in zip(found, first, strict=True)]
        miou = mean_iou(total)  # type: ignore[arg-type]
        rows.append({"format": form, "same": float(np.mean(same)), "least_same": min(same), "miou": miou})
    return rows


# ---------------------------------------------------------------- tables


def seconds_table(results: Any) -> str:
    """Return the seconds of a window in each format as Markdown."""
    said, rows = results["seconds"], []
    for encoder in dict.fromkeys(row["encoder"] for row in said["rows"]):
        of_encoder = [row for row in said["rows"] if row["encoder"] == encoder]
        for form in dict.fromkeys(row["format"] for row in of_encoder):
            by_threads = {row["threads"]: row for row in of_encoder if row["format"] == form}
            seconds = [f"{by_threads[threads]['processor_s']:.2f}" for threads in THREADS]
            rows.append([f"{encoder}, {form}", *seconds, f"{by_threads[1]['cosine']:.4f}"])
    names = [f"{encoder} at {side} px" for encoder, side in ENCODERS.items()]
    text = (
        f"*Processor seconds of all threads, the least of {said['rounds']} rounds by turns: {' and '.join(names)}, "
        "with random weights. The cosine is the mean over tokens, with float32's. "
        f"{said['machine']}. The load average of the two cores was {said['load_average']:.1f}.*"
    )
    head = ["a window of `fast`", "processor s, 1 thread", "2 threads", "cosine"]
    return f"{markdown_table(head, rows)}\n\n{text}"


def masks_table(results: Any) -> str:
    """Return the agreement of masks as Markdown."""
    said = results["masks"]
    rows = [
        [row["format"], f"{row['same']:.2%}", f"{row['least_same']:.2%}", f"{row['miou']:.3f}"] for row in said["rows"]
    ]
    text = (
        f"*{said['scenes']} usual scenes of the split `test`, 19 words, generation seed {said['seed']}; the embedded "
        "Stable Diffusion and CLIP compute in the format, prototypes are those of the preset.*"
    )
    head = ["features in", "pixels as in float32", "in the worst scene", "mIoU"]
    return f"{markdown_table(head, rows)}\n\n{text}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--shrink", type=int, default=1, help="divide widths by it, to try the command")
    parser.add_argument("--bank", type=Path, default=BANK, help="where prototypes are kept")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    if "seconds" in options.parts:
        rows = seconds_rows(options.shrink, options.rounds)
        about = {"machine": machine("cpu"), "load_average": os.getloadavg()[0], "rounds": options.rounds}
        results["seconds"] = {"rows": rows, **about}
    if "masks" in options.parts:
        rows = masks_rows(options.scenes, options.bank)
        results["masks"] = {"rows": rows, "scenes": options.scenes, "seed": SEED}
    write_results(options.out, results)


if __name__ == "__main__":
    main()
