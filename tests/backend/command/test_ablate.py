"""`ovdiff ablate` on models that need no prototypes: plan, run, run again, and what it refuses."""

import json
import logging
from pathlib import Path

import pytest

from backend.command import ablate as command
from backend.command import cli
from backend.errors import RequestError
from ovdiff.engines import load_any_preset
from ovdiff.evaluation.ablation import Done
from ovdiff.evaluation.result import read_result
from ovdiff.evaluation.rows import variants
from ovdiff.evaluation.run import Failure
from ovdiff.evaluation.shared_work import jobs_of

PRESET = 'base = "naclip_tinyworld"\nname = "quick"\n[refine]\npamr = false\n'
RUN = ["ablate", "drawn", "--preset", "quick.toml", "--limit", "1", "--rows", "pamr", "no-windows", "no-pamr"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    Path("quick.toml").write_text(PRESET)


def test_a_plan_says_what_there_is_to_do_and_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, "anchors", "--plan"]) == 1
    assert "There is no row 'anchors'. Families: parts, paper" in capsys.readouterr().err
    assert cli.main([*RUN, "no-anchors", "--plan"]) == 0
    said = capsys.readouterr().out
    assert "3 rows, 3 with their seeds, on 1 images of drawn; 1 more rows are the same as another" in said
    assert "0 support images to draw, 0 prototype sets to make, 2 images to encode" in said
    assert "3 labellings" in said
    assert "left out: no-anchors, because a preset of the engine 'clip_dense' has no [anchors]" in said
    assert "an encoding" in said
    assert "the whole: about" in said
    assert not Path("ablations").exists()


def test_one_command_makes_one_table_and_a_second_run_does_nothing_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(RUN) == 0
    said = capsys.readouterr().out
    assert "| the preset as it is (`full`) |" in said
    assert "| no PAMR (is `full`) |" in said
    out = Path("ablations", "drawn-quick")
    assert (out / "ablation.md").read_text() in said
    rows = json.loads((out / "ablation.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["full", "no-windows", "pamr", "no-pamr"]
    result = read_result(out / "rows" / "full")
    assert rows[0]["figures"]["miou"]["mean"] == result.measures["miou"] > 0
    before = (out / "rows" / "pamr" / "images.jsonl").read_bytes()
    assert cli.main([*RUN, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rows"] == rows
    assert (out / "rows" / "pamr" / "images.jsonl").read_bytes() == before


def test_a_row_is_a_folder_of_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(RUN) == 0
    folder = str(Path("ablations", "drawn-quick", "rows", "full"))
    assert cli.main(["evaluate", "drawn", "--preset", "quick.toml", "--limit", "2", "--out", folder]) == 0
    assert read_result(Path(folder)).images == ("test-0", "test-1")
    assert "2 images of drawn" in capsys.readouterr().out


def test_the_rows_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ablate", "--list"]) == 0
    said = capsys.readouterr().out
    assert "paper-no-background" in said
    assert "on request" in said
    assert cli.main(["ablate"]) == 2
    assert "Ablate on what?" in capsys.readouterr().err


def test_what_engines_tell_about_words_does_not_stand_between_the_progress(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> Done:
        logging.getLogger("ovdiff.segmenting.category_kinds").info("a word is a thing")
        raise RequestError("enough")

    monkeypatch.setattr(command, "run_ablation", run)
    with caplog.at_level(logging.INFO):
        assert cli.main(RUN) == 1
    assert "a word is a thing" not in caplog.text


def test_rows_that_fail_make_the_command_fail(capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = variants(load_any_preset("quick.toml"), ["pamr"])
    full, pamr = jobs_of(found, (42,), Path("out"))
    with pytest.raises(RequestError, match=r"2 rows are not measured, or not on every image.* run the command again"):
        command._complain_of(Done({pamr: "ball: no foreground"}, {full: [Failure("test-0", "It is damaged.")]}))
    said = capsys.readouterr().err
    assert "pamr: ball: no foreground" in said
    assert "full: 1 images, such as test-0: It is damaged." in said
