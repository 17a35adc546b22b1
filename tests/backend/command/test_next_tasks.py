import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.command import cli
from backend.command.next_tasks import order_tasks
from backend.command.plan import Wanted, make_plan
from backend.command.prototypes import read_categories
from backend.errors import RequestError, UsageError
from converters.console import answering
from ovdiff.learning.next_tasks import FoundWord, TaskScore
from ovdiff.tinyworld.world import render, sample_scene
from ovdiff.vocabulary import Vocabulary
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import encoded


class Scoring(FakeEngine):
    """A fake that scores by colour: what is painted is found; black images were taught."""

    def task_score(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> TaskScore | None:
        if not image.any():
            return None
        found = self.segment(image, vocabulary)
        words = [FoundWord(vocabulary.names[index], float(mask.mean()), 0.9, 0) for index, mask in found.found()]
        return TaskScore(tuple(words), (), 0.1, 0.2, 0.0, None)


def _painted(*colours: tuple[int, int, int]) -> bytes:
    return encoded(np.repeat(np.array([colours], np.uint8), 20, axis=0).repeat(8, axis=1))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_bytes(_painted((255, 0, 0)))
    (folder / "b.png").write_bytes(_painted((255, 0, 0)))
    (folder / "black.png").write_bytes(_painted((0, 0, 0)))
    (folder / "deep/c.png").write_bytes(_painted((255, 0, 0), (0, 0, 255)))
    return folder


Order = Callable[..., None]


@pytest.fixture
def order(tmp_path: Path, photos: Path) -> Order:
    def act(engine: FakeEngine | None = None, **options: object) -> None:
        plan = make_plan([photos], Wanted(overlay=False))
        words, engine = read_categories("red, blue"), engine or Scoring(tmp_path / "bank")
        order_tasks(plan, words, engine, max_px=10_000, **options)  # type: ignore[arg-type]

    return act


def test_the_images_are_printed_in_their_order_with_the_reason(
    order: Order, capsys: pytest.CaptureFixture[str]
) -> None:
    order()
    said = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert said[-4][:3] == ["1", "deep/c.png", "0.068"] and said[-3][:2] == ["2", "a.png"] and said[-2][1] == "b.png"
    assert said[-4][3:] == ["nobody", "has", "confirmed", "red,", "blue"]
    assert said[-1] == ["images", "besides:", "1", "already", "annotated"]


def test_json_has_the_order_and_what_it_follows_from(order: Order, capsys: pytest.CaptureFixture[str]) -> None:
    order()  # Prototypes are there now, and nothing is said of them.
    capsys.readouterr()
    with answering(as_json=True):
        order(limit=1)
    found = json.loads(capsys.readouterr().out)
    assert [task["image"] for task in found["tasks"]] == ["deep/c.png"]
    assert found["tasks"][0]["score"] == pytest.approx((0.25 + 0.1) ** 0.5 * 0.2 * 3**0.5 / 3)
    assert [word["name"] for word in found["tasks"][0]["words"]] == ["red", "blue"]
    assert (found["candidates"], found["taught"], found["failed"], found["not_done"]) == (3, 1, 0, 0)


def test_the_rest_is_counted(order: Order, capsys: pytest.CaptureFixture[str]) -> None:
    order(limit=1)
    said = capsys.readouterr().out
    assert "... and 2 other images; --limit 3 has all" in said and "a.png" not in said


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_ordered(
    order: Order, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match="1 of 5 images could not be scored"):
        order()
    said = capsys.readouterr()
    assert "broken.png" in said.err and "deep/c.png" in said.out and "1 already annotated, 1 failed" in said.out


def test_after_ctrl_c_what_was_scored_is_ordered(
    order: Order, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        if engine.segmented == 2:
            raise KeyboardInterrupt

    engine = Scoring(tmp_path / "bank", on_segment=interrupt)
    with pytest.raises(KeyboardInterrupt):
        order(engine)
    said = capsys.readouterr().out
    assert "a.png" in said and "b.png" in said and "deep/c.png" not in said and "1 not done" in said


def test_an_engine_that_does_not_learn_is_refused(order: Order, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no lessons from annotations"):
        order(FakeEngine(tmp_path / "bank"))


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_wrong_limit_is_refused(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["next-tasks", "photos", "--categories", "boat", f"--limit={limit}"])
    assert f"expected a whole number from 1, got '{limit}'" in capsys.readouterr().err


@pytest.mark.slow  # the embedded models are loaded
def test_a_second_run_encodes_nothing_again(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "photos").mkdir()
    for number in range(2):
        drawn = render(sample_scene(number, "test"), 96).image
        (here / f"photos/{number}.png").write_bytes(encoded(drawn))
    (here / "config.xml").write_text(
        '<View><Image name="image" value="$image"/><BrushLabels name="labels" toName="image">'
        '<Label value="boat"/></BrushLabels></View>'
    )
    assert cli.main(["next-tasks", "photos", "--categories", "boat", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert {task["image"] for task in first["tasks"]} == {"0.png", "1.png"}
    monkeypatch.setattr("ovdiff.segmenting.image_segmenter.encode_image", lambda *_: pytest.fail("encoded again"))
    assert cli.main(["next-tasks", "photos", "--label-config", "config.xml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
