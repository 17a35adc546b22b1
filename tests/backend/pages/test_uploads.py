import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from werkzeug.datastructures import FileStorage

from backend.errors import RequestError
from backend.pages.uploads import uploaded_image, uploaded_mask
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


def test_an_image_and_its_mask_are_read() -> None:
    image, name = uploaded_image(file(RED), PixelRoom(100), max_px=24)
    assert (image == RED).all() and name == "boat.png"
    assert (uploaded_mask(file(MASK), PixelRoom(100), max_px=24) == (MASK > 0)).all()


@pytest.mark.parametrize("missing", [None, FileStorage(io.BytesIO(b""), filename="")])
def test_a_missing_file_is_named(missing: FileStorage | None) -> None:
    with pytest.raises(RequestError, match=r"The form lacks an image\. Choose a file"):
        uploaded_image(missing, PixelRoom(100), max_px=24)
    with pytest.raises(RequestError, match="The form lacks a mask, a PNG that is white"):
        uploaded_mask(missing, PixelRoom(100), max_px=24)


def test_limits_hold_and_messages_name_the_file_of_the_person() -> None:
    with pytest.raises(RequestError, match=r"'boat.png' cannot be used: the picture has 6 x 4 pixels, more than 23"):
        uploaded_image(file(RED), PixelRoom(100), max_px=23)
    with pytest.raises(RequestError, match=r"The mask 'boat.png' cannot be used: the picture has 6 x 4 pixels"):
        uploaded_mask(file(MASK), PixelRoom(100), max_px=23)
    with pytest.raises(RequestError, match="are no picture in one of"):
        uploaded_image(file(b"hello"), PixelRoom(100), max_px=24)
    with pytest.raises(RequestError, match="has colours") as raised:
        uploaded_mask(file(RED), PixelRoom(100), max_px=24)
    assert "The mask 'boat.png' has colours" in str(raised.value), "and not the folder of a temporary file"


@pytest.mark.parametrize(("upload", "pixels"), [(uploaded_image, RED), (uploaded_mask, MASK)])
def test_what_does_not_fit_beside_the_images_in_memory_is_not_decoded(
    upload: Callable[..., object], pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.pages.uploads.ROOM_WITHIN_S", 0.0)
    room = PixelRoom(40)
    with room.taken(30), pytest.raises(RequestError, match="other images in work left no room for its 24 pixels"):
        upload(file(pixels), room, max_px=24)
    upload(file(pixels), room, max_px=24)
    with room.taken(30, within_s=0.0):
        pass
