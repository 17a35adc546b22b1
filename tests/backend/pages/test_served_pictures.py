import io

import numpy as np
import pytest
from PIL import Image

from backend.errors import NothingThereError
from backend.pages.served_pictures import NAME, ServedPictures, reduced


def noise(seed: int, side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def test_a_picture_is_fetched_by_a_name_that_follows_from_its_content() -> None:
    pictures = ServedPictures()
    name = pictures.add(noise(1))
    assert NAME.fullmatch(name)
    assert pictures.add(noise(1)) == name != pictures.add(noise(2))
    content_type, data = pictures.get(name)
    assert content_type == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(noise(1)))


def test_a_large_photograph_is_sent_as_jpeg_and_a_small_one_stays_exact() -> None:
    pictures = ServedPictures()
    assert pictures.get(pictures.add(noise(1, 600), is_photograph=True))[0] == "image/jpeg"
    assert pictures.get(pictures.add(noise(1, 60), is_photograph=True))[0] == "image/png"


def test_pictures_that_were_asked_for_longest_ago_go_first() -> None:
    whole = ServedPictures()
    size_bytes = max(len(whole.get(whole.add(noise(number)))[1]) for number in range(4))
    pictures = ServedPictures(most_bytes=3 * size_bytes)
    names = [pictures.add(noise(number)) for number in range(3)]
    assert pictures.get(names[0])
    pictures.add(noise(3))
    assert pictures.get(names[0]), "it was asked for lately"
    with pytest.raises(NothingThereError, match="Load the page that shows it again"):
        pictures.get(names[1])


def test_one_picture_is_kept_however_large() -> None:
    pictures = ServedPictures(most_bytes=10)
    assert pictures.get(pictures.add(noise(1)))


def test_an_image_is_made_smaller_and_never_larger() -> None:
    pixels = np.zeros((30, 90, 3), dtype=np.uint8)
    assert reduced(pixels, 45).size == (45, 15)
    assert reduced(pixels, 500).size == (90, 30)
