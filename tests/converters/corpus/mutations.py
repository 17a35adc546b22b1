"""Good inputs of every kind, damaged by chance: a seed makes the same damage each time."""

import copy
import json
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from converters.encodings.bitmask import mask_to_data_url
from tests.converters.corpus.cases import CONFIG_XML, CONVERT, GOOD_TASK, MASK, VALIDATE, Case, region, task, text
from tests.converters.corpus.datasets import COCO, _png
from tests.converters.corpus.exports import png_bytes

SEEDS = range(40)
JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 255, 256, 0.5, -0.0, 10**30, 1e308, math.nan, math.inf, "", " ", "x", "1", "\ud800",
    "\0", "../x", "a" * 10_000, [], [[]], [None] * 50, list(range(300)), {}, {"id": 1}, {"a": {"b": {"c": []}}},
]  # fmt: skip

_EXPORT = [
    task(
        region(id="a"),
        region("bitmasklabels", {"imageDataURL": mask_to_data_url(MASK)}, id="b"),
        region("polygonlabels", {"points": [[10, 10], [90, 10], [50, 90]]}, id="c", score=0.5),
        region("rectanglelabels", {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 30}, id="d"),
        region("ellipselabels", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0}, id="e"),
        predictions=[{"id": 4, "score": 0.5, "model_version": "v1", "result": [region(id="a")]}],
    ),
    GOOD_TASK,
]
_PANOPTIC: dict[str, Any] = {
    **COCO,
    "annotations": [
        {"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 1, "category_id": 1, "score": 0.5}]}
    ],
}
_LABELS: dict[str, Any] = {
    "labels": [{"value": 0, "name": "background"}, {"value": 1, "name": "cat", "id": 3, "kind": "thing"}],
    "images": [{"file_name": "a.jpg", "mask": "a.png", "width": 36, "height": 24, "task_id": 1}],
}


def damaged_tree(tree: Any, rng: random.Random) -> Any:
    """Return JSON data with one to three of its parts replaced, removed or repeated."""
    damaged = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        inner = damaged
        while isinstance(inner, (dict, list)) and inner:
            key = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            if isinstance(inner[key], (dict, list)) and inner[key] and rng.random() < 0.8:
                inner = inner[key]
                continue
            _damage(inner, key, rng)
            break
    return damaged


def _damage(inner: Any, key: Any, rng: random.Random) -> None:
    kind = rng.random()
    if kind < 0.6:
        inner[key] = copy.deepcopy(rng.choice(JUNK))
    elif kind < 0.8:
        del inner[key]
    elif isinstance(inner, list):
        inner[key:key] = [inner[key]] * rng.choice([1, 2, 40])
    else:
        inner[rng.choice(["x", "id", "value", "size"])] = inner[key]


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with some flipped, removed, inserted or cut off."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(damaged)) if damaged else 0
        kind = rng.random()
        if kind < 0.5 and damaged:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            damaged[at : at + rng.randint(1, 20)] = b""
        elif kind < 0.9:
            damaged[at:at] = rng.randbytes(rng.randint(1, 20))
        else:
            damaged = damaged[:at]
    return bytes(damaged)


def cases() -> Iterator[Case]:
    """Yield them: each seed damages each kind of input once."""
    config = CONFIG_XML.encode()
    mask_png = _png(Image.fromarray(MASK.astype(np.uint8)))
    ids = np.zeros((*MASK.shape, 3), dtype=np.uint8)
    ids[MASK] = (1, 0, 0)
    panoptic_png = _png(Image.fromarray(ids))
    kinds = ("coco", "panoptic", "semantic-png", "yolo")
    for seed in SEEDS:
        rng = random.Random(seed)
        convert = CONVERT.format(kind=kinds[seed % 4])
        exports = {"tree": text(damaged_tree(_EXPORT, rng)), "bytes": damaged_bytes(text(_EXPORT), rng)}
        for how, export in exports.items():
            files = {"config.xml": config, "export.json": export}
            yield Case(f"damaged-export-{how}-{seed}", files, convert)
            yield Case(f"damaged-validate-{how}-{seed}", files, VALIDATE)
        files = {"config.xml": damaged_bytes(config, rng), "export.json": text(_EXPORT)}
        yield Case(f"damaged-config-{seed}", files, convert)
        coco = {"coco.json": text(damaged_tree(COCO, rng))}
        yield Case(f"damaged-coco-{seed}", coco, "import coco coco.json --out tasks.json")
        both = {**coco, "config.xml": config, "export.json": json.dumps(_EXPORT).encode()}
        yield Case(f"damaged-original-{seed}", both, CONVERT.format(kind="coco") + " --original coco.json")
        panoptic = {"panoptic.json": text(damaged_tree(_PANOPTIC, rng)), "panoptic/1.png": panoptic_png}
        yield Case(f"damaged-panoptic-{seed}", panoptic, "import panoptic panoptic.json --out tasks.json")
        pngs = {"panoptic.json": text(_PANOPTIC), "panoptic/1.png": damaged_bytes(panoptic_png, rng)}
        yield Case(f"damaged-panoptic-png-{seed}", pngs, "import panoptic panoptic.json --out tasks.json")
        semantic = {"labels.json": text(damaged_tree(_LABELS, rng)), "masks/a.png": damaged_bytes(mask_png, rng)}
        yield Case(f"damaged-semantic-{seed}", semantic, "import semantic-png . --out tasks.json")
        yolo = {
            "data.yaml": damaged_bytes(b'names:\n  0: "cat"\n  1: dog # two\n', rng),
            "labels/a.txt": damaged_bytes(b"0 0 0 0.5 0 0.5 0.5\n1 0.5 0.5 0.2 0.2 0.9\n", rng),
            "images/a.png": damaged_bytes(png_bytes("RGB"), rng),
        }
        yield Case(f"damaged-yolo-{seed}", yolo, "import yolo . --out tasks.json")
