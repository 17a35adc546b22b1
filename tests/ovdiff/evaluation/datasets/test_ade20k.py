"""ADE20K in folders of its layouts: the benchmark, the full archive, and what MaskFormer makes of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN
from ovdiff.evaluation.datasets.ade20k import ADE20K, ADE847, CATEGORIES_150, CATEGORIES_847
from tests.ovdiff.evaluation.made import values, write_image, write_labels, write_text

WALL, ADDING_MACHINE = 2978, 3148


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    for number in (1, 2):
        write_image(tmp_path / f"ADEChallengeData2016/images/validation/ADE_val_0000000{number}.jpg")
        path = tmp_path / f"ADEChallengeData2016/annotations/validation/ADE_val_0000000{number}.png"
        write_labels(path, values((0, 1, 150)))
    return tmp_path


def _write_full(folder: Path) -> None:
    """Write an image of the full archive: wall, adding machine, a class that is none of the 847, and nothing."""
    numbers = values((WALL, ADDING_MACHINE, 2, 0), dtype=np.int32)
    colours = np.stack((numbers // 256 * 10, numbers % 256, np.full_like(numbers, 7)), axis=-1).astype(np.uint8)
    scene = folder / "images/ADE/validation/urban/street"
    write_image(scene / "ADE_val_00000001.jpg")
    Image.fromarray(colours).save(scene / "ADE_val_00000001_seg.png")
    write_image(scene / "ADE_val_00000001_parts_1.png")


def test_there_are_150_and_847_categories() -> None:
    assert (len(CATEGORIES_150), len(CATEGORIES_847)) == (150, 847)
    assert (CATEGORIES_150[0].name, CATEGORIES_150[149].name) == ("wall", "flag")
    assert next(each.phrases for each in CATEGORIES_150 if each.name == "tank") == ("liquid tank",)
    assert (CATEGORIES_847[0].name, CATEGORIES_847[0].prompts) == ("wall", ())
    assert CATEGORIES_847[846].phrases == ("adding machine", "totalizer", "totaliser")


def test_zero_is_void(benchmark: Path) -> None:
    opened = ADE20K.open(benchmark)
    assert opened.images == ("ADE_val_00000001", "ADE_val_00000002")
    label_map = opened.read("ADE_val_00000001").truth.label_map
    np.testing.assert_array_equal(label_map, values((UNKNOWN, 1, 150), dtype=np.int32))


def test_the_folder_itself_is_taken_and_an_empty_one_refused(benchmark: Path, tmp_path: Path) -> None:
    assert ADE20K.open(benchmark / "ADEChallengeData2016").images
    with pytest.raises(DatasetError, match=r"neither ADEChallengeData2016/annotations/validation nor .*sceneparsing"):
        ADE20K.open(benchmark / "ADEChallengeData2016/images")


@pytest.mark.parametrize(
    "gone", ["images/validation/ADE_val_00000002.jpg", "annotations/validation/ADE_val_00000002.png"]
)
def test_an_image_without_labels_and_labels_without_an_image_are_missed(benchmark: Path, gone: str) -> None:
    (benchmark / "ADEChallengeData2016" / gone).unlink()
    folder, _, name = gone.rpartition("/")
    with pytest.raises(DatasetError, match=rf"1 of 2 files are missing in '.*{folder}'; the first is {name}\. Was an"):
        ADE20K.open(benchmark)


def test_files_of_macos_are_no_images(benchmark: Path) -> None:
    write_text(benchmark / "ADEChallengeData2016/annotations/validation/._ADE_val_00000001.png", "")
    assert len(ADE20K.open(benchmark).images) == 2


def test_the_full_archive_is_read_as_it_is_and_says_that_its_images_are_larger(tmp_path: Path) -> None:
    _write_full(tmp_path / "ADE20K_2021_17_01")
    opened = ADE847.open(tmp_path)
    assert "full size" in opened.notes[0]
    assert opened.truth == "full size"
    assert opened.images == ("urban/street/ADE_val_00000001",)
    label_map = opened.read(opened.images[0]).truth.label_map
    np.testing.assert_array_equal(label_map, values((1, 847, UNKNOWN, UNKNOWN), dtype=np.int32))


def test_what_maskformer_makes_of_it_goes_first(tmp_path: Path) -> None:
    _write_full(tmp_path)
    write_image(tmp_path / "images_detectron2/validation/ADE_val_00000001.jpg")
    labels = values((0, 846, 65535), dtype=np.uint16)
    write_labels(tmp_path / "annotations_detectron2/validation/ADE_val_00000001.tif", labels)
    opened = ADE847.open(tmp_path)
    assert opened.images == ("ADE_val_00000001",)
    assert all("full size" not in note for note in opened.notes)
    assert opened.truth == "512 px"
    label_map = opened.read("ADE_val_00000001").truth.label_map
    np.testing.assert_array_equal(label_map, values((1, 847, UNKNOWN), dtype=np.int32))
