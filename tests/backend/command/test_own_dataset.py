"""Labelled images of one's own: the same scenes in every form give the same truth."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from backend.command.own_dataset import OwnDataset
from converters.datasets.coco import write_coco_file
from converters.datasets.panoptic import write_panoptic
from converters.datasets.semantic_png import write_semantic_png
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.tasks import write_tasks
from converters.records import Annotation, DatasetCategory, ImageRecord, Region
from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN, Dataset
from ovdiff.evaluation.result import read_result

SIZE_HW = (6, 8)
CATEGORIES = (DatasetCategory(1, "boat", "thing"), DatasetCategory(2, "sky", "stuff"))
CONFIG = """<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">
<Label value="boat" category="1" kind="thing"/><Label value="sky" category="2" kind="stuff"/></BrushLabels></View>"""


def _mask(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SIZE_HW, dtype=bool)
    mask[rows, columns] = True
    return mask


BOATS = (_mask(slice(3, 5), slice(0, 2)), _mask(slice(3, 5), slice(4, 6)))
SKY = _mask(slice(0, 2), slice(None))
LEFT = _mask(slice(None), slice(0, 3))
LABELS = np.where(SKY, 2, np.where(BOATS[0] | BOATS[1], 1, 0))


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """Return the records of two images, of which the second shows nothing; the images are in a folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", SIZE_HW[::-1], "red").save(folder / name)
    regions = tuple(
        Region(str(place), (name,), "brush", mask_to_coco_rle(mask))
        for place, (name, mask) in enumerate(
            [("boat", BOATS[0]), ("boat", BOATS[1]), ("sky", SKY & LEFT), ("sky", SKY & ~LEFT)]
        )
    )
    return [
        ImageRecord(1, "a.png", "image", size_hw=SIZE_HW, annotations=(Annotation(1, regions),)),
        ImageRecord(2, "b.png", "image", size_hw=SIZE_HW, annotations=(Annotation(2, ()),)),
    ]


def _coco(records: list[ImageRecord], folder: Path) -> OwnDataset:
    write_coco_file(records, CATEGORIES, folder / "coco.json", size_of=lambda _: SIZE_HW)
    return OwnDataset(folder / "coco.json", folder / "images")


def _panoptic(records: list[ImageRecord], folder: Path) -> OwnDataset:
    write_panoptic(records, CATEGORIES, folder / "panoptic", size_of=lambda _: SIZE_HW)
    return OwnDataset(folder / "panoptic", folder / "images")


def _label_pngs(records: list[ImageRecord], folder: Path) -> OwnDataset:
    write_semantic_png(records, CATEGORIES, folder / "pngs", size_of=lambda _: SIZE_HW)
    return OwnDataset(folder / "pngs", folder / "images")


def _label_studio(records: list[ImageRecord], folder: Path) -> OwnDataset:
    write_tasks(records, parse_label_config(CONFIG), folder / "export.json")
    (folder / "config.xml").write_text(CONFIG)
    return OwnDataset(folder / "export.json", folder / "images", label_config=folder / "config.xml")


FORMS: dict[str, Callable[[list[ImageRecord], Path], OwnDataset]] = {
    "coco": _coco,
    "panoptic": _panoptic,
    "label_pngs": _label_pngs,
    "label_studio": _label_studio,
}


@pytest.fixture(params=sorted(FORMS))
def opened(request: pytest.FixtureRequest, records: list[ImageRecord], tmp_path: Path) -> tuple[str, Dataset]:
    return request.param, FORMS[request.param](records, tmp_path)()


def test_the_same_scene_has_the_same_labels_in_every_form(opened: tuple[str, Dataset]) -> None:
    form, dataset = opened
    # A COCO file does not say whether a word is a thing or stuff: as everywhere, the engine decides.
    kind = None if form == "coco" else "thing"
    assert (dataset.vocabulary.names[0], dataset.vocabulary.categories[0].kind) == ("boat", kind)
    first = dataset.read(dataset.images[0])
    nothing = UNKNOWN if form == "panoptic" else 0
    np.testing.assert_array_equal(first.truth.label_map, np.where(LABELS == 0, nothing, LABELS))
    assert first.image.shape == (*SIZE_HW, 3)
    assert dataset.counts_background == (form != "panoptic")
    assert len(dataset.images) == 2
    assert (dataset.read(dataset.images[1]).truth.label_map == nothing).all()


def test_segments_and_objects_are_there_where_the_form_has_them(opened: tuple[str, Dataset]) -> None:
    form, dataset = opened
    truth = dataset.read(dataset.images[0]).truth
    assert (
        dataset.measures
        == {
            "coco": {"semantic", "instances"},
            "panoptic": {"semantic", "panoptic"},
            "label_pngs": {"semantic"},
            "label_studio": {"semantic", "panoptic", "instances"},
        }[form]
    )
    assert (truth.segments is not None) == ("panoptic" in dataset.measures)
    assert (truth.objects is not None) == ("instances" in dataset.measures)
    if truth.segments is not None:
        assert sorted(truth.segments.categories) == [1, 1, 2]  # the two parts of the sky are one segment
    if truth.objects is not None and form == "label_studio":
        assert [each.label for each in truth.objects] == [1, 1]
        for each, mask in zip(truth.objects, BOATS, strict=True):
            np.testing.assert_array_equal(each.mask, mask)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_it_can_be_opened_in_another_process(form: str, records: list[ImageRecord], tmp_path: Path) -> None:
    source = FORMS[form](records, tmp_path)
    assert pickle.loads(pickle.dumps(source))().images == source().images


def test_pixels_that_do_not_count_are_unknown(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _label_pngs(records, tmp_path)
    mask = next((tmp_path / "pngs/masks").rglob("a.png"))
    values = np.array(Image.open(mask))
    values[5] = 255
    Image.fromarray(values).save(mask)
    content = json.loads((tmp_path / "pngs/labels.json").read_text())
    content["labels"] += [{"value": 255, "name": "void", "kind": "void"}]
    (tmp_path / "pngs/labels.json").write_text(json.dumps(content))
    dataset = source()
    assert dataset.vocabulary.names == ("boat", "sky")
    label_map = dataset.read("a.png").truth.label_map
    assert (label_map[5] == UNKNOWN).all()
    np.testing.assert_array_equal(label_map[:5], LABELS[:5])


def test_a_crowd_is_told(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _panoptic(records, tmp_path)
    path = tmp_path / "panoptic/panoptic.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"][1]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    truth = source().read("a.png").truth
    assert truth.segments is not None
    assert len(truth.crowds) == 1
    assert truth.segments.categories[min(truth.crowds) - 1] in (1, 2)


def test_labels_of_the_layout_of_a_known_dataset_are_read(tmp_path: Path) -> None:
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        (tmp_path / folder).mkdir()
        Image.new("P" if suffix == ".png" else "RGB", (8, 6), 0).save(tmp_path / folder / f"a{suffix}")
    dataset = OwnDataset(tmp_path, labels="voc")()
    assert len(dataset.vocabulary.categories) == 20
    assert dataset.counts_background
    assert (dataset.read(dataset.images[0]).truth.label_map == 0).all()


def test_the_image_of_a_label_png_may_have_another_suffix(tmp_path: Path) -> None:
    for folder in ("masks", "images"):
        (tmp_path / folder).mkdir()
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "masks/a.png")
    Image.new("RGB", SIZE_HW[::-1]).save(tmp_path / "images/a.jpg")
    (tmp_path / "list.txt").write_text("background\nboat\nsky\n")
    dataset = OwnDataset(tmp_path, tmp_path / "images", labels=str(tmp_path / "list.txt"))()
    np.testing.assert_array_equal(dataset.read(dataset.images[0]).truth.label_map, LABELS)


def test_an_image_that_is_not_there_is_named(records: list[ImageRecord], tmp_path: Path) -> None:
    dataset = _coco(records, tmp_path)()
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(
        DatasetError, match=r"a.png: the image 'a.png' is not in '.*images'; name the folder .* --images"
    ):
        dataset.read("a.png")
    with pytest.raises(DatasetError, match=r"There is no image 'c.png'; the first is 'a.png'"):
        dataset.read("c.png")


def test_an_image_of_another_size_is_named(records: list[ImageRecord], tmp_path: Path) -> None:
    dataset = _coco(records, tmp_path)()
    Image.new("RGB", (4, 4)).save(tmp_path / "images/a.png")
    with pytest.raises(DatasetError, match=r"a.png: expected a mask of shape \(4, 4\), got \(6, 8\)"):
        dataset.read("a.png")


def test_a_truth_that_is_damaged_is_no_truth(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _coco(records, tmp_path)
    content = json.loads(source.path.read_text())
    content["annotations"][0]["segmentation"] = {"size": [6, 8], "counts": [7]}
    source.path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"a.png: its labels cannot be read whole: "):
        source().read("a.png")


def test_what_a_model_found_is_no_truth(records: list[ImageRecord], tmp_path: Path) -> None:
    """It was said of each image that it has no labels."""
    source = _coco(records, tmp_path)
    content = json.loads(source.path.read_text())
    for annotation in content["annotations"]:
        annotation["score"] = 0.5
    source.path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"a.png: its annotations have scores, so a model found them"):
        source().read("a.png")


ANSWERS = """<Choices name="how" toName="image"><Choice value="partial"/><Choice value="whole"/></Choices>
<RectangleLabels name="box" toName="image"><Label value="boat"/></RectangleLabels></View>"""


def _export(tmp_path: Path, records: list[ImageRecord], *results: dict[str, object]) -> OwnDataset:
    """Write an export, and add some results to the annotation of its first image."""
    source = _label_studio(records, tmp_path)
    (tmp_path / "config.xml").write_text(CONFIG.replace("</View>", ANSWERS))
    tasks = json.loads(source.path.read_text())
    common = {"to_name": "image", "original_width": 8, "original_height": 6, "image_rotation": 0}
    tasks[0]["annotations"][0]["result"] += [{**common, **result} for result in results]
    source.path.write_text(json.dumps(tasks))
    return source


def test_what_a_partial_annotation_leaves_out_is_unknown(records: list[ImageRecord], tmp_path: Path) -> None:
    says = {"id": "x", "from_name": "how", "type": "choices", "value": {"choices": ["partial"]}}
    dataset = _export(tmp_path, records, says)()
    first, second = (dataset.read(name).truth for name in dataset.images)
    np.testing.assert_array_equal(first.label_map, np.where(LABELS == 0, UNKNOWN, LABELS))
    assert first.objects is None, "what is found elsewhere may be right"
    assert (second.label_map == 0).all() and second.objects == (), "the other one does not say so"
    every = replace(_label_studio(records, tmp_path), partial=True)()
    assert (every.read(every.images[1]).truth.label_map == UNKNOWN).all()


def test_what_a_box_shows_is_unknown_but_where_an_outline_says_it(records: list[ImageRecord], tmp_path: Path) -> None:
    place = {"x": 0, "y": 50, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["boat"]}
    box = {"id": "x", "from_name": "box", "type": "rectanglelabels", "value": place}
    truth = (dataset := _export(tmp_path, records, box)()).read(dataset.images[0]).truth
    inside = _mask(slice(3, 6), slice(0, 4))
    np.testing.assert_array_equal(truth.label_map, np.where(inside & ~BOATS[0], UNKNOWN, LABELS))
    assert truth.objects is not None and [each.is_crowd for each in truth.objects] == [False, False, True]


def _turned(path: Path) -> None:
    """Save a picture that is stored 6 wide and 8 high, and shown 8 wide and 6 high."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE_HW, "red").save(path, exif=exif)


def test_a_turned_image_is_upright_where_its_labels_are(records: list[ImageRecord], tmp_path: Path) -> None:
    _turned(tmp_path / "images/a.png")
    for form in ("coco", "label_studio"):
        dataset = FORMS[form](records, tmp_path)()
        assert dataset.read(dataset.images[0]).size_hw == SIZE_HW, form


def test_a_turned_image_is_read_as_stored_where_coco_labels_that(records: list[ImageRecord], tmp_path: Path) -> None:
    _turned(tmp_path / "images/a.png")
    turned = mask_to_coco_rle(np.ascontiguousarray(BOATS[0].T))
    regions = (Region("0", ("boat",), "brush", turned),)
    stored = ImageRecord(1, "a.png", "image", size_hw=SIZE_HW[::-1], annotations=(Annotation(1, regions),))
    labelled = _coco([stored], tmp_path)().read("a.png")
    assert labelled.size_hw == SIZE_HW[::-1]
    np.testing.assert_array_equal(labelled.truth.label_map, BOATS[0].T)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_other_labels_are_another_truth(form: str, records: list[ImageRecord], tmp_path: Path) -> None:
    source = FORMS[form](records, tmp_path)
    before = source().truth
    assert before == source().truth != replace(source, partial=True)().truth
    if source.path.is_dir():
        png = next(source.path.rglob("a.png"), None) or next(source.path.rglob("*.png"))
        size = png.stat().st_size
        png.write_bytes(png.read_bytes()[:-1] + b"x")  # as a corrected label often has, the same size
        assert png.stat().st_size == size
    else:
        source.path.write_text(source.path.read_text() + " ")
    assert source().truth != before


def test_other_meanings_of_the_values_are_another_truth(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _label_pngs(records, tmp_path)
    before = source().truth
    listed = tmp_path / "pngs/labels.json"
    listed.write_text(listed.read_text() + " ")
    assert source().truth != before


def test_a_dataset_of_ones_own_is_not_taken_for_a_known_one(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _label_pngs(records, tmp_path)
    assert source().name == "pngs"
    assert replace(source, path=source.path.rename(tmp_path / "voc21"))().name == "voc21 (own)"


def _changed(path: Path, change: Callable[[dict[str, list[dict[str, object]]]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_two_images_of_one_file_name_are_refused(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _coco(records, tmp_path)
    _changed(source.path, lambda content: content["images"][1].update(file_name="a.png"))
    with pytest.raises(DatasetError, match=r"coco.json' lists two images of the file name 'a.png'. Each image needs"):
        source()


def test_categories_of_one_name_are_one_with_a_note(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _coco(records, tmp_path)
    assert source().notes == ()
    _changed(source.path, lambda content: content["categories"][1].update(name="boat"))
    dataset = source()
    assert dataset.notes == ("2 categories of the file have the name 'boat'; they were evaluated as one.",)
    assert dataset.vocabulary.names == ("boat",)
    np.testing.assert_array_equal(dataset.read("a.png").truth.label_map, LABELS > 0)


def test_a_category_called_background_is_refused(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _coco(records, tmp_path)
    _changed(source.path, lambda content: content["categories"][1].update(name="background"))
    with pytest.raises(DatasetError, match=r"coco.json' has a category 'background', which is also .* Rename it, or"):
        source()
    panoptic = _panoptic(records, tmp_path)
    _changed(panoptic.path / "panoptic.json", lambda content: content["categories"][1].update(name="background"))
    assert panoptic().vocabulary.names == ("boat", "background"), "every pixel has a segment, so nothing else is"


@pytest.mark.parametrize("content", ["[]", "no JSON", '{"images": []}'])
def test_what_is_no_dataset_is_refused_with_the_forms(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(
        DatasetError, match=r"x.json' cannot be read as a dataset: .* Give a COCO or COCO panoptic file"
    ):
        OwnDataset(tmp_path / "x.json")()
    with pytest.raises(DatasetError, match=r"cannot be read as a dataset: .*labels.json.* Give a COCO"):
        OwnDataset(tmp_path)()


def test_an_export_that_nobody_labelled_is_refused(records: list[ImageRecord], tmp_path: Path) -> None:
    source = _label_studio(records, tmp_path)
    source.path.write_text('[{"id": 1, "data": {"image": "a.png"}, "annotations": []}]')
    with pytest.raises(DatasetError, match=r"export.json' has no image with labels"):
        source()


@pytest.mark.slow
def test_the_command_takes_a_path_and_other_words(
    records: list[ImageRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = _coco(records, tmp_path)
    (tmp_path / "words.txt").write_text("boat,ship\nsky\n")
    command = ["evaluate", str(source.path), "--root", "images", "--preset", "odise_tinyworld", "--names", "words.txt"]
    assert cli.main(command) == 0
    assert "2 images of coco" in capsys.readouterr().out
    result = read_result(tmp_path / "evaluations/coco-odise_tinyworld")
    assert [each["prompts"] for each in result.categories] == [["boat", "ship"], ["sky"]]
    assert cli.main(["evaluate", "nowhere.json"]) != 0
    assert "There is no dataset 'nowhere.json'. Known: ade-panoptic" in capsys.readouterr().err
