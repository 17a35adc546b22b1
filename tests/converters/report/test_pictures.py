"""Pictures of corrections: the right image, upright; outlines and differences where they are; what is missing said."""

import base64
import io
import re
import tracemalloc
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from PIL import Image

from converters.corrections.pairs import Correction, find_corrections
from converters.records import ImageRecord
from converters.report.pictures import PICTURE_PX, picture_of, words_of
from tests.fakes.corrections import SIZE_HW, box, corrected, region

HEIGHT, WIDTH = SIZE_HW


def correction(record: ImageRecord) -> Correction:
    (item,) = find_corrections(record)
    assert isinstance(item, Correction)
    return item


CHANGED = correction(corrected([region("a", box(0, 0, 6, 4))], [region("a", box(0, 0, 6, 6))]))


def embedded(svg: str) -> Image.Image:
    found = re.search(r"base64,([^\"]+)", svg)
    assert found
    return Image.open(io.BytesIO(base64.b64decode(found.group(1))))


def test_outlines_go_along_the_pixels_and_the_difference_is_between_them() -> None:
    svg = fromstring(picture_of(CHANGED, None).svg)
    paths = {path.get("class"): path.get("d") for path in svg.iter("path")}
    assert paths["before"] == "M0.0,0.0 4.0,0.0 4.0,6.0 0.0,6.0Z"
    assert paths["after"] == "M0.0,0.0 6.0,0.0 6.0,6.0 0.0,6.0Z"
    assert paths["difference"] == f"{paths['before']}{paths['after']}"
    assert svg.get("aria-label") == "Task 1: prediction and annotation. cat changed, IoU 0.67"


def test_holes_are_outlined_too() -> None:
    ring = np.ones((40, 40), dtype=np.bool_)
    ring[10:30, 10:30] = False
    item = correction(corrected([region("a", ring)], [region("a", ring)]))
    (after,) = [p for p in fromstring(picture_of(item, None).svg).iter("path") if p.get("class") == "after"]
    assert (after.get("d") or "").count("M") == 2


def test_a_small_region_takes_no_memory_of_its_large_image_but_its_mask() -> None:
    small = np.zeros((2000, 2000), dtype=np.bool_)
    small[1000:1040, 500:540] = True
    item = correction(corrected([region("a", small)], [region("a", small)]))
    tracemalloc.start()
    try:
        assert 'd="M160.0,320.0 172.8,320.0 172.8,332.8 160.0,332.8Z"' in picture_of(item, None).svg
        assert tracemalloc.get_traced_memory()[1] < 3 * small.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_large_images_and_noise_stay_small() -> None:
    noise = np.random.default_rng(0).random((750, 1000)) > 0.5
    item = correction(corrected([region("a", noise)], [region("a", ~noise)]))
    large = Correction(
        ImageRecord(1, "a.png", "image", size_hw=(750, 1000)), item.annotation, item.prediction, item.pairs
    )
    picture = picture_of(large, None)
    assert fromstring(picture.svg).get("viewBox") == f"0 0 {PICTURE_PX} 480"
    assert len(picture.svg) < 1_000_000


def test_what_happened_is_said_in_words() -> None:
    before = [region("a", box(0, 0, 6, 4)), region("b", box(0, 4, 6, 8)), region("c", box(0, 0, 1, 1))]
    after = [region("a", box(0, 0, 6, 4), "dog"), region("b", box(0, 4, 6, 8)), region("d", box(1, 1, 2, 2), "dog")]
    assert list(map(words_of, correction(corrected(before, after)).pairs)) == [
        "cat relabelled to dog, IoU 1.00",
        "cat accepted",
        "cat removed",
        "dog added",
    ]


def test_the_image_is_found_under_its_name_or_that_before_the_upload(tmp_path: Path) -> None:
    item = correction(corrected([], [region("a", box(0, 0, 1, 1))], image="/data/upload/1/1a2b3c4d-cat.png"))
    Image.new("RGB", (WIDTH, HEIGHT), (200, 10, 10)).save(tmp_path / "cat.png")
    picture = picture_of(item, tmp_path)
    assert picture.missing == ""
    assert embedded(picture.svg).size == (WIDTH, HEIGHT)
    red, green, _ = np.asarray(embedded(picture.svg)).mean(axis=(0, 1))
    assert red > 150 > green


def test_a_photograph_is_shown_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "1.jpg", exif=exif)
    item = correction(corrected([], [region("a", box(0, 0, 1, 1))], image="1.jpg"))
    assert embedded(picture_of(item, tmp_path).svg).size == (WIDTH, HEIGHT)


def test_without_a_folder_of_images_the_option_is_named() -> None:
    picture = picture_of(correction(corrected([], [region("a", box(0, 0, 1, 1))])), None)
    assert picture.missing == "give the folder of the images with --images"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("none.png", "no file 'none.png' in the folder of images"),
        ("../outside.png", "no file '../outside.png' in the folder of images"),
        ("text.png", "'text.png' is no image that can be read"),
        ("other.png", "expected 'other.png' to be 8x6, got 3x3"),
    ],
)
def test_what_is_missing_is_said_and_the_outlines_stand_alone(tmp_path: Path, image: str, message: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "text.png").write_text("hello")
    Image.new("RGB", (3, 3)).save(folder / "other.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "outside.png")
    picture = picture_of(correction(corrected([], [region("a", box(0, 0, 1, 1))], image=image)), folder)
    assert picture.missing.startswith(message)
    assert "<image" not in picture.svg
    assert 'class="after"' in picture.svg
