from pathlib import Path

import pytest
from PIL import Image

from backend.command.files import write_png
from backend.command.plan import Wanted, make_plan, plan_report
from backend.errors import UsageError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder a.png, notes.txt, .hidden.png, deep/b.JPG, deep/down/c.webp."""
    folder = tmp_path / "photos"
    for name in ("a.png", "notes.txt", ".hidden.png", "deep/b.JPG", "deep/down/c.webp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_folder_keeps_its_structure(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = make_plan([photos], Wanted(out, indexed=True))
    assert [job.name for job in plan.jobs] == ["a.png", "deep/b.JPG", "deep/down/c.webp"]
    assert [job.overlay for job in plan.jobs] == [
        out / "a.overlay.png", out / "deep/b.overlay.png", out / "deep/down/c.overlay.png"
    ]  # fmt: skip
    assert plan.jobs[1].indexed == out / "deep/b.indexed.png"
    assert plan.left_out == {".txt": 1, ".png": 1}
    assert plan.places() == (out,)
    assert not out.exists()


def test_images_get_their_pictures_beside_them(tmp_path: Path) -> None:
    images = [touch(tmp_path / "one/x.png"), touch(tmp_path / "two/x.jpg")]
    plan = make_plan(images, Wanted())
    assert [job.overlay for job in plan.jobs] == [tmp_path / "one/x.overlay.png", tmp_path / "two/x.overlay.png"]
    assert plan.places() == (tmp_path / "one", tmp_path / "two")


def test_the_only_picture_of_the_only_image_may_have_a_name(tmp_path: Path) -> None:
    image = touch(tmp_path / "x.jpg")
    named = tmp_path / "mask.PNG"
    assert make_plan([image], Wanted(named)).jobs[0].written == (named,)
    assert make_plan([image], Wanted(named, overlay=False, indexed=True)).jobs[0].indexed == named
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert make_plan([image], Wanted(folder)).jobs[0].overlay == folder / "x.overlay.png"


def test_a_coco_file_may_lie_in_the_folder_of_results_that_is_still_to_be_made(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    assert make_plan([photos], Wanted(out=out, coco=out / "sub/masks.json")).coco == out / "sub/masks.json"


def test_results_go_where_they_can_be_written(photos: Path, tmp_path: Path) -> None:
    """The masks of a whole run were lost when its COCO file could not be written at the end."""
    for option, wanted in (
        ("--coco", Wanted(overlay=False, coco=Path("/proc/masks.json"))),
        ("--panoptic", Wanted(overlay=False, panoptic=Path("/proc/new"))),
        ("--out", Wanted(Path("/proc/pictures"))),
    ):
        assert f"{option} is '/proc/" in refusal([photos], wanted)


def test_a_photograph_is_not_replaced_by_the_picture_of_another(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (2, 2)).save(other)
    assert "did not draw; it would be replaced" in refusal([photos / "a.png"], Wanted(other))
    write_png(Image.new("RGB", (2, 2)), other)
    assert make_plan([photos / "a.png"], Wanted(other)).jobs[0].overlay == other


def test_a_coco_file_alone_needs_no_folder(photos: Path, tmp_path: Path) -> None:
    plan = make_plan([photos], Wanted(overlay=False, coco=tmp_path / "masks.json"))
    assert [job.written for job in plan.jobs] == [(), (), ()]
    assert plan.places() == (tmp_path / "masks.json",)


def test_results_inside_the_folder_of_images_are_no_images_of_the_next_run(photos: Path) -> None:
    touch(photos / "masks/a.overlay.png")
    assert len(make_plan([photos], Wanted(photos / "masks")).jobs) == 3


def test_pictures_of_earlier_runs_are_no_images_wherever_they_lie(photos: Path, tmp_path: Path) -> None:
    """A second run over the same folder took the overlays of the first for images."""
    drawn = [photos / "a.overlay.png", photos / "older/a.indexed.png"]
    for path in drawn:
        write_png(Image.new("RGB", (2, 2)), path)
    plan = make_plan([photos], Wanted(tmp_path / "out"))
    assert [job.name for job in plan.jobs] == ["a.png", "deep/b.JPG", "deep/down/c.webp"]
    assert plan.left_out["drawn by ovdiff"] == 2
    assert [job.name for job in make_plan([photos / "a.png", *drawn], Wanted()).jobs] == ["a.png"]
    assert refusal([drawn[0]], Wanted()) == (
        "There is no image to segment, but 1 drawn by ovdiff; name the image that it was drawn from."
    )
    assert ", but 1 drawn by ovdiff." in refusal([photos / "older"], Wanted(tmp_path / "out"))


def refusal(inputs: list[Path], wanted: Wanted) -> str:
    with pytest.raises(UsageError) as caught:
        make_plan(inputs, wanted)
    return str(caught.value)


def test_what_is_missing_is_named(photos: Path, tmp_path: Path) -> None:
    assert refusal([tmp_path / "gone.png"], Wanted()).startswith("There is no image or folder")
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refusal([tmp_path / "empty"], Wanted(tmp_path / "out"))
    assert refusal([photos], Wanted()).startswith("Say with --out where")
    assert "in a folder that exists" in refusal([photos / "a.png"], Wanted(coco=tmp_path / "gone/masks.json"))


def test_a_folder_of_results_that_is_none_is_refused(photos: Path, tmp_path: Path) -> None:
    image = photos / "a.png"
    assert "the folder of the images" in refusal([photos], Wanted(photos / "deep" / ".."))
    for out in (tmp_path / "new.jpg", photos / "notes.txt"):
        assert "expected a folder" in refusal([image], Wanted(out))
    assert "expected a folder" in refusal([photos], Wanted(tmp_path / "new.png"))
    assert "expected a folder" in refusal([image], Wanted(tmp_path / "new.png", indexed=True))


def test_results_that_would_overwrite_one_another_are_refused(tmp_path: Path) -> None:
    png, jpg = touch(tmp_path / "one/x.png"), touch(tmp_path / "one/x.jpg")
    other = touch(tmp_path / "two/x.png")
    assert "would both write" in refusal([png, jpg], Wanted())
    assert "would both write" in refusal([png, other], Wanted(tmp_path / "out"))
    assert "would both write" in refusal([png, png], Wanted())
    assert "name the folder that holds both" in refusal([png, other], Wanted(coco=tmp_path / "masks.json"))
    overlay = tmp_path / "out.png"
    assert "would both write" in refusal([png], Wanted(overlay, coco=overlay))


def test_no_image_of_the_run_is_overwritten(tmp_path: Path) -> None:
    image, earlier = touch(tmp_path / "x.png"), touch(tmp_path / "x.overlay.png")
    assert "would be overwritten by the result of" in refusal([image, earlier], Wanted())
    Image.new("RGB", (2, 2)).save(image)
    assert "would be overwritten" in refusal([image], Wanted(image))
    assert "would be overwritten" in refusal([image], Wanted(coco=image))


def test_links_do_not_lead_out_of_the_folder_of_results(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (out / "deep").symlink_to(tmp_path / "elsewhere")
    assert "behind a link that leads out of" in refusal([photos], Wanted(out))


def test_images_of_one_name_are_refused_where_a_result_is_known_by_the_name(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "first/a.png"), touch(tmp_path / "second/a.png")
    with pytest.raises(UsageError, match=r"'a\.png' would be the name of two images in the result"):
        plan_report([first, second])
    assert [job.name for job in plan_report([tmp_path]).jobs] == ["first/a.png", "second/a.png"]
