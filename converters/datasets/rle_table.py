"""COCO instances with RLE masks as a Parquet table, and back: a row for each mask.

    column          type            what it holds
    image           string          the image's file name, as the COCO file has it
    image_id        int64           its id
    row_id          string          its id in the manifest, where that is a text; else null
    width, height   int32           its size in pixels
    carried         string          what else the manifest says of it, as a JSON object; else null
    annotation_id   int64           the id of the annotation
    category_id     int32           the id of the category
    category        string          its name
    counts          string          the mask's run lengths, compressed as pycocotools writes them
    size            list of int32   [height, width], as pycocotools wants it beside the counts
    area            int64           the mask's pixels
    bbox            list of double  [x, y, width, height] in pixels, around the mask
    score           double          how sure the method is, from 0 to 1; null if nobody said
    model_version   string          what made the mask

`pycocotools.mask.decode({"size": row["size"], "counts": row["counts"]})` is the mask. An image in which nothing was
found has one row, in which all columns from `annotation_id` to `score` are null. The table's metadata hold, under
`ovdiff`, the categories and the `info` of the COCO file. Its pages have checksums, so that a damaged mask is not taken
for another one. One version of pyarrow makes the same bytes of one COCO file.

pyarrow is imported when a table is read or written; the extra `ovdiff[ray]` brings it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, BinaryIO

from converters.errors import CocoError
from converters.files.json_values import Json, JsonObject

METADATA = b"ovdiff"
_ROWS_AT_ONCE = 256
_OF_MASK = ("annotation_id", "category_id", "category", "counts", "size", "area", "bbox", "score")


def coco_to_rle_table(dataset: Json) -> bytes:
    """Return a COCO dataset, whose masks are compressed RLE, as the bytes of a Parquet file.

    Raises:
        CocoError: a mask is no compressed RLE, or pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    said = {"info": dataset.get("info", {}), "categories": dataset["categories"]}
    schema = _schema(pyarrow).with_metadata({METADATA: json.dumps(said, ensure_ascii=False).encode()})
    table = pyarrow.Table.from_pylist(list(_rows(dataset)), schema=schema)
    written = io.BytesIO()
    parquet.write_table(table, written, compression="zstd", write_page_checksum=True)
    return written.getvalue()


def require_library() -> None:
    """Check that tables can be read and written.

    Raises:
        CocoError: pyarrow is not installed.
    """
    _pyarrow()


def read_rle_table_head(file: BinaryIO) -> JsonObject:
    """Return the `info` and the `categories` of a table; of the file its end alone is read.

    Raises:
        CocoError: the file is no such table, or pyarrow is not installed.
    """
    return _head(_opened(file))


def rle_table_to_coco(file: BinaryIO) -> tuple[JsonObject, Iterator[tuple[JsonObject, list[JsonObject]]]]:
    """Return the head of a table (`info` and `categories`), and its images, each with its annotations, in order.

    A few rows are in memory at a time; the file is read while the images are taken.

    Raises:
        CocoError: the file is no such table, or pyarrow is not installed; while the images are taken, it is damaged.
    """
    table = _opened(file)
    return _head(table), _images(table)


# ---------------------------------------------------------------- out


def _rows(dataset: Json) -> Iterator[JsonObject]:
    names = {category["id"]: category["name"] for category in dataset["categories"]}
    version = dataset.get("info", {}).get("model_version")
    of_image: dict[Any, list[Json]] = {}
    for annotation in dataset["annotations"]:
        of_image.setdefault(annotation["image_id"], []).append(annotation)
    for image in dataset["images"]:
        carried = image.get("carried")
        head = {
            "image": image["file_name"],
            "image_id": image["id"],
            "row_id": image.get("row_id"),
            "width": image["width"],
            "height": image["height"],
            "carried": json.dumps(carried, ensure_ascii=False) if carried else None,
            "model_version": version,
        }
        found = of_image.get(image["id"], [])
        yield from [head] if not found else ({**head, **_mask(each, names)} for each in found)


def _mask(annotation: Json, names: Mapping[int, str]) -> JsonObject:
    rle = annotation["segmentation"]
    if not (isinstance(rle, Mapping) and isinstance(rle.get("counts"), str)):
        raise CocoError(
            f"annotation {annotation['id']}: expected a compressed RLE, got {rle!r:.60}: a Parquet table holds no "
            "polygons; write the COCO file with RLE"
        )
    return {
        "annotation_id": annotation["id"],
        "category_id": annotation["category_id"],
        "category": names[annotation["category_id"]],
        "counts": rle["counts"],
        "size": rle["size"],
        "area": annotation["area"],
        "bbox": annotation["bbox"],
        "score": annotation.get("score"),
    }


def _schema(pyarrow: Any) -> Any:
    whole, text = pyarrow.int64(), pyarrow.string()
    small, real = pyarrow.int32(), pyarrow.float64()
    kinds = {
        "image": text,
        "image_id": whole,
        "row_id": text,
        "width": small,
        "height": small,
        "carried": text,
        "annotation_id": whole,
        "category_id": small,
        "category": text,
        "counts": text,
        "size": pyarrow.list_(small),
        "area": whole,
        "bbox": pyarrow.list_(real),
        "score": real,
        "model_version": text,
    }
    return pyarrow.schema(list(kinds.items()))


# ---------------------------------------------------------------- back


def _opened(file: BinaryIO) -> Any:
    pyarrow, parquet = _pyarrow()
    with _damage_told():
        table = parquet.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)
    missing = sorted(set(_schema(pyarrow).names) - set(table.schema_arrow.names))
    if missing:
        raise CocoError(f"expected a Parquet file of masks, got one without the columns {', '.join(missing)}")
    return table


def _head(table: Any) -> JsonObject:
    said = (table.schema_arrow.metadata or {}).get(METADATA)
    if said is None:
        raise CocoError("expected a Parquet file of masks with the categories in its metadata, got none under 'ovdiff'")
    try:
        head: JsonObject = json.loads(said)
    except ValueError as error:
        raise CocoError(f"expected a Parquet file of masks with JSON in its metadata: {error}") from error
    return head


def _images(table: Any) -> Iterator[tuple[JsonObject, list[JsonObject]]]:
    image: JsonObject | None = None
    annotations: list[JsonObject] = []
    for row in _read_rows(table):
        if image is None or row["image_id"] != image["id"]:
            if image is not None:
                yield image, annotations
            image, annotations = _image(row), []
        if row["annotation_id"] is not None:
            annotations.append(_annotation(row))
    if image is not None:
        yield image, annotations


def _read_rows(table: Any) -> Iterator[JsonObject]:
    batches = table.iter_batches(_ROWS_AT_ONCE, use_threads=False)
    wanted, read = table.metadata.num_rows, 0
    while read < wanted:
        with _damage_told():
            rows = [row for batch in islice(batches, 1) for row in batch.to_pylist()]
        if not rows:
            raise CocoError(f"expected a Parquet file with the {wanted} rows that it announces, got {read}")
        read += len(rows)
        yield from rows


@contextmanager
def _damage_told() -> Iterator[None]:
    """Tell what pyarrow says of a damaged file, or of one that is no Parquet file, as a CocoError."""
    pyarrow, _ = _pyarrow()
    try:
        yield
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's own
            raise
        raise CocoError(f"expected a Parquet file of masks, and an intact one: {error}") from error


def _image(row: Json) -> JsonObject:
    carried = {"carried": json.loads(row["carried"])} if row["carried"] else {}
    own = {"row_id": row["row_id"]} if row["row_id"] else {}
    size = {"width": row["width"], "height": row["height"]}
    return {"id": row["image_id"], "file_name": row["image"], **size, **own, **carried}


def _annotation(row: Json) -> JsonObject:
    score = {} if row["score"] is None else {"score": row["score"]}
    return {
        "id": row["annotation_id"],
        "image_id": row["image_id"],
        "category_id": row["category_id"],
        "segmentation": {"size": row["size"], "counts": row["counts"]},
        "area": row["area"],
        "bbox": row["bbox"],
        "iscrowd": 0,
        **score,
    }


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise CocoError(
            "expected pyarrow, which reads and writes Parquet files, to be installed. In a checkout of ovdiff: "
            "pip install '.[ray]'"
        ) from error
    return pyarrow, parquet
