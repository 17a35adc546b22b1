import json
from collections import Counter
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image

from backend.command import segment
from backend.command.plan import Wanted, make_plan
from backend.command.prototypes import read_categories
from backend.command.segment import check_vocabulary, segment_images
from backend.errors import RequestError, UsageError
from backend.presentation.overlay import label_colours
from converters.datasets.coco_thresholds import hidden_before
from converters.selection import Thresholds
from ovdiff.bank import Bank
from ovdiff.errors import WeightsError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import FakeEngine, TogetherEngine
from tests.fakes.pictures import encoded, red_and_blue

PIXELS = 10_000


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "bank")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_bytes(encoded(red_and_blue()))
    (folder / "deep/b.jpg").write_bytes(encoded(red_and_blue(), "JPEG", quality=95))
    return folder


def test_a_folder_becomes_pictures_and_one_coco_file(
    photos: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    out, coco = tmp_path / "out", tmp_path / "masks.json"
    plan = make_plan([photos], Wanted(out, indexed=True, coco=coco))
    segment_images(plan, read_categories("blue, green, red"), engine, max_px=PIXELS)
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert files == ["a.indexed.png", "a.overlay.png", "deep/b.indexed.png", "deep/b.overlay.png"]
    indexed = Image.open(out / "a.indexed.png")
    assert (indexed.mode, indexed.size, indexed.info) == ("P", (64, 48), {"Software": "ovdiff"})
    labels = np.asarray(indexed)
    assert [labels[0, 0], labels[24, 48], labels[24, 16]] == [0, 1, 3]
    assert np.array_equal(np.asarray(indexed.convert("RGB")), label_colours(3)[labels])
    dataset = json.loads(coco.read_text())
    assert [image["file_name"] for image in dataset["images"]] == ["a.png", "deep/b.jpg"]
    assert [(a["image_id"], a["category_id"]) for a in dataset["annotations"]] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in said[:3]] == [["built", "in"]] * 3
    assert said[4].split() == ["blue", "2", "12.4%", "0.75"]
    assert said[-2:] == ["images: 2 in, 2 segmented", f"results: {out}, {coco}"]


def test_parts_become_instances_and_small_ones_are_background_everywhere(
    tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    for left, side in ((2, 10), (20, 12), (50, 3)):
        picture[4 : 4 + side, left : left + side] = (255, 0, 0)
    (tmp_path / "a.png").write_bytes(encoded(picture))
    wanted = Wanted(tmp_path / "out", indexed=True, coco=tmp_path / "masks.json", split_parts=True, min_area_px=10)
    segment_images(make_plan([tmp_path / "a.png"], wanted), read_categories("red"), engine, max_px=PIXELS)
    annotations = json.loads((tmp_path / "masks.json").read_text())["annotations"]
    assert [annotation["bbox"] for annotation in annotations] == [[2, 4, 10, 10], [20, 4, 12, 12]]
    assert np.asarray(Image.open(tmp_path / "out/a.indexed.png")).sum() == 100 + 144
    said = capsys.readouterr().out
    assert "parts smaller than 10 px dropped: 1\n" in said
    assert f"annotations in {tmp_path / 'masks.json'}: 2\n" in said


def two_reds_and_a_blue(tmp_path: Path, engine: FakeEngine) -> Path:
    """Return a picture of two red squares and a blue one; the engine gives the left red 0.4 and the others 0.75."""
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[4:14, 2:12] = picture[4:14, 20:30] = (255, 0, 0)
    picture[4:14, 40:50] = (0, 0, 255)
    (tmp_path / "a.png").write_bytes(encoded(picture))
    segment = engine.segment

    def unsure_of_the_left(image: np.ndarray, vocabulary: Vocabulary) -> Segmentation:
        found = segment(image, vocabulary)
        found.scores[:, :15] = 0.4
        return found

    engine.segment = unsure_of_the_left  # type: ignore[method-assign]
    return tmp_path / "a.png"


@pytest.mark.parametrize(
    ("split_parts", "thresholds", "pixels", "hidden"),
    [
        (False, Thresholds(0.6), {2: 100}, 1),  # red's mean is 0.575
        (False, Thresholds(0.5), {1: 200, 2: 100}, 0),
        (False, Thresholds(0.6, {"red": 0.1}), {1: 200, 2: 100}, 0),
        (False, Thresholds(0.0, {"blue": 0.8}), {1: 200}, 1),
        (True, Thresholds(0.6), {1: 100, 2: 100}, 1),
        (True, Thresholds(0.6, {"blue": 0.8}), {1: 100}, 2),
    ],
)
def test_what_is_below_its_threshold_is_background_everywhere(
    split_parts: bool,
    thresholds: Thresholds,
    pixels: dict[int, int],
    hidden: int,
    tmp_path: Path,
    engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture, coco = two_reds_and_a_blue(tmp_path, engine), tmp_path / "masks.json"
    wanted = Wanted(
        tmp_path / "out", indexed=True, coco=coco, split_parts=split_parts, min_area_px=2, thresholds=thresholds
    )
    segment_images(make_plan([picture], wanted), read_categories("red, blue"), engine, max_px=PIXELS)
    labels, counts = np.unique(np.asarray(Image.open(tmp_path / "out/a.indexed.png")), return_counts=True)
    assert dict(zip(labels[1:].tolist(), counts[1:].tolist(), strict=True)) == pixels
    dataset = json.loads(coco.read_text())
    written = Counter[int]()
    for annotation in dataset["annotations"]:
        written[annotation["category_id"]] += annotation["area"]
    assert dict(written) == pixels
    assert hidden_before(dataset).startswith(f"--min-score {thresholds.min_score}")
    assert f"masks below their threshold hidden: {hidden}\n" in capsys.readouterr().out


def test_a_threshold_of_no_category_is_refused_before_anything_runs(photos: Path, tmp_path: Path) -> None:
    plan = make_plan([photos], Wanted(tmp_path / "out", thresholds=Thresholds(of_labels={"boot": 0.5})))
    with pytest.raises(
        UsageError, match=r"expected --threshold of one of the labels .*got boot=0.5: did you mean 'boa"
    ):
        check_vocabulary(read_categories("boat, water"), plan)


def test_objects_become_instances_and_a_panoptic_dataset(
    tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[4:14, 2:12] = picture[4:16, 20:32] = picture[30:33, 50:53] = (255, 0, 0)  # the last one is too small
    picture[40:] = picture[:2] = (0, 0, 255)
    (tmp_path / "a.png").write_bytes(encoded(picture))
    wanted = Wanted(
        overlay=False,
        coco=tmp_path / "objects.json",
        min_area_px=10,
        instances=True,
        panoptic=tmp_path / "panoptic",
    )
    vocabulary = Vocabulary((Category("red"), Category("blue", kind="stuff")))
    segment_images(make_plan([tmp_path / "a.png"], wanted), vocabulary, engine, max_px=PIXELS)
    annotations = json.loads((tmp_path / "objects.json").read_text())["annotations"]
    assert [(each["category_id"], each["area"]) for each in annotations] == [(1, 100), (1, 144), (2, 640)]
    dataset = json.loads((tmp_path / "panoptic/panoptic.json").read_text())
    segments = dataset["annotations"][0]["segments_info"]
    assert [(each["category_id"], each["area"], each["isthing"]) for each in segments] == [
        (1, 100, 1),
        (1, 144, 1),
        (2, 640, 0),
    ]
    said = capsys.readouterr().out
    assert f"segments in {tmp_path / 'panoptic'}: 3\n" in said
    assert f"results: {tmp_path / 'objects.json'}, {tmp_path / 'panoptic'}\n" in said


def test_a_threshold_hides_objects_by_their_own_score(tmp_path: Path, engine: FakeEngine) -> None:
    (tmp_path / "a.png").write_bytes(encoded(red_and_blue()))
    thresholds = Thresholds(0.0, {"red": 0.9})
    wanted = Wanted(overlay=False, coco=tmp_path / "objects.json", instances=True, thresholds=thresholds)
    segment_images(make_plan([tmp_path / "a.png"], wanted), read_categories("red, blue"), engine, max_px=PIXELS)
    annotations = json.loads((tmp_path / "objects.json").read_text())["annotations"]
    assert [each["category_id"] for each in annotations] == [2]


def test_objects_of_an_engine_that_cannot_tell_them_apart_are_refused(tmp_path: Path, photos: Path) -> None:
    class Plain(FakeEngine):
        with_instances = None  # type: ignore[assignment]

    plain = Plain(tmp_path / "bank")
    plan = make_plan([photos], Wanted(overlay=False, panoptic=tmp_path / "panoptic"))
    with pytest.raises(UsageError, match="The engine 'fake' does not tell objects apart; leave out --instances"):
        segment_images(plan, read_categories("red"), plain, max_px=PIXELS)
    assert plain.built == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(overlay=False, instances=True), "--instances makes annotations of a COCO file; say with --coco FILE"),
        (
            Wanted(overlay=False, coco=Path("masks.json"), instances=True, split_parts=True),
            "--instances and --split-parts are two ways to make annotations of a mask; leave one out",
        ),
        (Wanted(overlay=False, panoptic=Path("/")), "--panoptic is '/'; expected a new or an empty folder"),
    ],
)
def test_objects_that_have_no_place_are_refused(photos: Path, wanted: Wanted, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan([photos], wanted)


def test_split_parts_needs_a_coco_file(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--split-parts makes annotations of a COCO file; say with --coco FILE"):
        make_plan([photos], Wanted(tmp_path / "out", split_parts=True))


def test_unusable_images_are_told_and_the_others_go_on(
    photos: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "aa.png").write_text("no picture")
    (photos / "large.png").write_bytes(encoded(np.zeros((200, 200, 3), dtype=np.uint8)))
    (photos / "link.png").symlink_to("gone.png")
    (photos / "notes.txt").touch()
    with pytest.raises(RequestError, match="3 of 5 images could not be segmented; they are named above"):
        segment_images(
            make_plan([photos], Wanted(tmp_path / "out", coco=tmp_path / "masks.json")),
            read_categories("red"),
            engine,
            max_px=PIXELS,
        )
    captured = capsys.readouterr()
    assert f"{photos / 'aa.png'}: 10 bytes that start with 'no picture'" in captured.err
    assert f"{photos / 'large.png'}: the picture has 200 x 200 pixels" in captured.err
    assert f"{photos / 'link.png'}: it cannot be read: No such file or directory" in captured.err
    assert "images: 5 in, 2 segmented, 3 failed\n" in captured.out
    assert "left alone: 1 .txt\n" in captured.out
    assert len(json.loads((tmp_path / "masks.json").read_text())["images"]) == 2
    assert (tmp_path / "out/deep/b.overlay.png").is_file()


def test_the_upright_picture_is_segmented(tmp_path: Path, engine: FakeEngine) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held sideways
    (tmp_path / "a.jpg").write_bytes(encoded(red_and_blue(), "JPEG", exif=exif))
    plan = make_plan([tmp_path / "a.jpg"], Wanted(overlay=False, indexed=True, coco=tmp_path / "masks.json"))
    segment_images(plan, read_categories("red"), engine, max_px=PIXELS)
    assert Image.open(tmp_path / "a.indexed.png").size == (48, 64)
    (image,) = json.loads((tmp_path / "masks.json").read_text())["images"]
    assert (image["width"], image["height"]) == (48, 64)


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """A folder of seven images, of which the third is none."""
    folder = tmp_path / "seven"
    folder.mkdir()
    for number in range(7):
        picture = np.zeros((40 + number, 30, 3), np.uint8)
        picture[10 : 20 + number, 5:15] = (255, 0, 0)
        Image.fromarray(picture).save(folder / f"{number}.png")
    (folder / "2.png").write_text("no picture")
    return folder


@pytest.mark.parametrize("too_many", [False, True])
def test_several_images_at_once_give_the_bytes_of_one_after_another(
    too_many: bool, seven: Path, tmp_path: Path, engine: FakeEngine
) -> None:
    together = TogetherEngine(engine.folder, too_many=too_many)
    written = []
    for name, asked in (("alone", engine), ("together", together)):
        plan = make_plan([seven], Wanted(tmp_path / name, coco=tmp_path / f"{name}.json"))
        with pytest.raises(RequestError, match="1 of 7 images could not be segmented"):
            segment_images(plan, read_categories("red"), asked, max_px=PIXELS)
        files = sorted((tmp_path / name).rglob("*.png"))
        written.append([path.read_bytes() for path in [*files, tmp_path / f"{name}.json"]])
    assert together.groups == [2, 3] and len(written[0]) == 7  # of 3, 3 and 1; one that is alone goes the usual way
    assert written[0] == written[1] and not together.kept


def test_images_are_read_ahead_and_results_are_written_behind(
    photos: Path, tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, segmented_second, write = Event(), Event(), segment.write_picture

    def reading(path: Path) -> bytes:
        found = path.read_bytes()
        if path.name == "b.jpg":
            read.set()
        return found

    def writing(data: bytes, path: Path) -> None:
        if path.name == "a.overlay.png":
            assert segmented_second.wait(60)  # The first is written while the second is segmented, or after it.
        write(data, path)

    def segmenting() -> None:
        if engine.segmented:
            segmented_second.set()
        else:
            assert read.wait(60)  # The second is read while the first is segmented.

    monkeypatch.setattr(segment, "read_bytes", reading)
    monkeypatch.setattr(segment, "write_picture", writing)
    engine.on_segment = segmenting
    segment_images(make_plan([photos], Wanted(tmp_path / "out")), read_categories("red"), engine, max_px=PIXELS)
    assert segmented_second.is_set() and (tmp_path / "out/a.overlay.png").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), WeightsError("no weights")])
def test_what_is_finished_is_kept(
    error: BaseException, photos: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_at_the_second() -> None:
        if engine.segmented:
            raise error

    engine.on_segment = stop_at_the_second
    plan = make_plan([photos], Wanted(tmp_path / "out", coco=tmp_path / "masks.json"))
    with pytest.raises(type(error)):
        segment_images(plan, read_categories("red"), engine, max_px=PIXELS)
    assert (tmp_path / "out/a.overlay.png").is_file()
    assert [image["file_name"] for image in json.loads((tmp_path / "masks.json").read_text())["images"]] == ["a.png"]
    assert "images: 2 in, 1 segmented, 1 not done\n" in capsys.readouterr().out


def test_a_run_without_any_result_leaves_the_coco_file_of_an_earlier_one(tmp_path: Path, engine: FakeEngine) -> None:
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "masks.json").write_text("earlier")
    plan = make_plan([tmp_path / "a.png"], Wanted(overlay=False, coco=tmp_path / "masks.json"))
    with pytest.raises(RequestError, match="1 of 1"):
        segment_images(plan, read_categories("red"), engine, max_px=PIXELS)
    assert (tmp_path / "masks.json").read_text() == "earlier"


def test_missing_prototypes_are_built_first(photos: Path, tmp_path: Path, engine: FakeEngine) -> None:
    engine.failing = frozenset({"blue"})
    plan = make_plan([photos], Wanted(tmp_path / "out"))
    with pytest.raises(RequestError, match="1 of 2 categories could not be built: blue"):
        segment_images(plan, read_categories("blue, red"), engine, max_px=PIXELS)
    assert len(Bank(engine.folder).keys()) == 1
    assert engine.segmented == 0
    assert not (tmp_path / "out").exists()


def test_an_indexed_picture_holds_only_so_many_categories(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    many = read_categories(",".join(map(str, range(256))))
    with pytest.raises(UsageError, match="at most 255 categories, got 256"):
        check_vocabulary(many, make_plan([tmp_path / "a.png"], Wanted(indexed=True)))
    check_vocabulary(many, make_plan([tmp_path / "a.png"], Wanted()))
