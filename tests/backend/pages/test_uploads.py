import gc
import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from werkzeug.datastructures import FileStorage

from backend.errors import ImageWaitError, RequestError
from backend.pages.uploads import UploadedObject
from backend.sources.pixel_room import PixelRoom


def file(pixels: np.ndarray | bytes, name: str = "folder/boat.png") -> FileStorage:
    if isinstance(pixels, bytes):
        return FileStorage(io.BytesIO(pixels), filename=name)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return FileStorage(io.BytesIO(data.getvalue()), filename=name)


RED = np.full((4, 6, 3), (255, 0, 0), dtype=np.uint8)
MASK = np.zeros((4, 6), dtype=np.uint8)
MASK[1:3, 2:4] = 255


def test_an_image_and_its_mask_are_read_as_often_as_they_are_needed() -> None:
    found = UploadedObject(file(RED), file(MASK), PixelRoom(100), max_px=24)
    for _ in range(2):
        with found.opened() as (image, mask):
            assert (image == RED).all() and (mask == (MASK > 0)).all()
    assert found.name == "boat.png"


@pytest.mark.parametrize("missing", [None, FileStorage(io.BytesIO(b""), filename="")])
def test_a_missing_file_is_named(missing: FileStorage | None) -> None:
    with pytest.raises(RequestError, match=r"The form lacks an image\. Choose a file"):
        UploadedObject(missing, file(MASK), PixelRoom(100), max_px=24)
    with pytest.raises(RequestError, match="The form lacks a mask, a PNG that is white"):
        UploadedObject(file(RED), missing, PixelRoom(100), max_px=24)


def test_limits_hold_and_messages_name_the_file_of_the_person() -> None:
    def refused(image: FileStorage, mask: FileStorage, max_px: int = 24) -> str:
        with pytest.raises(RequestError) as raised:
            UploadedObject(image, mask, PixelRoom(100), max_px=max_px)
        return str(raised.value)

    small = np.zeros((1, 1, 3), dtype=np.uint8)
    said = refused(file(RED), file(MASK), 23)
    assert said.startswith("The image 'boat.png' cannot be used: the picture has 6 x 4 pixels, more than 23")
    said = refused(file(small), file(MASK, "mask.png"), 23)
    assert said.startswith("The mask 'mask.png' cannot be used: the picture has 6 x 4 pixels")
    assert "are no picture in one of" in refused(file(b"hello"), file(MASK))
    damaged = file(RED).stream.read()[:50]
    assert refused(file(damaged), file(MASK)).startswith("The image 'boat.png' cannot be used: the picture is damaged")
    said = refused(file(RED), file(RED, "mask.png"))
    assert "The mask 'mask.png' has colours" in said, "and not the folder of a temporary file"


def test_what_does_not_fit_beside_the_images_in_memory_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.pages.uploads.ROOM_WITHIN_S", 0.0)
    room = PixelRoom(60)
    with room.taken(30), pytest.raises(RequestError, match="other images in work left no room for its 48 pixels"):
        UploadedObject(file(RED), file(MASK), room, max_px=24)
    found = UploadedObject(file(RED), file(MASK), room, max_px=24)
    with room.taken(60, within_s=0.0), pytest.raises(RequestError, match="other images in work"), found.opened():
        pass
    with found.opened(), pytest.raises(ImageWaitError), room.taken(30, within_s=0.0):
        pass
    with room.taken(60, within_s=0.0):
        pass


def test_what_waits_for_its_turn_takes_no_memory_and_no_room() -> None:
    """Of an image of 3 MB and its mask nothing is left in memory, and their files vanish with them."""
    pixels = np.zeros((1000, 1000, 3), dtype=np.uint8)
    files = file(pixels), file(pixels[..., 0])
    gc.collect()
    room, before = PixelRoom(2_000_000), open_files()
    tracemalloc.start()
    try:
        found = UploadedObject(*files, room, max_px=10**6)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
    assert open_files() == before + 2
    with room.taken(2_000_000, within_s=0.0):
        del found
    gc.collect()
    assert open_files() == before


def open_files() -> int:
    """Return how many files without a name this process has open."""
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208  # numbers
    return sum(link.is_symlink() and str(link.readlink()).endswith("(deleted)") for link in links)


def test_a_file_that_cannot_be_kept_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(RequestError, match=r"'boat.png' cannot be kept until it is used .* Make room"):
        UploadedObject(file(RED), file(MASK), PixelRoom(100), max_px=24)
