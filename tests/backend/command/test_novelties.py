import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.command.novelties import find_novelties
from backend.command.plan import Wanted, make_plan
from backend.command.prototypes import read_categories
from backend.errors import RequestError, UsageError
from converters.console import answering
from ovdiff.novelties.groups import NovelRegion
from ovdiff.vocabulary import Vocabulary
from tests.fakes.engine import COLOURS, FakeEngine
from tests.fakes.pictures import encoded, red_and_blue


class ColourNovelties(FakeEngine):
    """What is painted in a colour that no word names is novel."""

    def novel_regions(self, encoded: NDArray[np.uint8], vocabulary: Vocabulary) -> tuple[NovelRegion, ...]:
        asked = {word for each in vocabulary.categories for text in each.phrases for word in text.split()}
        words = tuple(colour for colour in COLOURS if colour not in asked)
        found = []
        for number, word in enumerate(words):
            mask = (encoded == np.array(COLOURS[word])).all(axis=2)
            if mask.any():
                rows, columns = np.nonzero(mask)
                box = columns.min() / 64, rows.min() / 48, (columns.max() + 1) / 64, (rows.max() + 1) / 48
                shares = np.eye(len(words), dtype=np.float32)[number]
                found.append(NovelRegion(box, float(mask.mean()), 0.8, 0.5, words, shares, shares, mask))
        return tuple(found)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(encoded(red_and_blue()))
    return folder


def _find(photos: Path, words: str, engine: FakeEngine, **options: object) -> None:
    plan = make_plan([photos], Wanted(overlay=False))
    find_novelties(plan, read_categories(words), engine, max_px=10_000, **options)  # type: ignore[arg-type]


def test_groups_are_told_with_what_they_look_like(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _find(photos, "flag=red", ColourNovelties(tmp_path / "bank"))
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["1", "2", "2", "blue", "(100%)", "0.50", "a.png"] in said
    assert said[-1] == ["images", "looked", "at:", "2"]


def test_json_and_picture(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = ColourNovelties(tmp_path / "bank")
    _find(photos, "green", engine)
    capsys.readouterr()
    with answering(as_json=True):
        _find(photos, "green", engine, picture=tmp_path / "crops.png")
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["failed"], found["not_done"]) == (2, 0, 0)
    assert {group["looks_like"][0]["word"] for group in found["groups"]} == {"red", "blue"}
    red = [group["looks_like"][0]["word"] for group in found["groups"]].index("red")
    assert found["groups"][red]["regions"][0]["box"] == pytest.approx([1 / 8, 1 / 4, 3 / 8, 3 / 4])
    sheet = np.asarray(Image.open(tmp_path / "crops.png")).astype(int)
    middle = sheet[
        red * (18 + 120 + 4) + 18 + 60, 4 + 40
    ]  # the middle of the first crop, which is as wide as two thirds of its height
    assert np.abs(middle - (255, 0, 0)).max() < 30


def test_nothing_novel_is_said_in_words(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _find(photos, "red, blue", ColourNovelties(tmp_path / "bank"), picture=tmp_path / "none.png")
    said = capsys.readouterr().out
    assert "nothing was found that is none of the words" in said
    assert f"{tmp_path / 'none.png'} is not written" in said and not (tmp_path / "none.png").exists()


def test_a_broken_image_is_named_and_the_others_are_looked_at(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match="1 of 3 images could not be looked at"):
        _find(photos, "red", ColourNovelties(tmp_path / "bank"))
    said = capsys.readouterr()
    assert "broken.png" in said.err and "images looked at: 2; 1 failed" in said.out


def test_after_ctrl_c_the_groups_so_far_are_printed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(ColourNovelties):
        def encode(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            if self.encoded == 1:
                raise KeyboardInterrupt
            return super().encode(image)

    with pytest.raises(KeyboardInterrupt):
        _find(photos, "red", Interrupted(tmp_path / "bank"))
    said = capsys.readouterr().out
    assert "blue" in said and "images looked at: 1; 1 not done" in said


def test_an_engine_that_finds_none_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'fake' of the preset 'fake' does not find what a vocabulary lacks"):
        _find(photos, "red", FakeEngine(tmp_path / "bank"))
