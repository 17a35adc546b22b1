"""COCO instances to records: reads the files that `coco` writes, and any other COCO file.

The annotations of an image become a prediction if one of them has a score, else an annotation. What cannot be read is
listed in the `left_out` of its image, or of the first image if it belongs to none (`coco_index`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from converters.datasets.coco_index import CocoIndex, ImageId, coco_id, index_coco
from converters.datasets.coco_regions import read_regions
from converters.encodings.masks import MAX_PIXELS, require_size
from converters.errors import MaskError
from converters.files.image_files import SizeLookup, image_address
from converters.files.json_values import Json, identifier
from converters.records import Annotation, ImageRecord, LeftOut, Prediction
from converters.selection import UNKNOWN_SIZE


@dataclass(frozen=True)
class ImagePlace:
    """Where the images of a dataset will be shown.

    Attributes:
        image_root: the part of an image's address in front of the file name.
        image_tag: the name of the `<Image>` tag that shows the images.
    """

    image_root: str = ""
    image_tag: str = "image"

    def address(self, file_name: str) -> str:
        """Return the address of the image with a file name."""
        return image_address(file_name, self.image_root)


def coco_to_records(
    dataset: Json,
    place: ImagePlace | None = None,
    size_of: SizeLookup | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> list[ImageRecord]:
    """Convert a COCO dataset to one record for each of its images, in its order.

    Args:
        dataset: a dataset as `coco_index.read_coco` returns it.
        place: where the images will be shown.
        size_of: a look-up of the sizes of images whose size the dataset does not say.
        max_pixels: leave out the annotations of larger images.

    Raises:
        CocoError: no category has an id and a name.
    """
    place = place or ImagePlace()
    index = index_coco(dataset)
    empty = (empty_record(key, image, place, size_of, max_pixels) for key, image in index.images.items())
    records = (_record(index, key, record) for key, record in zip(index.images, empty, strict=True))
    return list(with_rest_of(index, records, place))


def with_rest_of(index: CocoIndex, records: Iterator[ImageRecord], place: ImagePlace) -> Iterator[ImageRecord]:
    """Yield the records; the first also says what was left out of the dataset as a whole."""
    first = next(records, ImageRecord(None, "", place.image_tag))
    left_out, notes = (*index.left_out, *first.left_out), (*index.notes, *first.notes)
    if first.image or left_out:
        yield replace(first, left_out=left_out, notes=notes)
    yield from records


def empty_record(
    key: ImageId, image: Json, place: ImagePlace, size_of: SizeLookup | None = None, max_pixels: int = MAX_PIXELS
) -> ImageRecord:
    """Return the record of an entry of `images`, without regions.

    If the entry has no file name, the record has no address. If its size is not known, or too large, the record has no
    size. In both cases `left_out` says why.
    """
    file_name = image.get("file_name")
    if not isinstance(file_name, str) or not file_name:
        nameless = LeftOut("image without a file name", f"image {key!s:.60}: {file_name!r:.60}")
        return ImageRecord(key, "", place.image_tag, left_out=(nameless,))
    task_id = identifier(image.get("task_id"))
    record = ImageRecord(key if task_id is None else task_id, place.address(file_name), place.image_tag)
    size_hw = stated_size(image) or (size_of(file_name) if size_of else None)
    try:
        return replace(record, size_hw=require_size(size_hw or _size(image), max_pixels=max_pixels))
    except MaskError as error:
        reason = UNKNOWN_SIZE if size_hw is None else "image that is too large"
        return replace(record, left_out=(LeftOut(reason, f"image {key!s:.60}, {file_name!r:.60}: {error}"),))


def stated_size(image: Json) -> tuple[int, int] | None:
    """Return (height, width) in pixels as an entry of `images` states them, None if it states none that can be."""
    height, width = coco_id(image.get("height")), coco_id(image.get("width"))
    return (height, width) if height is not None and width is not None and min(height, width) > 0 else None


def _size(image: Json) -> tuple[int, int]:
    """Return what stands in place of a size, for a message."""
    return image.get("height"), image.get("width")  # type: ignore[return-value]


def _record(index: CocoIndex, key: ImageId, empty: ImageRecord) -> ImageRecord:
    annotations: Sequence[Json] = index.annotations[key]
    if not empty.image:
        return empty
    if empty.size_hw is None:  # an image without a region needs no size
        return empty if annotations else replace(empty, annotations=(Annotation(None, ()),), left_out=())
    found = read_regions(annotations, empty.size_hw, index, f"image {key!s:.60}")
    left_out = (*found.left_out, *found.incomplete)
    if annotations and not found.regions:  # an annotation without a region would say that there is nothing to see
        return replace(empty, left_out=left_out)
    is_predicted = any(region.score is not None for region in found.regions)
    return replace(
        empty,
        annotations=() if is_predicted else (Annotation(None, found.regions),),
        predictions=(Prediction(None, found.regions),) if is_predicted else (),
        left_out=left_out,
    )
