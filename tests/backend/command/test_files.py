import os
from pathlib import Path

import pytest
from PIL import Image

from backend.command.files import check_png_path, is_own_picture, require_writable, write_png
from backend.errors import RequestError, UsageError

RED = Image.new("RGB", (2, 2), "red")


def test_a_picture_replaces_an_older_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "red.png"
    write_png(Image.new("RGB", (5, 5)), path)
    write_png(RED, path)
    assert Image.open(path).size == (2, 2)
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match=r"Cannot write .*file/red\.png"):
        write_png(RED, tmp_path / "file" / "red.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(RequestError, match=r"Cannot write .*taken\.png"):
        write_png(RED, tmp_path / "taken.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.png"]


def test_what_a_killed_run_of_the_same_process_number_left_does_not_stop_the_next(tmp_path: Path) -> None:
    (tmp_path / f".red.png.{os.getpid()}.partial").mkdir()  # in a container every run may have this number
    write_png(RED, tmp_path / "red.png")
    assert Image.open(tmp_path / "red.png").size == (2, 2)


def test_a_device_is_not_replaced_by_a_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match=r"Cannot write .*pipe: .*a device has this name: name a file"):
        write_png(RED, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_a_place_in_which_nothing_can_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    """It was noticed when hours of work were done, and their result was lost."""
    (tmp_path / "file").touch()
    with pytest.raises(
        UsageError, match=r"--out is '.*/file/a/b\.json', and nothing can be written in '.*/file': Not a dir"
    ):
        require_writable("--out", tmp_path / "file" / "a" / "b.json")
    with pytest.raises(UsageError, match=r"--picture is '/proc/new/a\.png', and nothing can be written in '/proc': "):
        check_png_path("--picture", Path("/proc/new/a.png"))
    require_writable("--out", tmp_path / "new" / "folder" / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_photograph_is_not_replaced_by_a_picture(tmp_path: Path) -> None:
    """Whoever took --out for the image that is looked at lost it."""
    photograph, drawn, empty = (tmp_path / name for name in ("photograph.png", "drawn.png", "empty.png"))
    RED.save(photograph)
    write_png(RED, drawn)
    empty.touch()  # as `mktemp` makes it
    with pytest.raises(UsageError, match=r"--out is '.*photograph\.png', a file that ovdiff did not draw; it would be"):
        check_png_path("--out", photograph)
    for path in (drawn, empty, tmp_path / "new.png"):
        check_png_path("--out", path)


def test_what_was_drawn_here_is_known_again(tmp_path: Path) -> None:
    palette = Image.new("P", (900, 900))
    palette.putpalette(bytes(range(256)) * 3)
    for name, picture in (("rgb.png", RED), ("palette.png", palette)):
        write_png(picture, tmp_path / name)
        assert is_own_picture(tmp_path / name)
    RED.save(tmp_path / "theirs.overlay.png")
    (tmp_path / "text.png").write_bytes(b"tEXtSoftware\0ovdiff")
    os.mkfifo(tmp_path / "pipe.png")  # as of a shell's <(...)
    for name in ("theirs.overlay.png", "text.png", "missing.png", "pipe.png"):
        assert not is_own_picture(tmp_path / name)
