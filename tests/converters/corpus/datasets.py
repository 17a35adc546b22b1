"""Broken datasets of other formats, by hand: COCO, panoptic, semantic PNGs, YOLO."""

import copy
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from converters.encodings.coco_rle import mask_to_coco_rle
from tests.converters.corpus.cases import DONE, FAILED, HEIGHT, LEFT_BEHIND, MASK, WIDTH, Case, text
from tests.converters.corpus.exports import bomb_png, png_bytes, text_bomb_png

Json = dict[str, Any]

RLE = mask_to_coco_rle(MASK)
COCO: Json = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        {"id": 2, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": RLE},
        {"id": 2, "image_id": 2, "category_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]]},
    ],
}

_UNREADABLE = "left out, unreadable annotation: 1"
_FAR = [[0 if i % 4 < 2 else 20 for i in range(1_000_000)]]
SEGMENTATIONS: dict[str, Any] = {
    "null": None,
    "number": 5,
    "string": "PPYo1g0",
    "empty-list": [],
    "empty-object": {},
    "empty-polygon": [[]],
    "two-points": [[1, 1, 2, 2]],
    "odd": [[1, 1, 2, 2, 3, 3, 4]],
    "strings": [["1", "1", "2", "2", "3", "3"]],
    "pairs": [[[1, 1], [2, 2], [3, 3]]],
    "nan": [[math.nan, 1, 2, 2, 3, 3]],
    "infinite": [[math.inf, 1, 2, 2, 3, 3]],
    "far-away": [[1e9, 1, 2, 2, 3, 3]],
    "huge-number": [[10**400, 1, 2, 2, 3, 3]],
    "endless-outline": _FAR,
    "counts-missing": {"size": [HEIGHT, WIDTH]},
    "counts-null": {"size": [HEIGHT, WIDTH], "counts": None},
    "counts-empty": {"size": [HEIGHT, WIDTH], "counts": ""},
    "counts-no-ascii": {"size": [HEIGHT, WIDTH], "counts": "é"},
    "counts-control": {"size": [HEIGHT, WIDTH], "counts": "\0\1\2"},
    "counts-cut-short": {"size": [HEIGHT, WIDTH], "counts": RLE["counts"][:-1]},
    "counts-too-many": {"size": [HEIGHT, WIDTH], "counts": RLE["counts"] * 2},
    "counts-long-digits": {"size": [HEIGHT, WIDTH], "counts": "o" * 5000 + "0"},
    "counts-negative": {"size": [HEIGHT, WIDTH], "counts": [-5, 869]},
    "counts-floats": {"size": [HEIGHT, WIDTH], "counts": [864.0]},
    "counts-huge": {"size": [HEIGHT, WIDTH], "counts": [10**40]},
    "counts-nested": {"size": [HEIGHT, WIDTH], "counts": [[864]]},
    "size-missing": {"counts": RLE["counts"]},
    "size-swapped": {"size": [WIDTH, HEIGHT], "counts": RLE["counts"]},
    "size-huge": {"size": [10**6, 10**6], "counts": RLE["counts"]},
    "size-of-three": {"size": [HEIGHT, WIDTH, 3], "counts": RLE["counts"]},
    "size-strings": {"size": [str(HEIGHT), str(WIDTH)], "counts": RLE["counts"]},
    "size-null": {"size": None, "counts": RLE["counts"]},
}

_ORPHAN = "left out, annotation of an image that the file does not list: 1"
_BOTH = "regions: 2 read, 2 entries written"

ODD_ANNOTATIONS: dict[str, tuple[Json, tuple[int, ...], str]] = {
    "image-unknown": ({"image_id": 9}, (LEFT_BEHIND,), _ORPHAN),
    "image-missing": ({"image_id": None}, (LEFT_BEHIND,), _ORPHAN),
    "image-string": ({"image_id": "1"}, (DONE,), _BOTH),
    "image-real": ({"image_id": 1.0}, (DONE,), _BOTH),
    "image-fraction": ({"image_id": 1.5}, (LEFT_BEHIND,), _ORPHAN),
    "image-list": ({"image_id": [1]}, (LEFT_BEHIND,), _ORPHAN),
    "image-boolean": ({"image_id": True}, (LEFT_BEHIND,), _ORPHAN),
    "category-unknown": ({"category_id": 9}, (LEFT_BEHIND,), _UNREADABLE),
    "category-null": ({"category_id": None}, (LEFT_BEHIND,), _UNREADABLE),
    "category-list": ({"category_id": [1]}, (LEFT_BEHIND,), _UNREADABLE),
    "id-null": ({"id": None}, (DONE,), "regions: 2 read, 2 entries written"),
    "id-twice": ({"id": 2}, (DONE,), "regions: 2 read, 2 entries written"),
    "id-object": ({"id": {}}, (DONE,), "regions: 2 read, 2 entries written"),
    "score-string": ({"score": "0.5"}, (DONE,), "regions: 2 read, 2 entries written"),
    "score-nan": ({"score": math.nan}, (LEFT_BEHIND,), "left out, score that is no number: 1"),
    "origin-list": ({"origin": [1]}, (DONE,), "regions: 2 read, 2 entries written"),
    "crowd-string": ({"iscrowd": "yes"}, (DONE,), "regions: 2 read, 2 entries written"),
}

_UNSIZED = "left out, image of unknown size: 1"

ODD_IMAGES: dict[str, tuple[Json, tuple[int, ...], str]] = {
    "id-null": ({"id": None}, (LEFT_BEHIND,), "left out, image without an id: 1"),
    "id-string": ({"id": "1"}, (DONE,), _BOTH),
    "id-twice": ({"id": 2}, (LEFT_BEHIND,), "left out, image with the id of another: 1"),
    "width-zero": ({"width": 0}, (LEFT_BEHIND,), _UNSIZED),
    "width-negative": ({"width": -1}, (LEFT_BEHIND,), _UNSIZED),
    "width-real": ({"width": 36.0}, (DONE,), _BOTH),
    "width-fraction": ({"width": 36.5}, (LEFT_BEHIND,), _UNSIZED),
    "width-huge": ({"width": 10**12}, (LEFT_BEHIND,), "left out, image that is too large: 1"),
    "width-missing": ({"width": None}, (LEFT_BEHIND,), _UNSIZED),
    "name-missing": ({"file_name": None}, (LEFT_BEHIND,), "left out, image without a file name: 1"),
    "name-number": ({"file_name": 5}, (LEFT_BEHIND,), "left out, image without a file name: 1"),
    "name-empty": ({"file_name": ""}, (LEFT_BEHIND,), "left out, image without a file name: 1"),
    "task-list": ({"task_id": [1]}, (DONE,), "images: 2 read, 2 written"),
}

_NAMELESS = "category without a name that a label can have: "

ODD_CATEGORIES: dict[str, tuple[list[Any], str]] = {
    "name-missing": ([{"id": 1}], _NAMELESS),
    "name-number": ([{"id": 1, "name": 5}], _NAMELESS),
    "name-twice": (
        [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}],
        "joined with another of the same name: 1",
    ),
    "id-twice": ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "left out, category with the id of another: 1"),
    "id-string": ([{"id": "1", "name": "a"}], "regions: 1 read"),
    "id-word": ([{"id": "x", "name": "a"}], "category without a whole number as its id: "),
    "id-negative": ([{"id": -1, "name": "a"}], "category without a whole number as its id: "),
    "none": ([], "expected"),
    "name-control": ([{"id": 1, "name": "a\0b"}, {"id": 2, "name": "b"}], f"left out, {_NAMELESS}1"),
    "name-surrogate": ([{"id": 1, "name": "\ud800"}, {"id": 2, "name": "b"}], f"left out, {_NAMELESS}1"),
}

COCO_FILES: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "number": b"5",
    "half": text(COCO)[:-30],
    "latin-1": json.dumps({"images": ["é"]}, ensure_ascii=False).encode("latin-1"),
    "deep": b'{"images": ' + b"[" * 100_000,
    "random": np.random.default_rng(4).bytes(5000),
    "huge-number": b'{"images": [' + b"9" * 5000 + b"]}",
    **{f"{key}-{name}": text({**COCO, key: value}) for key in COCO for name, value in (
        ("null", None), ("object", {}), ("string", "x"), ("numbers", [1, 2]), ("nested", [[]]),
    )},
}  # fmt: skip


def coco_cases() -> Iterator[Case]:
    """Yield broken COCO files, imported."""
    command = "import coco coco.json --out tasks.json --label-config-out config.xml"

    def changed(key: str, change: Json) -> bytes:
        dataset = copy.deepcopy(COCO)
        dataset[key][0] |= change
        return text(dataset)

    for name, segmentation in SEGMENTATIONS.items():
        files = {"coco.json": changed("annotations", {"segmentation": segmentation})}
        yield Case(f"coco-segmentation-{name}", files, command, (LEFT_BEHIND,), _UNREADABLE)
    for key, odd in (("annotations", ODD_ANNOTATIONS), ("images", ODD_IMAGES)):
        for name, (change, statuses, said) in odd.items():
            yield Case(f"coco-{key}-{name}", {"coco.json": changed(key, change)}, command, statuses, said)
    for name, (categories, said) in ODD_CATEGORIES.items():
        files = {"coco.json": text({**COCO, "categories": categories})}
        yield Case(f"coco-category-{name}", files, command, (FAILED, LEFT_BEHIND, DONE), said)
    for name, content in COCO_FILES.items():
        yield Case(f"coco-file-{name}", {"coco.json": content}, command, (FAILED,), "expected")


# ---------------------------------------------------------------- PNGs


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


_NOISE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
BROKEN_PNGS: dict[str, bytes] = {
    "empty": b"",
    "text": b"no picture",
    "half": _png(_NOISE)[:200],
    "gif": b"GIF89a" + bytes(50),
    "alpha": png_bytes("RGBA"),
    "grey-and-alpha": png_bytes("LA"),
    "sixteen-bits": _png(Image.new("I;16", (WIDTH, HEIGHT))),
    "bomb": bomb_png(60_000, 60_000),
    "small-bomb": bomb_png(20_000, 6_000),
    "text-bomb": text_bomb_png(),
    "endless-chunk": _png(_NOISE)[:33] + b"\x7f\xff\xff\xff" + _png(_NOISE)[37:],
    "damaged": _png(_NOISE)[:60] + b"\xff" * 20 + _png(_NOISE)[80:],
}
RGB_ONLY: dict[str, bytes] = {
    "grey": png_bytes("L"),
    "of-another-size": png_bytes("RGB", (9, 9)),
    "palette": png_bytes("P"),
}


def panoptic_cases() -> Iterator[Case]:
    """Yield broken panoptic datasets, imported; the second image is good."""
    ids = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    ids[MASK] = (1, 0, 0)
    good = _png(Image.fromarray(ids))
    segments = [{"id": 1, "category_id": 1}]
    annotations = [{"image_id": n, "file_name": f"{n}.png", "segments_info": segments} for n in (1, 2)]
    base = {**COCO, "annotations": annotations}
    command = "import panoptic panoptic.json --out tasks.json"

    def case(name: str, annotation: Json, statuses: tuple[int, ...], said: str, png: bytes = good) -> Case:
        dataset = {**base, "annotations": [{**annotations[0], **annotation}, annotations[1]]}
        files = {"panoptic.json": text(dataset), "panoptic/1.png": png, "panoptic/2.png": good}
        return Case(f"panoptic-{name}", files, command, statuses, said)

    for name, png in (BROKEN_PNGS | RGB_ONLY).items():
        yield case(f"png-{name}", {}, (LEFT_BEHIND,), _UNREADABLE, png)
    yield case("noise", {}, (LEFT_BEHIND,), "left out, pixels of a segment that the JSON does not list", _png(_NOISE))
    for name, file_name in (
        ("out", "../secret.png"),
        ("absolute", "/etc/passwd"),
        ("null", None),
        ("surrogate", "\ud800"),
    ):
        yield case(f"name-{name}", {"file_name": file_name}, (LEFT_BEHIND,), _UNREADABLE)
    for name, odd in (("null", None), ("object", {}), ("string", "x")):
        yield case(f"segments-{name}", {"segments_info": odd}, (LEFT_BEHIND,), _UNREADABLE)
    for name, segment in (("number", 5), ("id-null", {}), ("id-huge", {"id": 1 << 40}), ("id-list", {"id": [1]})):
        yield case(f"segment-{name}", {"segments_info": [*segments, segment]}, (LEFT_BEHIND,), "unreadable segment: 1")
    many = [{"id": n, "category_id": 1} for n in range(1, 100_001)]
    yield case("segments-100000", {"segments_info": many}, (LEFT_BEHIND,), "without a pixel, or listed twice: 99999")
    yield case("image-twice", {"image_id": 2}, (LEFT_BEHIND,), "left out, another annotation of the same image: 1")


def semantic_cases() -> Iterator[Case]:
    """Yield broken semantic PNGs, imported; the second image is good."""
    good = _png(Image.fromarray(MASK.astype(np.uint8)))
    labels = [{"value": 1, "name": "cat"}]
    command = "import semantic-png . --out tasks.json"
    rgb = png_bytes("RGB")
    usable = ("grey-and-alpha", "sixteen-bits")
    for name in usable:
        files = {"labels.json": text({"labels": labels}), "masks/a.png": BROKEN_PNGS[name], "masks/b.png": good}
        yield Case(f"semantic-png-{name}", files, command, (DONE, LEFT_BEHIND), "images: 2 read, 2 written")
    for name, png in ({"rgb": rgb} | BROKEN_PNGS).items():
        if name in usable:
            continue
        files = {"labels.json": text({"labels": labels}), "masks/a.png": png, "masks/b.png": good}
        yield Case(f"semantic-png-{name}", files, command, (LEFT_BEHIND,), "left out, unreadable mask: 1")
    contents: dict[str, Any] = {
        "list": [],
        "number": 5,
        "labels-null": {"labels": None},
        "labels-numbers": {"labels": [1]},
        "value-huge": {"labels": [{"value": 65536, "name": "a"}]},
        "value-string": {"labels": [{"value": "1", "name": "a"}]},
        "name-null": {"labels": [{"value": 1}]},
        "no-categories": {"labels": [{"value": 0, "name": "a"}]},
        "id-string": {"labels": [{"value": 1, "name": "a", "id": "x"}]},
        "images-numbers": {"labels": labels, "images": [1]},
        "images-nameless": {"labels": labels, "images": [{"mask": "b.png"}]},
    }
    for name, content in contents.items():
        yield Case(f"semantic-labels-{name}", {"labels.json": text(content), "masks/b.png": good}, command, (FAILED,))
    raw = {"empty": b"", "half": b'{"labels": [', "latin-1": b'{"labels": "\xe9"}', "deep": b"[" * 100_000}
    for name, bytes_ in raw.items():
        yield Case(f"semantic-labels-{name}", {"labels.json": bytes_, "masks/b.png": good}, command, (FAILED,))
    for name, mask in (("out", "../labels.json"), ("absolute", "/etc/passwd"), ("missing", "none.png"), ("nul", "a\0")):
        images = [{"file_name": "a.png", "mask": mask}, {"file_name": "b.png", "mask": "b.png"}]
        files = {"labels.json": text({"labels": labels, "images": images}), "masks/b.png": good}
        yield Case(f"semantic-mask-{name}", files, command, (LEFT_BEHIND,), "left out, unreadable mask: 1")
    yield Case(
        "semantic-no-masks", {"labels.json": text({"labels": labels})}, command, (FAILED,), "expected label PNGs"
    )


# ---------------------------------------------------------------- YOLO

LINES: dict[str, str] = {
    "word": "cat 0 0 1 0 1 1",
    "class-fraction": "0.5 0 0 1 0 1 1",
    "class-negative": "-1 0 0 1 0 1 1",
    "class-unknown": "7 0 0 1 0 1 1",
    "class-huge": "9" * 5000 + " 0 0 1 0 1 1",
    "alone": "0",
    "two-values": "0 0.1 0.2",
    "pixels": "0 10 10 300 10 300 200",
    "percent": "0 10 10 90 10 90 90",
    "nan": "0 0 0 1 0 1 nan",
    "infinite": "0 0 0 1 0 1 inf",
    "overflow": "0 0 0 1 0 1 1e999",
    "commas": "0,0,0,1,0,1,1",
    "hexadecimal": "0 0x1 0 1 0 1 1",
    "score-huge": "0 0 0 1 0 1 1 7",
    "a-line": "0 0 0 0.5 0.5 1 1",
    "binary": "\x00\x01\x02",
    "other-digits": "٠ ٠ ٠ ١ ٠ ١ x",
}

YAMLS: dict[str, bytes] = {
    "empty": b"",
    "no-names": b"train: images\n",
    "names-empty": b"names:\n",
    "names-text": b"names: cat\n",
    "names-unnumbered": b"names: {cat: 0}\n",
    "number-twice": b"names:\n  0: cat\n  0: dog\n",
    "nested": b"names: [[cat]]\n",
    "alias": b"names:\n  - &a [cat]\n  - *a\n",
    "laughs": b"a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]\n",
    "tag": b"names: !!python/object/apply:os.system ['true']\n",
    "latin-1": "names: [é]\n".encode("latin-1"),
    "utf-16": "names: [cat]\n".encode("utf-16"),
    "random": np.random.default_rng(6).bytes(3000),
    "endless-quote": b'names:\n  0: "cat\n',
    "spaces": b"names: [" + b" " * 500_000 + b"x" + b" " * 400_000 + b"[]",
    "too-large": b"#" * 2_000_000,
    "huge-number": b"names:\n  " + b"9" * 5000 + b": cat\n",
}


def yolo_cases() -> Iterator[Case]:
    """Yield broken YOLO datasets, imported; the last line, or the second image, is good."""
    picture = png_bytes("RGB")
    good = "0 0 0 0.5 0 0.5 0.5\n"
    command = "import yolo . --out tasks.json"

    def case(name: str, change: dict[str, bytes], statuses: tuple[int, ...], said: str) -> Case:
        base = {"data.yaml": b"names: [cat]\n", "labels/a.txt": good.encode(), "images/a.png": picture}
        return Case(f"yolo-{name}", {**base, **change}, command, statuses, said)

    for name, line in LINES.items():
        content = f"{line}\n{good}".encode()
        yield case(f"line-{name}", {"labels/a.txt": content}, (LEFT_BEHIND,), "left out, unreadable line: 1")
    for name, content in YAMLS.items():
        yield case(f"yaml-{name}", {"data.yaml": content}, (FAILED,), "data.yaml")
    extra = {"labels/b.txt": good.encode()}
    yield case("image-without-labels", {"images/b.png": picture}, (DONE,), "images without a label file, read as")
    unknown = "left out, image that is not there: its size is unknown: 1"
    yield case("image-missing", extra, (LEFT_BEHIND,), unknown)
    for name, png in (("text", b"no picture"), ("empty", b""), ("bomb", bomb_png(60_000, 60_000))):
        yield case(f"image-{name}", {**extra, "images/b.png": png}, (LEFT_BEHIND,), "left out, ")
    endless = " ".join(["0", *["0.1 0.9"] * 500_000]).encode()
    yield case("line-endless", {"labels/a.txt": endless}, (DONE, LEFT_BEHIND), "images: 1 read")
    zigzag = " ".join(["0", *(f"{i / 400_000:.6f} {i % 2}" for i in range(400_000))]).encode()
    yield case("line-zigzag", {"labels/a.txt": zigzag}, (DONE, LEFT_BEHIND), "images: 1 read")
    for name, content in (("latin-1", b"0 \xe9"), ("utf-16", good.encode("utf-16")), ("large", bytes((1 << 26) + 1))):
        yield case(f"labels-{name}", {**extra, "labels/a.txt": content}, (LEFT_BEHIND, FAILED), "left out, ")
    yield Case("yolo-no-labels", {"data.yaml": b"names: [cat]\n"}, command, (FAILED,), "got 0 label files and no image")


def cases() -> Iterator[Case]:
    """Yield all of them."""
    makers: tuple[Callable[[], Iterator[Case]], ...] = (coco_cases, panoptic_cases, semantic_cases, yolo_cases)
    for maker in makers:
        yield from maker()
