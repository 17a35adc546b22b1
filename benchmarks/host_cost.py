"""What a core does beside the device, and what the embedded models cost: seconds of one thread of this machine.

    OMP_NUM_THREADS=1 python -m benchmarks.host_cost --out benchmarks/results/host_cost.json

A minute. Processor seconds, so other work on the machine lengthens them little. The photograph is a drawn texture of
640 x 480 px whose JPEG is as large as a photograph of COCO; its masks are five regions with ragged borders.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from backend.sources.images import decode_image
from benchmarks.cost_seconds import machine
from benchmarks.spreads import write_results
from converters.encodings.coco_rle import label_map_to_coco_rles
from ovdiff import Bank, Category, Engine, Vocabulary, load_preset
from ovdiff.presets.needs import proposal_settings
from ovdiff.presets.part_settings import MaskCutSettings
from ovdiff.proposals.maskcut import cut_masks, refine_mask
from ovdiff.tinyworld import weights_dir
from ovdiff.tinyworld.world import THINGS, render, sample_scene

SIZE_HW = (480, 640)
MASKS = 5
_JPEG_BYTES = 153_000


def texture(size_hw: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Return an (H, W, 3) uint8 picture whose detail falls off as that of photographs does."""
    random = np.random.default_rng(seed)
    mixed = np.full((*size_hw, 3), 128.0)
    for step, weight in ((64, 60), (16, 30), (4, 15), (1, 6)):
        coarse = random.standard_normal((size_hw[0] // step + 2, size_hw[1] // step + 2, 3))
        mixed += weight * ndimage.zoom(coarse, (step, step, 1), order=1)[: size_hw[0], : size_hw[1]]
    return np.clip(mixed, 0, 255).astype(np.uint8)


def photograph() -> bytes:
    """Return a JPEG of about as many bytes as a photograph of COCO has."""
    picture = Image.fromarray(texture(SIZE_HW))
    tried = []
    for quality in range(60, 100, 3):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        tried.append(file.getvalue())
    return min(tried, key=lambda data: abs(len(data) - _JPEG_BYTES))


def label_map() -> NDArray[np.int32]:
    """Return an (H, W) int32 label map of ragged regions: 0 is background, 1 to MASKS are words."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((MASKS + 1, *SIZE_HW)), (0, 12, 12))
    return smooth.argmax(axis=0).astype(np.int32)


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median processor seconds of a call, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times[1:])


def cuts_seconds() -> float:
    """Return what MaskCut does on a core for a support image of the preset `fast`: cuts of DINO's keys, refinement."""
    settings = proposal_settings(load_preset("fast"), MaskCutSettings)
    side = settings.input_px // 8
    picture = texture((settings.input_px, settings.input_px))
    # keys that are alike where the picture is: random directions of its smoothed colours
    small = ndimage.zoom(
        picture.astype(np.float32) / 255 - 0.5, (side / settings.input_px, side / settings.input_px, 1)
    )
    keys = (small @ np.random.default_rng(2).standard_normal((3, 768))).astype(np.float32)

    def cut() -> None:
        for mask in cut_masks(keys, settings):
            large = np.array(Image.fromarray(mask).resize((settings.input_px,) * 2, Image.Resampling.NEAREST))
            refine_mask(picture, large, settings)

    return seconds(cut, 1)


def tinyworld() -> tuple[dict[str, float], dict[str, float]]:
    """Return the seconds and the bytes of a category and an image with the embedded models."""
    preset = load_preset("tinyworld")
    vocabulary = Vocabulary(tuple(Category(name, kind="thing") for name in THINGS[:3]))
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(preset, Bank(Path(folder)))
        engine.build(Category("tree", prompts=("green tree",)))  # loads the models
        builds = [_once(engine, category) for category in vocabulary.categories]
        for anchor in preset.anchors.prototypes:
            engine.build(anchor)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        images = [render(sample_scene(index, "test", 3), 320).image for index in range(6)]
        encode_s, label_s, kept = [], [], 0
        for image in images:
            begun = time.process_time()
            encoded = engine.encode(image)
            between = time.process_time()
            engine.label(encoded, vocabulary)
            encode_s.append(between - begun)
            label_s.append(time.process_time() - between)
            kept = encoded.size_bytes()
    built = len(vocabulary.categories) + len(preset.anchors.prototypes) + 1
    found = {
        "a category, whole": statistics.median(builds),
        "encoding an image": statistics.median(encode_s[1:]),
        "labelling an image": statistics.median(label_s[1:]),
    }
    weights = sum(file.stat().st_size for file in weights_dir().rglob("*.safetensors"))
    none = {"device_category": 0.0, "device_image": 0.0, "host_cache": preset.cache.features_mib * 2.0**20}
    return found, {"weights": weights, "encoding": kept, "category": size / built, "masks": 0.0, **none}


def _once(engine: Engine, category: Category) -> float:
    begun = time.process_time()
    engine.build(category)
    return time.process_time() - begun


def measure() -> dict[str, Any]:
    """Return all figures."""
    data, labels = photograph(), label_map()
    masks = label_map_to_coco_rles(labels)
    a_mask = sum(len(rle["counts"]) for rle in masks.values()) / len(masks)
    seconds_of, bytes_of = tinyworld()
    return {
        "device": f"cpu: {machine('cpu')}",
        "protocol": {"size_hw": SIZE_HW, "jpeg_bytes": len(data), "masks": len(masks)},
        "bytes of a mask": a_mask,
        "seconds": {
            "reading an image": seconds(lambda: decode_image(data, max_px=SIZE_HW[0] * SIZE_HW[1])),
            "encoding masks": seconds(lambda: label_map_to_coco_rles(labels)),
            "MaskCut's cuts": cuts_seconds(),
        },
        "tinyworld seconds": seconds_of,
        "tinyworld bytes": {**bytes_of, "masks": a_mask},
    }


def main() -> None:
    """Measure and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    write_results(options.out, measure())


if __name__ == "__main__":
    main()
