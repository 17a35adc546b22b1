import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from backend.command.diff_predictions import Given, diff_predictions, with_changes
from backend.command.plan import Wanted, make_plan
from backend.command.prototypes import build_missing, read_categories
from backend.errors import RequestError, UsageError
from converters.console import answering
from ovdiff.bank import Bank
from ovdiff.blast_radius import Side
from ovdiff.segmenting import image_segmenter
from ovdiff.tinyworld.world import render, sample_scene
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import encoded, red_and_blue

SHARED = Given(read_categories("boat, water=sea"), "tinyworld", Path("bank"))
SHARED_REST = (SHARED.preset, SHARED.bank)
PRESET = 'base = "tinyworld"\nname = "quick"\n[generation]\nimages = 2\nsteps = 6\n'


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], SHARED),
        (["add=dock=pier;jetty"], Given(read_categories("boat, water=sea, dock=pier;jetty"), *SHARED_REST)),
        (["remove=water"], Given(read_categories("boat"), "tinyworld", Path("bank"))),
        (["categories=boat=ship", "preset=mine.toml"], Given(read_categories("boat=ship"), "mine.toml", Path("bank"))),
        (["bank=other"], Given(SHARED.categories, "tinyworld", Path("other"))),
    ],
)  # fmt: skip
def test_a_side_differs_by_its_changes(changes: list[str], expected: Given) -> None:
    assert with_changes(SHARED, changes) == expected


def test_the_storage_of_a_side_is_asked_again_for_as_long_as_is_set() -> None:
    with pytest.raises(UsageError, match=f"bank is '{__file__}', a file; expected the folder of a bank"):
        with_changes(SHARED, [f"bank={__file__}"])
    bank = with_changes(SHARED, ["bank=memory://other"], 7.0).bank
    assert vars(bank)["patience_s"] == 7.0


@pytest.mark.parametrize(
    ("shared", "change", "message"),
    [
        (SHARED, "dock", "'dock' is no change; expected categories=LIST, add=LIST, remove=LIST"),
        (SHARED, "lable=dock", "'lable=dock' is no change"),
        (SHARED, "remove=dock", "'dock' is none of the categories: boat, water"),
        (Given(None, "tinyworld", Path("bank")), "add=dock", "none was given: pass --categories"),
    ],
)
def test_what_is_no_change_is_refused(shared: Given, change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_changes(shared, [change])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_bytes(encoded(red_and_blue()))
    (folder / "deep/b.png").write_bytes(encoded(np.full((20, 30, 3), 120, np.uint8)))
    return folder


Compare = Callable[..., None]


@pytest.fixture
def compare(tmp_path: Path, photos: Path) -> Compare:
    def act(engine: FakeEngine | None = None, **options: object) -> None:
        engine = engine or FakeEngine(tmp_path / "bank")
        before, after = read_categories("red, white"), read_categories("flag=red, blue")
        build_missing([*before.categories, *after.categories], engine)
        plan = make_plan([photos], Wanted(overlay=False))
        diff_predictions(plan, Side(engine, before), Side(engine, after), max_px=10_000, **options)  # type: ignore[arg-type]

    return act


def test_what_became_what_and_where_is_said(compare: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    compare()
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["(background)", "blue", "384", "10.46%", "1"] in said
    assert ["red", "flag", "384", "10.46%", "1"] in said
    assert ["a.png", "25.0%", "red", "->", "flag"] in said or ["a.png", "25.0%", "(background)", "->", "blue"] in said
    assert said[-2:] == [
        ["1", "of", "2", "images", "change,", "1", "of", "them", "by", "more", "than", "5%", "of", "their", "pixels"],
        ["768", "of", "3,672", "pixels", "change"],
    ]


def test_json_has_everything_and_nothing_else_is_on_stdout(
    compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    compare()
    capsys.readouterr()
    with answering(as_json=True):
        compare()
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["images_changed"], found["failed"], found["not_done"]) == (2, 1, 0, 0)
    assert {"before": None, "after": "blue", "pixels": 384, "images": 1} in found["moved"]
    assert found["most_changed"][0]["image"] == "a.png"


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_compared(
    compare: Compare, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match="1 of 3 images could not be compared"):
        compare()
    said = capsys.readouterr()
    assert "broken.png" in said.err and "images besides: 1 failed" in said.out and "1 of 2 images change" in said.out


def test_after_ctrl_c_the_images_that_were_compared_are_reported(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        if engine.segmented == 2:
            raise KeyboardInterrupt

    engine = FakeEngine(tmp_path / "bank", on_segment=interrupt)
    with pytest.raises(KeyboardInterrupt):
        compare(engine)
    assert "1 of 1 images change" in (said := capsys.readouterr().out) and "images besides: 1 not done" in said


def test_an_image_is_encoded_once_for_both_sides(compare: Compare, tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path / "bank")
    compare(engine)
    assert (engine.encoded, engine.segmented) == (2, 4)


def test_the_picture_shows_what_changes_most(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(picture=tmp_path / "changes.png")
    picture = np.asarray(Image.open(tmp_path / "changes.png"))
    assert f"picture: {tmp_path / 'changes.png'}" in capsys.readouterr().out
    assert picture.shape[1] == 4 * 244 + 4 and picture.shape[0] > 180


def test_on_the_embedded_models_a_second_run_encodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "quick.toml").write_text(PRESET)
    (tmp_path / "scenes").mkdir()
    Image.fromarray(render(sample_scene(1, "test", things=2), 128).image).save("scenes/one.png")
    encodings = []
    encode = image_segmenter.encode_image
    monkeypatch.setattr(image_segmenter, "encode_image", lambda *given: encodings.append(1) or encode(*given))
    command = ["diff-predictions", "scenes", "--categories", "balloon", "--preset", "quick.toml"]
    assert cli.main([*command, "--after", "add=sky"]) == 0
    first = capsys.readouterr().out
    assert "sky" in first and "1 of 1 images change" in first and len(encodings) == 1
    assert cli.main([*command, "--after", "add=sky", "--json"]) == 0
    assert len(encodings) == 1
    (tmp_path / "bank").mkdir()
    moved = Bank(tmp_path / "bank")
    for path in (tmp_path / "data" / "bank").glob("*.*"):
        (moved.folder / path.name).write_bytes(path.read_bytes())
    capsys.readouterr()
    assert cli.main([*command, "--after", "bank=bank"]) == 0  # the same prototypes elsewhere change nothing
    assert "0 of 1 images change" in capsys.readouterr().out and len(encodings) == 1
    assert cli.main([*command[:2], "--preset", "quick.toml"]) == 2
    assert "No words to look for" in capsys.readouterr().err


def test_removing_the_only_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["diff-predictions", ".", "--categories", "boat", "--after", "remove=boat"]
    assert cli.main(command) == 2
    assert "The vocabulary is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["diff-predictions", "novelties"])
def test_a_picture_of_another_format_is_refused_before_anything_is_done(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, str(tmp_path / "none"), "--categories", "boat", "--picture", "x.jpg"]) == 2
    assert "--picture is 'x.jpg'; expected the name of a file that ends in .png." in capsys.readouterr().err
