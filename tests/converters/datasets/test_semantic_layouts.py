"""Where label PNGs lie, and which image each belongs to."""

from pathlib import Path

import pytest

from converters.datasets.semantic_layouts import layout_of
from converters.errors import SemanticPNGError


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("labels", "mask", "image"),
    [
        ("", "masks/a/cat.png", "a/cat.jpg"),
        ("names.txt", "a/cat.png", "a/cat.jpg"),
        ("names.txt", "a/cat.PNG", "a/cat.jpg"),
        ("voc", "masks/cat.png", "cat.jpg"),
        ("voc", "SegmentationClass/1.png", "JPEGImages/1.jpg"),
        ("voc", "VOC2012/SegmentationClass/1.png", "JPEGImages/1.jpg"),
        ("voc", "VOCdevkit/VOC2012/SegmentationClass/1.png", "JPEGImages/1.jpg"),
        ("ade20k", "ADEChallengeData2016/annotations/training/ADE_1.png", "images/training/ADE_1.jpg"),
        ("cityscapes", "a/b/gtFine/val/u/u_1_gtFine_labelIds.png", "leftImg8bit/val/u/u_1_leftImg8bit.png"),
        ("ade20k", "annotations/training/ADE_1.png", "images/training/ADE_1.jpg"),
        ("cityscapes", "gtCoarse/val/u/u_1_gtCoarse_labelIds.png", "leftImg8bit/val/u/u_1_leftImg8bit.png"),
    ],
)
def test_each_mask_has_its_image(tmp_path: Path, labels: str, mask: str, image: str) -> None:
    make(tmp_path, mask)
    (file,) = layout_of(tmp_path, labels, ".jpg").files
    assert (file.image, file.path, file.objects) == (image, tmp_path / mask, None)


@pytest.mark.parametrize("root", ["", "VOC2007", "VOCdevkit/VOC2012"])
def test_the_objects_of_voc_are_found_and_taken_for_no_classes(tmp_path: Path, root: str) -> None:
    make(tmp_path / root, "SegmentationClass/1.png", "SegmentationClass/2.png", "SegmentationObject/2.png")
    files = layout_of(tmp_path, "voc", ".png").files
    assert [file.objects for file in files] == [None, tmp_path / root / "SegmentationObject" / "2.png"]


@pytest.mark.parametrize(
    ("kinds", "chosen", "labels", "holds_instances"),
    [
        (("color", "labelTrainIds", "labelIds", "instanceIds"), "instanceIds", None, True),
        (("color", "labelTrainIds", "labelIds"), "labelIds", None, False),
        (("color", "labelTrainIds"), "labelTrainIds", "cityscapes_train_ids", False),
        (("color",), "color", None, False),
    ],
)
def test_the_png_of_cityscapes_that_tells_most_is_read(
    tmp_path: Path, kinds: tuple[str, ...], chosen: str, labels: str | None, holds_instances: bool
) -> None:
    make(tmp_path, *(f"gtFine/val/u/u_1_gtFine_{kind}.png" for kind in kinds))
    layout = layout_of(tmp_path, "cityscapes", ".png")
    assert [file.name for file in layout.files] == [f"val/u/u_1_gtFine_{chosen}.png"]
    assert (layout.labels, layout.holds_instances) == (labels, holds_instances)


def test_a_folder_without_a_png_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SemanticPNGError, match=r"expected label PNGs in .* or its folder masks/, got none"):
        layout_of(tmp_path, "voc", ".png")
