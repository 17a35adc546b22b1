"""COCO panoptic, both ways: each pixel belongs to one segment at most, named by the colour of a PNG.

    DIR/panoptic.json  {"images": [{id, file_name, width, height}],
                        "categories": [{id, name, supercategory, isthing, color}],
                        "annotations": [{image_id, file_name, segments_info: [{id, category_id, area, bbox, iscrowd,
                                                                               isthing, region_id?, score?}]}]}
    DIR/panoptic/000000000001.png      8-bit RGB; segment id = R + 256 G + 65536 B, 0 = nothing

Each region of a *thing* is a segment of its own; all regions of a *stuff* category in an image are one segment, as in
COCO. Where regions overlap, the rule of `encodings.overlaps` decides. A category is stuff if its label says
`kind="stuff"` or if `PanopticOptions.stuff` names it.

panopticapi can read the dataset; the keys `isthing`, `region_id` and `score` of a segment are extra. A segment of stuff
is a crowd if one of its regions is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from converters.datasets.coco import CocoDataset
from converters.datasets.coco_details import is_set, score_of
from converters.datasets.coco_index import CocoIndex, ImageId, coco_id, index_coco, read_coco
from converters.datasets.coco_reader import ImagePlace, empty_record, with_rest_of
from converters.encodings.coco_rle import coco_rle_area, coco_rle_bbox_xywh, label_map_to_coco_rles
from converters.encodings.colours import rgb_of
from converters.encodings.masks import MAX_PIXELS
from converters.encodings.overlaps import LabelledRegion, regions_to_label_map
from converters.errors import ConverterError, PanopticError, RecordError
from converters.files.image_files import SizeLookup
from converters.files.json_values import Json
from converters.files.output import JsonList, name_in_folder, new_folder, write_json
from converters.files.png import read_png
from converters.records import Annotation, DatasetCategory, ImageRecord, LeftOut, Prediction, Region
from converters.selection import (
    ConversionCounts,
    Detail,
    SelectedImage,
    Selection,
    Tally,
    labelled_regions,
    require_distinct,
    select_images,
)

SegmentIds = npt.NDArray[np.int32]
"""(H, W) int32: 0 where there is no segment, else the id of the segment, below 2**24."""

JSON_NAME = "panoptic.json"
_MAX_ID = (1 << 24) - 1
_HELD: tuple[Detail, ...] = ("iscrowd",)


@dataclass(frozen=True)
class PanopticOptions(Selection):
    """The choice of what goes into a panoptic dataset (see `Selection`).

    `stuff` names the categories that are stuff although their labels do not say so.
    """

    stuff: frozenset[str] = frozenset()


# ---------------------------------------------------------------- colours


def segment_ids_to_rgb(ids: SegmentIds) -> npt.NDArray[np.uint8]:
    """Return segment ids as the pixels of a PNG, (H, W, 3) uint8: id = R + 256 G + 65536 B."""
    return np.stack((ids & 255, ids >> 8 & 255, ids >> 16 & 255), axis=-1).astype(np.uint8)


def rgb_to_segment_ids(rgb: npt.NDArray[np.uint8]) -> SegmentIds:
    """Return the pixels of a PNG, (H, W, 3) uint8, as segment ids, (H, W) int32."""
    ids = rgb[..., 2].astype(np.int32)
    for channel in (1, 0):
        ids <<= 8
        ids |= rgb[..., channel]
    return ids


# ---------------------------------------------------------------- out


def write_panoptic(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    folder: Path,
    options: PanopticOptions | None = None,
    size_of: SizeLookup | None = None,
) -> ConversionCounts:
    """Write records as a panoptic dataset, image by image, into a new folder that appears whole or not at all.

    Args:
        records: the images, read once, one at a time.
        categories: the dataset's categories, for example from `categories.categories_of`.
        folder: the folder to write; it must be empty or not there yet.
        options: the choice of what goes in.
        size_of: a look-up of the sizes of images without a region.

    Raises:
        RecordError: two categories share a name or an id, or a name in `options.stuff` is no category.
        PanopticError: there was no image to write.
        OutputError: the folder is not empty or cannot be written.
    """
    options = options or PanopticOptions()
    things = _things(categories, options.stuff)
    ids = require_distinct(categories)
    tally = Tally()
    with new_folder(folder) as partial:
        images, annotations = JsonList(partial), JsonList(partial)
        pngs = partial / Path(JSON_NAME).stem
        pngs.mkdir()
        for image in select_images(records, options, size_of, tally, ids):
            png_name = f"{image.number:012d}.png"
            if (pngs / png_name).exists():
                tally.leave_out("image that an earlier task shows", f"task {image.task_id}: {image.file_name!r:.200}")
                continue
            segment_ids, segments = _segments(image, ids, things, tally)
            Image.fromarray(segment_ids_to_rgb(segment_ids)).save(pngs / png_name)
            height, width = image.size_hw
            entry = {"id": image.number, "file_name": image.file_name, "width": width, "height": height}
            tally.images_out += 1
            images.append({**entry, "task_id": image.task_id})
            annotations.append({"image_id": image.number, "file_name": png_name, "segments_info": segments})
        if not images:
            raise PanopticError(f"expected at least one image for {folder}, got none: {tally.counts().reasons()}")
        dataset = {
            "info": {"description": "Label Studio regions as COCO panoptic, written by ovdiff"},
            "categories": [_category(category, things) for category in categories],
            "images": images,
            "annotations": annotations,
        }
        write_json(dataset, partial / JSON_NAME)
    return tally.counts()


def _things(categories: Sequence[DatasetCategory], stuff: frozenset[str]) -> frozenset[int]:
    """Return the ids of the categories that are things."""
    unknown = sorted(stuff - {category.name for category in categories})
    if unknown:
        raise RecordError(f"expected stuff to be among the categories {[c.name for c in categories]}, got {unknown}")
    return frozenset(c.id for c in categories if c.kind != "stuff" and c.name not in stuff)


def _category(category: DatasetCategory, things: frozenset[int]) -> dict[str, Any]:
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": "",
        "isthing": int(category.id in things),
        "color": list(rgb_of(category.name)),
    }


def _segments(
    image: SelectedImage, ids: Mapping[str, int], things: frozenset[int], tally: Tally
) -> tuple[SegmentIds, list[dict[str, Any]]]:
    """Return the map of segment ids and the `segments_info` of one image."""
    labelled = list(labelled_regions(image, ids, tally, holds=_HELD))
    numbers = _numbers(labelled, things)
    flat = regions_to_label_map(
        [LabelledRegion(r.rle, n, r.score) for (r, _), n in zip(labelled, numbers, strict=True)], image.size_hw
    )
    tally.note("pixels that several segments claimed", flat.contested_px)
    for position in flat.hidden:
        where = f"task {image.task_id}, region {labelled[position][0].id!r}"
        tally.leave_out("region of which others cover every pixel", where)
    rles = label_map_to_coco_rles(flat.label_map)
    tally.regions_out += len(rles)
    tally.note("regions joined with others of their stuff category", len(labelled) - len(flat.hidden) - len(rles))
    members_of: dict[int, list[tuple[Region, int]]] = {number: [] for number in rles}
    for position in sorted(set(range(len(labelled))) - set(flat.hidden)):
        members_of[numbers[position]].append(labelled[position])
    segments = []
    for number, members in members_of.items():
        rle, (region, category_id) = rles[number], members[0]
        known = {"region_id": region.id, "score": region.score} if len(members) == 1 else {}
        segments.append(
            {
                "id": number,
                "category_id": category_id,
                "area": coco_rle_area(rle),
                "bbox": [int(value) for value in coco_rle_bbox_xywh(rle)],
                "iscrowd": int(any(member.is_crowd for member, _ in members)),
                "isthing": int(category_id in things),
                **{key: value for key, value in known.items() if value is not None},
            }
        )
    return flat.label_map, segments


def _numbers(labelled: Sequence[tuple[Region, int]], things: frozenset[int]) -> list[int]:
    """Return the segment id of each region, from 1 on; all regions of a stuff category share an id."""
    owners = [("region", i) if category in things else ("stuff", category) for i, (_, category) in enumerate(labelled)]
    by_owner = {owner: number for number, owner in enumerate(dict.fromkeys(owners), start=1)}
    return [by_owner[owner] for owner in owners]


# ---------------------------------------------------------------- back


def read_panoptic(path: Path) -> tuple[CocoDataset, Path]:
    """Read the JSON of a panoptic dataset.

    Args:
        path: the JSON file, or the folder that `write_panoptic` made.

    Returns:
        The dataset and the folder of its PNGs, which lies beside the JSON file and has its name without `.json`.

    Raises:
        ConverterError: the file is too large, is no JSON, or lacks images, categories or annotations.
        OSError: the file cannot be opened.
    """
    path = path / JSON_NAME if path.is_dir() else path
    return read_coco(path), path.with_suffix("")


def panoptic_to_records(
    dataset: CocoDataset,
    pngs: Path,
    place: ImagePlace | None = None,
    size_of: SizeLookup | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[ImageRecord]:
    """Convert a panoptic dataset to one record for each of its images, one PNG at a time.

    An image whose PNG cannot be used becomes a record without annotations, and `left_out` says why. A segment that is
    missing in the PNG or in the JSON is listed in `left_out`, too. Segments with scores become a prediction.

    Args:
        dataset: a dataset as `read_panoptic` returns it.
        pngs: the folder of its PNGs.
        place: where the images will be shown.
        size_of: a look-up of the sizes of images whose size the dataset does not say; without one, it is the PNG's.
        max_pixels: leave out the segments of larger images.

    Raises:
        ConverterError: no category has an id and a name.
    """
    place = place or ImagePlace()
    index = index_coco(dataset)
    empty = ((key, empty_record(key, image, place, size_of, max_pixels)) for key, image in index.images.items())
    records = (_record(index, key, record, pngs, max_pixels) for key, record in empty)
    yield from with_rest_of(index, records, place)


def _record(index: CocoIndex, key: ImageId, empty: ImageRecord, pngs: Path, max_pixels: int) -> ImageRecord:
    if not empty.image:
        return empty
    where = f"image {key!s:.60}"
    annotation = next(iter(index.annotations[key]), None)
    left_out = [
        LeftOut("another annotation of the same image", f"{where}: {other.get('file_name')!r:.60}")
        for other in index.annotations[key][1:]
    ]
    regions: tuple[Region, ...] = ()
    is_read = False
    if annotation is not None:
        try:
            rgb = read_png(_png_path(annotation, pngs), ("RGB",), empty.size_hw, max_pixels=max_pixels)
            empty = replace(empty, size_hw=(rgb.shape[0], rgb.shape[1]))
            regions = tuple(_regions(annotation, rgb_to_segment_ids(rgb), index.names, left_out, where))
            is_read = True
        except ConverterError as error:
            left_out.append(LeftOut("unreadable annotation", f"{where}: {error}"))
    is_predicted = any(region.score is not None for region in regions)
    return replace(
        empty,
        annotations=(Annotation(None, regions),) if is_read and not is_predicted else (),
        predictions=(Prediction(None, regions),) if is_predicted else (),
        left_out=tuple(left_out) if is_read or annotation is None else (*empty.left_out, *left_out),
    )


def _png_path(annotation: Json, pngs: Path) -> Path:
    name = annotation.get("file_name")
    inside = name_in_folder(name, PurePosixPath(name).suffix) if isinstance(name, str) else None
    if inside is None:
        raise PanopticError(f"expected the name of a PNG in {pngs.name}, got {name!r:.60}")
    return pngs / inside


def _regions(
    annotation: Json, ids: SegmentIds, names: Mapping[int, str], left_out: list[LeftOut], where: str
) -> Iterator[Region]:
    """Yield the segments that are in the JSON and in the PNG as regions; list all others in `left_out`."""
    listed = annotation.get("segments_info")
    if not isinstance(listed, list):
        raise PanopticError(f"expected segments_info to be a list, got {type(listed).__name__}")
    rles = label_map_to_coco_rles(ids)
    for segment in listed:
        try:
            number, name = _segment(segment, names)
        except PanopticError as error:
            left_out.append(LeftOut("unreadable segment", f"{where}: {error}"))
            continue
        rle = rles.pop(number, None)
        if rle is None:
            left_out.append(LeftOut("segment without a pixel, or listed twice", f"{where}, segment {number}"))
            continue
        region_id = segment.get("region_id")
        score, unfit_score = score_of(segment)
        if unfit_score:
            left_out.append(LeftOut(unfit_score[0], f"{where}, segment {number}: {unfit_score[1]}"))
        yield Region(
            id=region_id if isinstance(region_id, str) and region_id else str(number),
            labels=(name,),
            control="",
            rle=rle,
            score=score,
            is_crowd=is_set(segment.get("iscrowd")),
        )
    for number in rles:
        left_out.append(LeftOut("pixels of a segment that the JSON does not list", f"{where}, segment {number}"))


def _segment(segment: Any, names: Mapping[int, str]) -> tuple[int, str]:
    """Return the segment id and the category name of an entry of `segments_info`."""
    if not isinstance(segment, Mapping):
        raise PanopticError(f"expected objects in segments_info, got {type(segment).__name__}")
    number, category_id = coco_id(segment.get("id")), coco_id(segment.get("category_id"))
    if number is None or not 0 < number <= _MAX_ID:
        raise PanopticError(f"expected a segment id from 1 to {_MAX_ID}, got {segment.get('id')!r:.40}")
    if category_id is None or category_id not in names:
        got = segment.get("category_id")
        raise PanopticError(f"segment {number}: expected the id of a category, got {got!r:.40}")
    return number, names[category_id]
