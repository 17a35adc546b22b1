"""Broken Label Studio exports and label configs, by hand: each has a good task beside it that must survive."""

import base64
import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from converters.encodings.brush import mask_to_brush_rle
from tests.converters.corpus.cases import (
    CONFIG_XML,
    CONVERT,
    DONE,
    FAILED,
    GOOD_TASK,
    HEIGHT,
    LEFT_BEHIND,
    MASK,
    VALIDATE,
    WIDTH,
    Case,
    region,
    task,
    text,
)

RLE = mask_to_brush_rle(MASK)
UNREADABLE = "left out, unreadable region: 1"
NOTHING = "left out, region without a pixel: 1"


def png_bytes(mode: str, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> bytes:
    """Return a PNG of one colour."""
    data = io.BytesIO()
    Image.new(mode, size, 1).save(data, "PNG", **options)
    return data.getvalue()


def bomb_png(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that announces any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    )


def text_bomb_png() -> bytes:
    """Return a good PNG with a comment of a few bytes that unpacks to 100 MB."""
    good = png_bytes("RGBA")
    comment = b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)
    chunk = b"zTXt" + comment
    return good[:33] + struct.pack(">I", len(comment)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + good[33:]


def url(png: bytes) -> str:
    """Return a PNG as a bitmask's data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def stream(count: int, bits: str) -> list[int]:
    """Return a brush stream that announces `count` values and goes on with these bits."""
    padded = f"{count:032b}" + bits
    padded += "0" * (-len(padded) % 8)
    return [int(padded[i : i + 8], 2) for i in range(0, len(padded), 8)]


VALUES = WIDTH * HEIGHT * 4
SIZES = "00111" + "0010" + "0011" + "0111" + "1111"  # words of 8 bits; lengths of 3, 4, 8, 16

BRUSHES: dict[str, Any] = {
    "empty": [],
    "three-bytes": [0, 0, 13],
    "header-only": RLE[:7],
    "half": RLE[: len(RLE) // 2],
    "last-byte-missing": RLE[:-2],
    "announces-4-gib": [255] * 4 + RLE[4:],
    "announces-nothing": [0] * 4 + RLE[4:],
    "of-another-size": mask_to_brush_rle(MASK[::2, ::2]),
    "one-pixel-more": stream(VALUES + 4, SIZES + "111" + f"{VALUES + 3:016b}" + "11111111"),
    "run-too-long": stream(VALUES, SIZES + "111" + f"{VALUES:016b}" + "11111111"),
    "literal-cut-short": stream(VALUES, SIZES + "011" + f"{VALUES - 1:016b}" + "11111111"),
    "words-of-32-bits-cut-short": stream(VALUES, "11111" + "0010" * 4 + "1" * 40),
    "zeros": [0] * 4000,
    "a-million-zeros": RLE[:7] + [0] * 1_000_000,
    "random": np.random.default_rng(1).integers(0, 256, 5000).tolist(),
    "random-after-the-header": RLE[:7] + np.random.default_rng(2).integers(0, 256, 5000).tolist(),
    "a-png": list(png_bytes("RGBA")),
    "coco-counts": [100, 40, 724],
    "coco-string": "PPYo1g0",
    "base64": "AAAN",
    "null": None,
    "number": 7,
    "object": {"0": 1},
    "floats": [float(byte) for byte in RLE],
    "strings": [str(byte) for byte in RLE],
    "negative": [-1, *RLE[1:]],
    "256": [256, *RLE[1:]],
    "huge-numbers": [10**100, *RLE[1:]],
    "nested": [RLE],
    "nulls": [None] * 20,
    "nan": [math.nan] * 20,
}

BITMASKS: dict[str, tuple[Any, str]] = {
    "null": (None, UNREADABLE),
    "number": (7, UNREADABLE),
    "http": ("http://example.com/mask.png", UNREADABLE),
    "file": ("file:///etc/passwd", UNREADABLE),
    "jpeg": ("data:image/jpeg;base64,AAAA", UNREADABLE),
    "empty": ("data:image/png;base64,", UNREADABLE),
    "no-base64": ("data:image/png;base64,???", UNREADABLE),
    "no-png": (url(b"GIF89a" + bytes(100)), UNREADABLE),
    "half": (url(png_bytes("RGBA")[:40]), UNREADABLE),
    "of-another-size": (url(png_bytes("RGBA", (9, 9))), UNREADABLE),
    "bomb": (url(bomb_png(60_000, 60_000)), UNREADABLE),
    "bomb-of-the-right-size": (url(bomb_png(WIDTH, HEIGHT)), UNREADABLE),
    "text-bomb": (url(text_bomb_png()), UNREADABLE),
    "transparent": (url(png_bytes("LA")), NOTHING),
    "a-million-letters": ("data:image/png;base64," + "A" * 1_000_000, UNREADABLE),
}

_ZIGZAG = [[i / 500, i % 2 * 100] for i in range(50_000)]
POLYGONS: dict[str, tuple[Any, str]] = {
    "null": (None, UNREADABLE),
    "empty": ([], UNREADABLE),
    "two-points": ([[1, 1], [2, 2]], UNREADABLE),
    "numbers": ([1, 2, 3, 4, 5, 6], UNREADABLE),
    "triples": ([[1, 1, 1]] * 3, UNREADABLE),
    "ragged": ([[1, 1], [2], [3, 3]], UNREADABLE),
    "strings": ([["1", "x"], ["2", "2"], ["3", "1"]], UNREADABLE),
    "objects": ([{"x": 1, "y": 1}] * 3, UNREADABLE),
    "nan": ([[math.nan, 1], [2, 2], [3, 1]], UNREADABLE),
    "infinite": ([[math.inf, 1], [2, 2], [3, 1]], UNREADABLE),
    "huge": ([[1e300, 1], [2, 2], [3, 1]], UNREADABLE),
    "huge-whole-number": ([[10**400, 1], [2, 2], [3, 1]], UNREADABLE),
    "a-line": ([[1, 1], [5, 5], [9, 9]], NOTHING),
    "elsewhere": ([[200, 200], [300, 200], [200, 300]], NOTHING),
}

BOXES: dict[str, tuple[dict[str, Any], str]] = {
    "null": ({"x": None}, UNREADABLE),
    "string": ({"x": "12"}, UNREADABLE),
    "nan": ({"width": math.nan}, UNREADABLE),
    "infinite": ({"width": math.inf}, UNREADABLE),
    "huge": ({"width": 1e300}, UNREADABLE),
    "rotation-string": ({"rotation": "90"}, UNREADABLE),
    "rotation-infinite": ({"rotation": math.inf}, UNREADABLE),
    "zero": ({"width": 0}, NOTHING),
    "elsewhere": ({"x": -500}, NOTHING),
}

SIDES: dict[str, tuple[Any, Any]] = {
    "missing": (None, None),
    "zero": (0, HEIGHT),
    "negative": (-WIDTH, -HEIGHT),
    "fraction": (36.0, HEIGHT),
    "string": ("36", HEIGHT),
    "boolean": (True, HEIGHT),
    "list": ([36], HEIGHT),
    "nan": (math.nan, HEIGHT),
    "infinite": (math.inf, HEIGHT),
    "swapped": (HEIGHT - 1, WIDTH - 1),
    "huge": (100_000, 100_000),
    "beyond-64-bits": (10**30, 10**30),
}


def broken_regions() -> Iterator[tuple[str, Any, str]]:
    """Yield (name, result, what has to be said) of regions that must be left out."""
    for name, rle in BRUSHES.items():
        said = NOTHING if name == "a-million-zeros" else UNREADABLE  # literal zeros: a mask without a pixel
        yield f"brush-{name}", region(value={"format": "rle", "rle": rle}), said
    for name, (bitmask, said) in BITMASKS.items():
        yield f"bitmask-{name}", region("bitmasklabels", {"imageDataURL": bitmask}), said
    for name, (points, said) in POLYGONS.items():
        yield f"polygon-{name}", region("polygonlabels", {"points": points}), said
    box = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0}
    for name, (change, said) in BOXES.items():
        yield f"box-{name}", region("rectanglelabels", {**box, **change}), said
    for name, (width, height) in SIDES.items():
        yield f"size-{name}", region(original_width=width, original_height=height), UNREADABLE
    oval = {"x": 50, "y": 50, "radiusX": math.nan, "radiusY": 10}
    yield "oval-nan", region("ellipselabels", oval), UNREADABLE
    for name, value in (("null", None), ("number", 5), ("list", [1]), ("string", "rle")):
        yield f"value-{name}", region() | {"value": value}, "has no area: 1"
    for name, result in (("null", None), ("number", 5), ("list", []), ("string", "x")):
        yield f"result-{name}", result, "a result that is no object on no image of the task: 1"
    for name, target in (("null", None), ("list", ["image"]), ("object", {}), ("unknown", "photo")):
        yield f"target-{name}", region(to_name=target), "on no image of the task: 1"
    for name, index in (("string", "0.5"), ("huge", 10**30), ("negative", -1), ("list", [0])):
        yield f"index-{name}", region(item_index=index), "on no image of the task: 1"
    no_labels: dict[str, Any] = {"null": None, "empty": [], "object": {}, "numbers": [1, 2], "nested": [["cat"]]}
    for name, words in no_labels.items():
        value = {"rle": RLE, "brushlabels": words}
        yield f"labels-{name}", region() | {"value": value}, "left out, region without a label: 1"
    unknown = region() | {"value": {"rle": RLE, "brushlabels": ["x" * 1_000_000]}}
    yield "labels-endless", unknown, "left out, label that is no category: 1"


BROKEN_TASKS: dict[str, tuple[Any, str]] = {
    "number": (5, "left out, unreadable task: 1"),
    "string": ("task", "left out, unreadable task: 1"),
    "null": (None, "left out, unreadable task: 1"),
    "list": ([], "left out, unreadable task: 1"),
    "empty": ({}, "left out, unreadable task: 1"),
    "data-list": ({"data": [1]}, "left out, unreadable task: 1"),
    "data-empty": ({"data": {}}, "left out, image without an address: 1"),
    "image-number": ({"data": {"image": 5}}, "left out, image without an address: 1"),
    "image-nested": ({"data": {"image": [["a"]]}}, "left out, image without an address: 1"),
    "image-object": ({"data": {"image": {"url": "a"}}}, "left out, image without an address: 1"),
    "annotations-object": (task(annotations={}), "left out, unreadable annotations: 1"),
    "annotations-string": (task(annotations="none"), "left out, unreadable annotations: 1"),
    "result-null": (task(annotations=[{"result": None}]), "left out, unreadable result: 1"),
    "result-object": (task(annotations=[{"result": {}}]), "left out, unreadable result: 1"),
    "result-missing": (task(annotations=[{"id": 1}]), "left out, unreadable result: 1"),
    "predictions-number": (task(predictions=5), "images: 2 read"),  # nobody asked for predictions
    "json-min-list": ({"id": 5, "image": "/a.png", "annotation_id": 1, "brush": [5, None, "x"]}, "images: 2 read"),
    "json-min-no-image": ({"id": 5, "annotation_id": 1, "brush": []}, "left out, unreadable task: 1"),
    "id-object": (task(region(), id={"a": 1}), "images: 2 read, 2 written"),
    "id-nan": (task(region(), id=math.nan), "images: 2 read, 2 written"),
    "many-nulls": (task(*[None] * 20_000), "on no image of the task: 20000"),
    "surrogate": (task(region() | {"value": {"rle": RLE, "brushlabels": ["\ud800"]}}), "label that is no category: 1"),
    "surrogate-in-the-address": (task(region(), data={"image": "/\ud800.png"}), "images: 2 read"),
    "address-with-nul": (task(region(), data={"image": "/a\0.png"}), "images: 2 read"),
    "address-that-leads-out": (task(region(), data={"image": "/../../../../tmp/evil.png"}), "images: 2 read"),
    "address-of-a-million-letters": (task(region(), data={"image": "/" + "a" * 1_000_000}), "images: 2 read"),
    "address-that-is-no-url": (task(region(), data={"image": "http://[::1/a.png"}), "images: 2 read"),
}

_GOOD = text(GOOD_TASK)
BROKEN_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a JSON array of tasks"),
    "white-space": (b" \n\t ", "expected a JSON array of tasks"),
    "byte-order-mark": (b"\xef\xbb\xbf", "expected a JSON array of tasks"),
    "null": (b"null", "expected a JSON array of tasks"),
    "number": (b"5", "expected a JSON array of tasks"),
    "string": (b'"x"', "expected a JSON array of tasks"),
    "open": (b"[", "breaks or ends too early"),
    "half": (b"[" + _GOOD[:-20], "breaks or ends too early"),
    "comma": (b"[" + _GOOD + b",]", "breaks or ends too early"),
    "no-comma": (b"[" + _GOOD + _GOOD + b"]", "expected ',' or ']' after a task"),
    "twice": (b"[" + _GOOD + b"][]", "expected nothing after the tasks"),
    "lines": (_GOOD + b"\n" + _GOOD, "expected nothing after the tasks"),
    "single-quotes": (b"[{'id': 1}]", "breaks or ends too early"),
    "utf-16": (b"[" + _GOOD.decode().encode("utf-16") + b"]", "expected JSON"),
    "latin-1": ('[{"id": "é"}]'.encode("latin-1"), "expected JSON in UTF-8"),
    "nul": (b"[\0]", "breaks or ends too early"),
    "deep-lists": (b"[" * 100_000, "expected JSON of sane depth and numbers"),
    "deep-objects": (b'[{"a":' * 50_000, "expected JSON of sane depth and numbers"),
    "a-number-of-5000-digits": (b"[" + b"9" * 5000 + b"]", "expected JSON of sane depth and numbers"),
    "random": (np.random.default_rng(3).bytes(10_000), "expected"),
    "a-png": (png_bytes("RGB"), "expected"),
    "a-coco-file": (b'{"images": [], "annotations": [], "categories": []}', "unreadable task (1)"),
    "an-empty-list": (b"[]", "expected at least one"),
}

BROKEN_CONFIGS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a label config"),
    "text": (b"labels: cat", "expected a label config in XML"),
    "half": (CONFIG_XML.encode()[:-5], "expected a label config in XML"),
    "latin-1": (CONFIG_XML.replace("cat", "é").encode("latin-1"), "expected XML in UTF-8"),
    "utf-16": (CONFIG_XML.encode("utf-16"), "expected XML in UTF-8"),
    "entities": (
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><View>&b;</View>',
        "declares a DTD or entities",
    ),
    "external-entity": (
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><View><Label value="&a;"/></View>',
        "declares a DTD or entities",
    ),
    "dtd": (b'<!DOCTYPE View SYSTEM "http://example.com/x.dtd"><View/>', "declares a DTD or entities"),
    "unknown-entity": (b"<View>&nothing;</View>", "expected a label config in XML"),
    "deep": (b"<a>" * 100_000 + b"</a>" * 100_000, "expected"),
    "no-image": (b'<View><BrushLabels name="b" toName="b"><Label value="x"/></BrushLabels></View>', "an <Image>"),
    "no-labels": (b'<View><Image name="image" value="$image"/></View>', "expected"),
    "label-without-a-value": (CONFIG_XML.replace('value="cat"', "").encode(), "expected a value for each label"),
    "labels-twice": (CONFIG_XML.replace("sky", "cat").encode(), "more than once"),
    "names-twice": (CONFIG_XML.replace('"box"', '"brush"').encode(), "more than once"),
    "target-missing": (CONFIG_XML.replace('toName="image"', 'toName="photo"', 1).encode(), "expected toName"),
    "image-without-a-value": (CONFIG_XML.replace(' value="$image"', "").encode(), "expected <Image> with a name"),
    "category-negative": (CONFIG_XML.replace('"cat"', '"cat" category="-1"').encode(), "whole number from 0"),
    "category-huge": (CONFIG_XML.replace('"cat"', f'"cat" category="{"9" * 5000}"').encode(), "whole number from 0"),
    "category-twice": (
        CONFIG_XML.replace('"cat"', '"cat" category="1"').replace('"sky"', '"sky" category="1"').encode(),
        "expected category= to differ",
    ),
    "kind-unknown": (CONFIG_XML.replace('"stuff"', '"animal"').encode(), "to be thing or stuff"),
    "too-long": (b"<View>" + b" " * 9_000_000 + b"</View>", "expected at most 2000000 characters"),
    "nul": (b"<View>\0</View>", "expected a label config in XML"),
}


def cases() -> Iterator[Case]:
    """Yield all of them, for every command that reads exports in turn."""
    kinds = ("coco", "panoptic", "semantic-png", "yolo")
    for number, (name, result, said) in enumerate(broken_regions()):
        files = {"config.xml": CONFIG_XML.encode(), "export.json": text([task(result), GOOD_TASK])}
        command = CONVERT.format(kind=kinds[number % 4])
        yield Case(f"export-{name}", files, command, (LEFT_BEHIND,), said)
        yield Case(f"validate-{name}", files, VALIDATE, (LEFT_BEHIND,), "task 1, ")
    for number, (name, (broken, said)) in enumerate(BROKEN_TASKS.items()):
        files = {"config.xml": CONFIG_XML.encode(), "export.json": text([broken, GOOD_TASK])}
        statuses = (DONE, LEFT_BEHIND)
        yield Case(f"task-{name}", files, CONVERT.format(kind=kinds[number % 4]), statuses, said)
        yield Case(f"validate-task-{name}", files, VALIDATE, statuses, "2 tasks and ")
    for number, (name, (content, said)) in enumerate(BROKEN_FILES.items()):
        files = {"config.xml": CONFIG_XML.encode(), "export.json": content}
        yield Case(f"file-{name}", files, CONVERT.format(kind=kinds[number % 4]), (FAILED,), said)
    endless = {"config.xml": CONFIG_XML.encode(), "export.json": b'[{"data": "' + b"x" * 10_000_000}
    yield Case("file-an-endless-task", endless, CONVERT.format(kind="coco"), (FAILED,), "breaks or ends too early")
    for number, (name, (content, said)) in enumerate(BROKEN_CONFIGS.items()):
        files = {"config.xml": content, "export.json": text([GOOD_TASK])}
        yield Case(f"config-{name}", files, CONVERT.format(kind=kinds[number % 4]), (FAILED,), said)
    files = {
        "config.xml": CONFIG_XML.encode(),
        "export.json": text([task(region("polygonlabels", {"points": _ZIGZAG}))]),
    }
    yield Case("export-polygon-zigzag", files, CONVERT.format(kind="coco") + " --polygons", (DONE,), "images: 1 read")
    large = region("rectanglelabels", {"x": 0, "y": 0, "width": 100, "height": 100})
    large |= {"original_width": 10_000, "original_height": 10_000}
    files = {"config.xml": CONFIG_XML.encode(), "export.json": text([task(large)])}
    yield Case("export-a-box-of-100-million-pixels", files, CONVERT.format(kind="coco"), (DONE,), "images: 1 read, 1 w")
