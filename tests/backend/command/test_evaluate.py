"""`ovdiff evaluate`: on the drawn world with models that need no prototypes, and on squares with a quick engine."""

import json
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch

from backend.command import cli
from backend.command import evaluate as command
from backend.command.evaluate import EvaluationPlan, preset_for, result_text, run_evaluation
from backend.errors import RequestError, UsageError
from benchmarks.architectures import build_sam
from converters.console import answering
from ovdiff.bank import Bank
from ovdiff.engines import load_any_preset
from ovdiff.errors import EvaluationError
from ovdiff.evaluation.catalogue import dataset_names
from ovdiff.evaluation.dataset import Dataset, LabelledImage
from ovdiff.evaluation.datasets.drawn import USUAL
from ovdiff.evaluation.datasets.voc import VOC21
from ovdiff.evaluation.result import read_result
from ovdiff.evaluation.run import Failure, Protocol
from ovdiff.presets import Preset
from ovdiff.presets.preset import preset_to_mapping
from tests.fakes.coloured_dataset import MakesEngine, Squares
from tests.fakes.engine import FakeEngine, FakePreset


@dataclass(frozen=True)
class Interrupted(Squares):
    """Squares at one of which somebody presses Ctrl-C."""

    stops: str = ""

    def read(self, name: str) -> LabelledImage:
        if name == self.stops:
            raise KeyboardInterrupt
        return super().read(name)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationPlan:
    """A plan for the squares with a quick engine."""

    def make(_preset: object, bank: Bank, _device: str) -> FakeEngine:
        return MakesEngine(bank.folder)()

    monkeypatch.setattr(command, "make_evaluated", make)
    return EvaluationPlan(Squares(), FakePreset("fake"), tmp_path / "bank", "cpu", tmp_path / "out")


def test_a_folder_that_the_result_cannot_go_into_is_refused_before_anything_is_built(
    plan: EvaluationPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prototypes were made for hours, and then the folder was found to hold another evaluation."""
    run_evaluation(replace(plan, limit=1))
    plan.out.joinpath("file").touch()
    monkeypatch.setattr(command, "build_missing", lambda *_, **__: pytest.fail("prototypes were made"))
    for other, said in (
        (replace(plan, protocol=Protocol((2,))), "holds another evaluation: its sizes differ"),
        (replace(plan, out=plan.out / "file"), "nothing can be written in '.*/out/file'"),
    ):
        with pytest.raises((EvaluationError, UsageError), match=said):
            run_evaluation(other)


def test_a_preset_is_evaluated_and_the_result_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", "drawn", "--preset", "odise_tinyworld", "--limit", "2", "--sizes", "4"]) == 0
    said = capsys.readouterr().out
    assert "2 images of drawn" in said
    assert "asked for 4 words" in said
    result = read_result(tmp_path / "evaluations" / "drawn-odise_tinyworld")
    assert result.images == ("test-0", "test-1")
    assert result.measures["miou"] > 0.3
    assert result.measures["ap"] > 0.1
    assert result.measures["pq"] > 0.3


def test_what_engines_tell_about_words_does_not_stand_between_the_progress(
    plan: EvaluationPlan, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Squares.read

    def told(squares: Squares, name: str) -> LabelledImage:
        logging.getLogger("ovdiff.segmenting.anchors").info("a word steps aside")
        return read(squares, name)

    monkeypatch.setattr(Squares, "read", told)
    with caplog.at_level(logging.INFO):
        run_evaluation(plan)
    assert "steps aside" not in caplog.text


def test_json_is_the_result(plan: EvaluationPlan, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(as_json=True):
        run_evaluation(plan)
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((plan.out / "result.json").read_text())
    assert said["figures"]["measures"]["miou"] == pytest.approx(0.93, abs=0.01)


def test_a_limit_can_be_lifted_later(plan: EvaluationPlan) -> None:
    limited = run_evaluation(EvaluationPlan(**{**vars(plan), "limit": 3}))
    assert len(limited.images) == 3
    before = (plan.out / "images.jsonl").read_bytes()
    whole = run_evaluation(plan)
    assert len(whole.images) == 12
    assert (plan.out / "images.jsonl").read_bytes().startswith(before)


def test_images_that_fail_are_named_and_the_others_are_in_the_result(
    plan: EvaluationPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EvaluationPlan(**{**vars(plan), "open": Squares(broken=("square-3",))})
    with pytest.raises(RequestError, match="1 images could not be evaluated; the figures are of the others"):
        run_evaluation(broken)
    assert "square-3: The picture of square-3 is damaged." in capsys.readouterr().err
    assert len(read_result(plan.out).images) == 11
    assert read_result(plan.out).failed[0]["image"] == "square-3"
    with pytest.raises(RequestError, match="1 images could not be evaluated; there are no others, and so no figures"):
        command._complain_of([Failure("a.png", "a.png: its labels cannot be read whole.")], 0)
    assert capsys.readouterr().err == "ovdiff: a.png: its labels cannot be read whole.\n"


def test_the_page_and_the_markdown_file_stand_beside_the_result(plan: EvaluationPlan) -> None:
    run_evaluation(plan)
    assert (plan.out / "report.html").read_text().count("data:image/jpeg") == 27
    assert "## Worst, median and best images" in (plan.out / "result.md").read_text()


def test_a_run_that_is_interrupted_writes_what_it_has_and_goes_on(
    plan: EvaluationPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(replace(plan, open=Interrupted(stops="square-5")))
    assert "The figures are of 5 of 12 images. 7 were not evaluated" in capsys.readouterr().err
    assert read_result(plan.out).images == tuple(f"square-{number}" for number in range(5))
    assert "5 of 12 images" in (plan.out / "report.html").read_text()
    assert "data:image" not in (plan.out / "report.html").read_text()
    assert len(run_evaluation(plan).images) == 12
    assert "data:image" in (plan.out / "report.html").read_text()


def test_a_run_that_is_interrupted_at_its_first_image_writes_nothing(plan: EvaluationPlan) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(replace(plan, open=Interrupted(stops="square-0")))
    assert not (plan.out / "result.json").exists()


def test_without_background_the_preset_gives_every_pixel_a_category(plan: EvaluationPlan) -> None:
    dataset = USUAL.open(Path())
    without = Dataset(dataset.name, dataset.vocabulary, dataset.images, dataset.read, counts_background=False)
    preset = load_any_preset("tinyworld")
    assert isinstance(preset, Preset)
    assert preset_for(preset, dataset) is preset
    changed = preset_for(preset, without)
    assert isinstance(changed, Preset)
    assert changed.matching.background == "none"
    assert (changed.anchors.words, changed.anchors.prototypes, changed.part_check.enabled) == ((), (), False)
    with pytest.raises(UsageError, match="the engine 'fake' cannot give every pixel a category"):
        preset_for(plan.preset, without)


def test_the_text_names_every_figure_and_category(plan: EvaluationPlan) -> None:
    result = run_evaluation(plan)
    said = result_text(result, plan.out)
    for words in (
        "mIoU 0.9",
        "pixel accuracy",
        "PQ of things",
        "AP50",
        "asked for all words",
        "\nred ",
        "\nbackground",
    ):
        assert words in said


def test_published_figures_stand_beside_the_result(plan: EvaluationPlan) -> None:
    result = run_evaluation(plan)
    assert "published mIoU" not in result_text(result, plan.out)
    paper = {**result.preset, "name": "paper", "fields": preset_to_mapping(load_any_preset("paper"))}
    asked = tuple({"name": each.name, "prompts": list(each.phrases)} for each in VOC21.categories)
    whole = replace(
        result,
        dataset={**result.dataset, "name": "voc21"},
        preset=paper,
        categories=asked,
        images=tuple(map(str, range(1449))),
    )
    said = result_text(whole, plan.out)
    assert "published mIoU" not in result_text(replace(whole, images=("1",)), plan.out)
    assert "published mIoU: 67.1 (v1), 66.3 (ECCV, quoted), 65.7 (released code run again)" in said
    assert "published mIoU without background: 64.6 (released code run again)" in said


@pytest.fixture
def upper_line(tmp_path: Path) -> Path:
    """A file of an upper line on a small SAM of random weights, whose masks mean nothing."""
    torch.manual_seed(4)
    build_sam(shrink=8, image_px=64).save_pretrained(tmp_path / "sam")
    path = tmp_path / "mine.toml"
    path.write_text(f'prompts = "points"\n[models.sam]\nsource = "{tmp_path / "sam"}"\n')
    return path


def test_an_upper_line_is_evaluated_and_marked_wherever_its_result_is_told(
    upper_line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", "drawn", "--limit", "2", "--upper-line", str(upper_line)]) == 0
    mark = "An upper line: mine was given the truth's points. Only the outlines are its own."
    assert mark in capsys.readouterr().out
    out = tmp_path / "evaluations" / "drawn-mine"
    result = read_result(out)
    assert result.sees_truth == "the truth's points" and result.preset["weights"].keys() == {"sam"}
    assert {result.measures[key] is not None for key in ("miou", "pq", "ap")} == {True}
    assert mark in (out / "result.md").read_text().replace("\\:", ":")
    page = (out / "report.html").read_text()
    assert mark in page.replace("&#x27;", "'")
    assert "so what is there was known, and the outline is wrong" in page
    assert not evaluated_engine_sees_truth(tmp_path)


def evaluated_engine_sees_truth(folder: Path) -> str:
    """Return the mark of an engine's own result."""
    plan = EvaluationPlan(Squares(2), load_any_preset("maskclip_tinyworld"), folder, "cpu", folder / "engine")
    result = run_evaluation(plan)
    assert "upper line" not in (folder / "engine" / "report.html").read_text()
    return result.sees_truth


def test_an_upper_line_stands_in_the_place_of_a_preset(
    upper_line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["evaluate", "drawn", "--limit", "1", "--upper-line", str(upper_line)]
    assert cli.main([*asked, "--preset", "tinyworld"]) == 2
    assert cli.main([*asked, "--sizes", "4"]) == 2
    assert cli.main(["evaluate", "drawn", "--upper-line", "sma"]) == 2
    said = capsys.readouterr().err
    assert "--upper-line stands in the place of a preset" in said
    assert "--sizes asks which absent words are painted, and an upper line is told what is there" in said
    assert "No upper line 'sma'. Known: sam, sam-points" in said
    assert not (tmp_path / "evaluations").exists()


def test_the_datasets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "--list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in dataset_names())
    assert cli.main(["evaluate", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == list(dataset_names())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Name a dataset; `ovdiff evaluate --list` names them"),
        (["voc2121"], "There is no dataset 'voc2121'. Known: "),
        (["drawn", "--preset", "nonsense"], "nonsense"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", *arguments]) in (1, 2)
    assert says in capsys.readouterr().err


def test_a_dataset_in_a_folder_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = USUAL.__class__(**{**vars(USUAL), "needs_folder": True, "obtain": "Draw it."})
    monkeypatch.setattr(command, "dataset_kind", lambda _name: kind)
    with pytest.raises(UsageError, match=r"Give its folder with --root.* Draw it\."):
        partial(command.open_named, "drawn", None)()
