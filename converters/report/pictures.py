"""Pictures of single corrections: the image with the predicted and the annotated regions, as one SVG each.

A small copy of the image is embedded as a data URL. Outlines are drawn over it, dashed for the prediction and solid for
the annotation, and pixels in only one of the two are shaded. Without the image, only the outlines are drawn.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from converters.corrections.pairs import Correction, RegionPair
from converters.corrections.splits import find_regroupings
from converters.encodings.masks import Mask, fill_holes, mask_box, remove_small_parts
from converters.encodings.polygons import mask_to_polygons
from converters.errors import ImageFileError
from converters.files.image_files import find_image_file, image_file_name, upright_image
from converters.report.markup import escape_html

PICTURE_PX = 640
"""The longest side of an embedded image, in pixels."""

_JPEG_QUALITY = 80
_SMALLEST_PART_PX = 4  # shown pixels; less is not seen, and noise has thousands of such parts
_MAX_VERTICES = 400


@dataclass(frozen=True)
class Picture:
    """An SVG, and the reason why the image itself is not in it ("" if it is)."""

    svg: str
    missing: str


def picture_of(item: Correction, images: Path | None, image_root: str = "") -> Picture:
    """Draw one correction.

    Args:
        item: the correction.
        images: the folder of the images, None if there is none.
        image_root: the address that image names are relative to.
    """
    height, width = item.size_hw or (1, 1)
    scale = min(1.0, PICTURE_PX / max(height, width))
    shown_wh = max(1, round(width * scale)), max(1, round(height * scale))
    embedded, missing = "", "give the folder of the images with --images"
    if images is not None:
        try:
            embedded = _data_url(item, images, image_root, shown_wh)
            missing = ""
        except ImageFileError as error:
            missing = str(error)
    name = f"Task {item.record.task_id}: prediction and annotation"
    regions = "; ".join(words_of(pair) for pair in item.pairs)
    photo = f'<image href="{embedded}" width="{shown_wh[0]}" height="{shown_wh[1]}"/>' if embedded else ""
    shapes = "".join(_shapes(pair, scale) for pair in item.pairs)
    svg = (
        f'<svg class="picture" role="img" viewBox="0 0 {shown_wh[0]} {shown_wh[1]}" width="{shown_wh[0]}" '
        f'height="{shown_wh[1]}" aria-label="{escape_html(f"{name}. {regions}")}">'
        f'<rect class="ground" width="100%" height="100%"/>{photo}{shapes}</svg>'
    )
    return Picture(svg, missing)


def _data_url(item: Correction, images: Path, image_root: str, shown_wh: tuple[int, int]) -> str:
    """Return the image, upright and small, as a data URL.

    Raises:
        ImageFileError: the image is not there, cannot be read, or differs in size from the annotated image.
    """
    name = image_file_name(item.record.image, image_root)
    path = find_image_file(images, name)
    if path is None:
        raise ImageFileError(f"no file {name!r} in the folder of images")
    image = upright_image(path)
    if item.size_hw != (image.height, image.width):
        height, width = item.size_hw or (0, 0)
        raise ImageFileError(f"expected {name!r} to be {width}x{height}, got {image.width}x{image.height}")
    target = io.BytesIO()
    image.resize(shown_wh, Image.Resampling.LANCZOS).save(target, format="JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode("ascii")


def _shapes(pair: RegionPair, scale: float) -> str:
    """Return the outlines of a pair of regions, and the shaded pixels that are in only one of them."""
    before = "" if pair.predicted is None else _outline(pair.predicted.mask(), scale)
    after = "" if pair.annotated is None else _outline(pair.annotated.mask(), scale)
    title = f"<title>{escape_html(words_of(pair))}</title>"
    if pair.outcome == "accepted":
        return f'<g>{title}<path class="halo" d="{after}"/><path class="after" d="{after}"/></g>'
    shade = "relabelled" if pair.relabelled else "difference"
    # Even-odd over both: what lies in one of them only is filled. A new label concerns the whole region.
    area = after if pair.relabelled else f"{before}{after}"
    return (
        f'<g>{title}<path class="{shade}" fill-rule="evenodd" d="{area}"/>'
        f'<path class="halo" d="{after}"/><path class="after" d="{after}"/>'
        f'<path class="halo" d="{before}"/><path class="before" d="{before}"/></g>'
    )


def _outline(mask: Mask, scale: float) -> str:
    """Return the outlines of a mask's parts and holes as SVG path data, in shown pixels."""
    smallest = max(1, round(_SMALLEST_PART_PX / scale**2))
    rows, columns = mask_box(mask)
    if rows.start == rows.stop:
        return ""
    corner = (columns.start, rows.start)
    parts = remove_small_parts(mask[rows, columns], smallest)
    holes = remove_small_parts(fill_holes(parts) & ~parts, smallest)
    tolerance_px = 0.5 / scale
    rings = [
        ring for shape in (parts, holes) if shape.any() for ring in mask_to_polygons(shape, tolerance_px, _MAX_VERTICES)
    ]
    shown = (((ring + corner) * scale).tolist() for ring in rings)
    return "".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in ring) + "Z" for ring in shown)


def changes_of(item: Correction) -> list[str]:
    """Say in words what the person did: splits and merges by their names, then all other regions but accepted ones."""
    said, grouped = [], set()
    for found in find_regroupings(item.pairs):
        label = ", ".join(found.labels)
        said.append(
            f"{label} split into {len(found.annotated)}"
            if found.is_split
            else f"{len(found.predicted)} of {label} merged into one"
        )
        grouped |= {id(region) for region in (*found.predicted, *found.annotated)}
    others = [
        pair
        for pair in item.pairs
        if pair.outcome != "accepted" and not {id(pair.predicted), id(pair.annotated)} - {id(None)} <= grouped
    ]
    return said + [words_of(pair) for pair in others]


def words_of(pair: RegionPair) -> str:
    """Say in words what the person did to a region; the text is not escaped."""
    before = ", ".join(pair.predicted.labels) if pair.predicted is not None else ""
    after = ", ".join(pair.annotated.labels) if pair.annotated is not None else ""
    if pair.relabelled:
        return f"{before} relabelled to {after}, IoU {pair.iou:.2f}"
    if pair.outcome == "changed":
        return f"{after} changed, IoU {pair.iou:.2f}"
    return f"{after or before or 'region without a label'} {pair.outcome}"
