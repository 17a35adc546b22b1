from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import engine
from backend.command import cli
from ovdiff.bank import Bank
from ovdiff.bank.lesson_store import LessonStore, lessons_beside
from ovdiff.presets import Preset
from tests.backend.command.learning_export import (
    BLUE,
    RED,
    annotation,
    both,
    region,
    task,
    write_export,
)
from tests.fakes.engine import FakeEngine
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio, running
from tests.fakes.learner import LearningEngine
from tests.fakes.signals import terminal_signals


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def make(preset: Preset, bank: Bank, _device: str) -> FakeEngine:
        return LearningEngine(bank.folder, preset.name)

    monkeypatch.setattr(engine, "make_engine", make)
    monkeypatch.setattr(LearningEngine, "learned", 0)
    with terminal_signals():
        yield


@pytest.fixture
def store(tmp_path: Path) -> LessonStore:
    return lessons_beside(tmp_path / "data/bank")


def learn(*options: str) -> int:
    images = () if "--images" in options else ("--images", "images")
    return cli.main(["learn", "export.json", "--label-config", "config.xml", *images, *options])


def test_annotated_tasks_become_lessons_and_a_second_run_adds_nothing(
    tmp_path: Path, store: LessonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = both(13, was_cancelled=True)
    write_export(tmp_path, task(1, both(11)), task(2, both(12)), task(3), task(4, skipped))
    assert learn() == 0
    said = capsys.readouterr().out
    assert "images: 4 in, 2 lessons taken, 0 already there, 0 refused" in said
    assert "not annotated: 1\n" in said and "skipped by the annotator: 1\n" in said
    cards = sorted(store.cards(), key=lambda card: card.source.task)
    assert [(card.source.task, card.source.annotation, card.source.person) for card in cards] == [
        ("1", "11", "ann@example.org"), ("2", "12", "ann@example.org")
    ]  # fmt: skip
    assert all(card.complete and card.present == ("blue", "red") for card in cards)
    before = {path: path.read_bytes() for path in store.folder.iterdir()}
    store.change(cards[0].address, on=False)
    assert learn() == 0
    assert "0 lessons taken, 2 already there" in capsys.readouterr().out and LearningEngine.learned == 2
    assert not store.card(cards[0].address).on  # what a person switched off stays off
    store.change(cards[0].address, on=True)
    assert {path: path.read_bytes() for path in store.folder.iterdir()} == before


def test_what_precedes_the_names_of_files_wants_their_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was read by nobody, and every image was fetched from where its task says."""
    write_export(tmp_path, task(1, both(11)))
    for command in (["learn", "export.json", "--label-config", "config.xml"], ["prelabel", "--project", "1"]):
        assert cli.main([*command, "--image-root", "s3://bucket/"]) == cli.WRONG_USE
        assert "--image-root s3://bucket/ precedes the names of files in --images" in capsys.readouterr().err


def test_a_changed_annotation_replaces_the_older_lesson_of_its_task(
    tmp_path: Path, store: LessonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(tmp_path, task(1, both(11)), task(2, both(12)))
    assert learn() == 0
    old = store.addresses()
    write_export(tmp_path, task(1, both(11), annotation(14, region("red", RED))), task(2, both(12)))
    assert learn() == 0
    assert "1 lessons taken, 1 already there" in (said := capsys.readouterr().out)
    assert "lessons of older annotations removed: 1" in said
    assert len(store.addresses()) == 2 and len(set(store.addresses()) & set(old)) == 1
    assert learn("--every-annotator") == 0  # now both annotations of the first task teach
    assert [card.source.annotation for card in sorted(store.cards(), key=lambda c: c.source.annotation)] == [
        "11", "12", "14"
    ]  # fmt: skip


def test_a_bad_task_is_named_and_the_others_are_learned_from(
    tmp_path: Path, store: LessonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(
        tmp_path,
        task(1, annotation(11, region("red", RED, size=(32, 24)))),
        task(2, annotation(12, region("green", RED))),
        task(3, annotation(13)),
        task(4, both(14)),
        task(5, both(15)),
        task(6, both(16)),
        {**task(7), "data": {"image": 7}},
    )
    (tmp_path / "images/4.png").write_bytes(b"no picture")
    (tmp_path / "images/5.png").unlink()
    assert learn() == 1
    out, err = capsys.readouterr()
    assert "images: 7 in, 1 lessons taken, 0 already there, 6 refused" in out
    assert "task 1, annotation 11: The annotation is of 32 x 24 px and its image of 64 x 48 px." in err
    assert "task 2, annotation 12: its label 'green' is not in the label config, whose labels are blue, red" in err
    assert "task 3, annotation 13: nothing is annotated in it." in err
    assert "task 4, annotation 14:" in err and "picture" in err
    assert "task 5, annotation 15: its image '/data/upload/1/5.png' is not in images" in err
    assert "task 7: image without an address" in err
    assert "6 of 7 images gave no lesson" in err
    assert [card.source.task for card in store.cards()] == ["6"]


@pytest.mark.parametrize("way", ["choice", "option"])
def test_a_partial_annotation_teaches_no_background(tmp_path: Path, store: LessonStore, way: str) -> None:
    chosen = {"from_name": "how", "to_name": "image", "type": "choices", "value": {"choices": ["partial"]}, "id": "c"}
    made = annotation(11, region("red", RED), *([chosen] if way == "choice" else []))
    write_export(tmp_path, task(1, made))
    assert learn(*(["--partial"] if way == "option" else [])) == 0
    (card,) = store.cards()
    assert not card.complete and set(store.load(card.address).spaces["clip"].labels.tolist()) == {2}  # red


def test_only_some_labels_were_annotated(
    tmp_path: Path, store: LessonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(tmp_path, task(1, both(11)))
    assert learn("--labels", "red") == 0
    (card,) = store.cards()
    assert [(word.name, word.covered) for word in card.words] == [("blue", False), ("red", True)]
    assert learn("--labels", "red, green") == 2
    assert "--labels has 'green', which is not in the label config: blue, red." in capsys.readouterr().err
    assert learn("--labels", " , ") == 2
    assert "--labels names no label." in capsys.readouterr().err


def test_annotations_that_gave_no_lesson_are_not_counted_as_images(
    tmp_path: Path, store: LessonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(tmp_path, task(1, annotation(11), annotation(12)))
    assert learn("--every-annotator") == 1
    assert "2 annotations gave no lesson; they are named above." in capsys.readouterr().err


def test_pixels_that_two_labels_claim_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_export(tmp_path, task(1, annotation(11, region("red", RED), region("blue", (0, 0, 100, 100)))))
    assert learn() == 0
    assert "pixels that several labels claimed: 384; the order is what a person drew" in capsys.readouterr().out


def test_images_are_fetched_from_label_studio_without_a_folder(
    tmp_path: Path, store: LessonStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(tmp_path, task(1, both(11)), task(2, both(12)))
    with running(FakeLabelStudio()) as server:
        server.files["/data/upload/1/1.png"] = ("image/png", (tmp_path / "images/1.png").read_bytes())
        monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
        assert cli.main(["learn", "export.json", "--label-config", "config.xml"]) == 1
    assert [card.source.task for card in store.cards()] == ["1"]
    assert "task 2, annotation 12:" in (err := capsys.readouterr().err) and "with --images" in err


def test_images_are_found_by_the_last_part_of_their_address(tmp_path: Path, store: LessonStore) -> None:
    local = {**task(1, both(11)), "data": {"image": "/data/local-files/?d=deep/down/1.png"}}
    cloud = {**task(2, annotation(12, region("blue", BLUE))), "data": {"image": "s3://bucket/deep/2.png"}}
    write_export(tmp_path, local, cloud)
    assert learn() == 0 and len(store.addresses()) == 2


@pytest.mark.parametrize(
    ("broken", "status", "message"),
    [
        ({"export.json": "{"}, 1, "export.json"),
        ({"config.xml": "<View/>"}, 1, "shows no <Image>"),
        ({"config.xml": "<View"}, 1, "config"),
    ],
)
def test_files_that_cannot_be_read_end_the_command(
    tmp_path: Path, broken: dict[str, str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(tmp_path, task(1, both(11)))
    for name, text in broken.items():
        (tmp_path / name).write_text(text)
    assert learn() == status
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_an_engine_that_does_not_learn_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(tmp_path, task(1, both(11)))
    monkeypatch.setattr(engine, "make_engine", lambda preset, bank, _device: FakeEngine(bank.folder, preset.name))
    assert learn() == 2
    assert "The engine 'fake' of the preset 'tinyworld' takes no lessons from annotations." in capsys.readouterr().err
