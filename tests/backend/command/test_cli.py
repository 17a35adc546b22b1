import argparse
import json
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from backend import engine
from backend.command import cli
from backend.serving.http import app, listening
from ovdiff.bank import Bank
from ovdiff.presets import Preset, load_preset
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.signals import terminal_signals

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Run with a fake engine and a data folder of the test, and leave the process's signals as they were."""
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    with terminal_signals():
        yield


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path, str]]:
    """Preset, bank and device of every engine that was made."""
    asked: list[tuple[str, Path, str]] = []

    def make(preset: Preset, bank: Bank, device: str) -> FakeEngine:
        asked.append((preset.name, bank.folder, device))
        return FakeEngine(bank.folder, preset.name)

    monkeypatch.setattr(engine, "make_engine", make)
    return asked


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    path.write_bytes(encoded(red_and_blue()))
    return path


def test_segment_writes_beside_the_image(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["segment", str(scene), "--categories", "red, blue"]) == 0
    assert scene.with_name("scene.overlay.png").is_file()
    assert f"results: {scene.with_name('scene.overlay.png')}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ([], {"scene.overlay.png"}),
        (["--indexed"], {"scene.indexed.png"}),
        (["--indexed", "--overlay"], {"scene.indexed.png", "scene.overlay.png"}),
        (["--coco", "masks.json"], {"masks.json"}),
        (["--coco", "masks.json", "--overlay", "--out", "new"], {"masks.json", "new"}),
        (["--out", "mask.png"], {"mask.png"}),
    ],
)
def test_what_is_asked_for_is_written_and_nothing_else(options: list[str], files: set[str], scene: Path) -> None:
    before = {"scene.png", "data"}
    assert cli.main(["segment", "scene.png", "--categories", "red", *options]) == 0
    assert {path.name for path in scene.parent.iterdir()} - before == files


def written(file: str) -> list[dict[str, object]]:
    annotations = json.loads(Path(file).read_text())["annotations"]
    return [{key: value for key, value in each.items() if key != "id"} for each in annotations]


def test_other_thresholds_are_tried_on_the_coco_file_without_running_a_model(
    scene: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `thresholds` writes is what `segment` would have written with the same thresholds."""
    scene.with_name("other.png").write_bytes(encoded(red_and_blue(96, 64)))
    segment = ["segment", "scene.png", "other.png", "--categories", "red, blue"]
    limits = ["--min-score", "0.8", "--threshold", "red=0.5"]  # the fake's score of both is 0.75
    assert cli.main([*segment, "--coco", "all.json"]) == 0
    assert "what other thresholds would leave of them: ovdiff thresholds all.json\n" in capsys.readouterr().out
    assert cli.main([*segment, "--coco", "asked.json", *limits]) == 0

    def refuse(*_: object) -> None:
        raise AssertionError("A model would have run.")

    monkeypatch.setattr(engine, "make_engine", refuse)
    monkeypatch.setattr(FakeEngine, "segment", refuse)
    assert cli.main(["thresholds", "all.json"]) == 0
    red = capsys.readouterr().out.splitlines()[-2].split()
    assert red == ["red", *["2"] * 8, "0", "0"]
    assert cli.main(["thresholds", "all.json", *limits, "--out", "chosen.json"]) == 0
    assert len(written("all.json")) == 4
    assert (
        written("chosen.json")
        == written("asked.json")
        == [row for row in written("all.json") if row["category_id"] == 1]
    )


@pytest.mark.parametrize(
    ("options", "categories"), [([], {2}), (["--min-score", "0"], {1, 2}), (["--threshold", "blue=0.9"], set())]
)
def test_the_setting_holds_where_no_option_says_otherwise(
    options: list[str], categories: set[int], scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVDIFF_MIN_SCORE", "0.8")
    options = options or ["--threshold", "blue=0.7"]
    assert cli.main(["segment", "scene.png", "--categories", "red, blue", "--coco", "masks.json", *options]) == 0
    assert {row["category_id"] for row in written("masks.json")} == categories


def test_a_threshold_of_no_category_is_wrong_use(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["segment", "scene.png", "--categories", "red", "--threshold", "rad=0.5"]) == 2
    assert "got rad=0.5: did you mean 'red'?" in capsys.readouterr().err


def test_several_images_and_one_that_is_none(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene.with_name("broken.png").write_text("no picture")
    assert cli.main(["segment", "broken.png", "scene.png", "--categories", "red", "--out", "new"]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == "ovdiff: 1 of 2 images could not be segmented; they are named above."
    assert "images: 2 in, 1 segmented, 1 failed\n" in captured.out
    assert [path.name for path in Path("new").iterdir()] == ["scene.overlay.png"]


def test_prototypes_are_built_listed_shown_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prototypes", "build", "red, sea=blue water"]) == 0
    assert cli.main(["prototypes", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out.partition("[")[2].join(["[", ""]))
    assert [item["category"] for item in listed] == ["red", "sea"]
    assert cli.main(["prototypes", "show", "sea", "--out", "sheet.png"]) == 0
    assert Path("sheet.png").is_file()
    assert cli.main(["prototypes", "remove", "sea"]) == 2
    assert "say it with --yes" in capsys.readouterr().err
    assert cli.main(["prototypes", "remove", "sea", listed[0]["key"], "--yes"]) == 0
    assert cli.main(["prototypes", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("no prototypes in the bank ")


def test_options_win_over_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: list[tuple[str, Path, str]]
) -> None:
    (tmp_path / "mine.toml").write_text('base = "fast"\nname = "mine"\n')
    monkeypatch.setenv("OVDIFF_PRESET", "paper")
    monkeypatch.setenv("OVDIFF_DEVICE", "cuda")
    assert cli.main(["prototypes", "build", "red"]) == 0
    assert cli.main(["prototypes", "build", "red", "--preset", "mine.toml", "--device", "cpu", "--bank", "here"]) == 0
    assert made == [("paper", tmp_path / "data/bank", "cuda"), ("mine", Path("here"), "cpu")]
    assert len(Bank(tmp_path / "here").keys()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[generation]\nimagse = 4", "unknown field 'generation.imagse'. Did you mean 'generation.images'?"),
        ("[generation]\nimages = 0", "generation.images is 0; expected 1 to 1024"),
        ("[extractors]\nuse = ['mae']", "models.mae, which is missing"),
        ("[generation", "is not TOML"),
    ],
)
def test_a_wrong_preset_is_told_before_anything_is_made(
    change: str,
    message: str,
    scene: Path,
    made: list[tuple[str, Path, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine.toml").write_text(f'base = "tinyworld"\nname = "mine"\n{change}\n')
    assert cli.main(["segment", "scene.png", "--categories", "red", "--preset", "mine.toml"]) == 2
    assert cli.main(["presets", "show", "mine.toml"]) == 2
    monkeypatch.setenv("OVDIFF_PRESET", "mine.toml")
    assert cli.main(["serve"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert all(error.startswith("ovdiff: ") and message in error for error in errors)
    assert made == []


def test_a_shown_preset_can_be_changed_and_used(
    made: list[tuple[str, Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["presets", "show", "tinyworld"]) == 0
    text = capsys.readouterr().out
    Path("mine.toml").write_text(text.replace("\nimages = 8 ", "\nimages = 4 ").replace('"tinyworld"', '"mine"', 1))
    assert load_preset("mine.toml").generation.images == 4
    assert cli.main(["prototypes", "build", "red", "--preset", "mine.toml"]) == 0
    assert [name for name, _, _ in made] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["segment", "missing.png", "--categories", "red"], 2, "ovdiff: There is no image or folder 'missing.png'"),
        (["segment", "missing.png", "--categories", ","], 2, "ovdiff: The vocabulary is empty"),
        (["segment", ".", "--categories", "red"], 2, "ovdiff: Say with --out where"),
        (["prototypes", "build", "red", "--preset", "papre"], 2, "ovdiff: No preset 'papre'. Known: fast, odise"),
        (["prototypes", "show", "red"], 2, "ovdiff: No prototypes of 'red' in"),
        (["prototypes", "remove", "red"], 2, "ovdiff: No prototypes of 'red' in"),
        (["presets", "show", "papre"], 2, "ovdiff: No preset 'papre'"),
        (["presets", "show", "missing.toml"], 2, "ovdiff: Preset file missing.toml cannot be read"),
        (
            ["convert", "coco", "missing.json", "--label-config", "missing.xml", "--out", "x.json"],
            1,
            "ovdiff convert coco: 'missing.xml' cannot be used: No such file or directory",
        ),
    ],
)
def test_failures_are_one_line(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == status
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_wrong_settings_are_wrong_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OVDIFF_PROT", "1")
    assert cli.main(["settings"]) == 2
    assert capsys.readouterr().err == (
        "ovdiff: OVDIFF_PROT is not a setting. Did you mean OVDIFF_PORT? `ovdiff settings` lists all of them.\n"
    )


def test_interrupting_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(listening, "serve", interrupt)
    assert cli.main(["serve"]) == 130
    monkeypatch.setattr(FakeEngine, "segment", interrupt)
    assert cli.main(["segment", "scene.png", "--categories", "red"]) == 130
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "ovdiff: Give the images that are not done alone, or all of them: results are then written anew.",
        "ovdiff: ended by Ctrl-C; what was finished is kept.",
    ]


def test_a_process_that_was_interrupted_waits_for_none_of_its_threads(
    monkeypatch: pytest.MonkeyPatch, scene: Path
) -> None:
    silent, ended = threading.Event(), list[int]()
    monkeypatch.setattr("os._exit", ended.append)
    monkeypatch.setattr("sys.argv", ["ovdiff", "segment", "scene.png", "--categories", "red"])

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeEngine, "segment", interrupt)
    assert cli.main() == 130 and ended == []
    waiting = threading.Thread(target=silent.wait, args=(20,))
    waiting.start()
    assert cli.main() == 130 and ended == [130]
    silent.set()
    waiting.join()


def test_a_second_ctrl_c_ends_the_process_without_a_traceback(monkeypatch: pytest.MonkeyPatch, scene: Path) -> None:
    silent, ended = threading.Event(), list[int]()
    monkeypatch.setattr("os._exit", ended.append)
    monkeypatch.setattr("sys.argv", ["ovdiff", "segment", "scene.png", "--categories", "red"])

    class Waiting(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            signal.raise_signal(signal.SIGINT)
            super().join(timeout)

    waiting = Waiting(target=silent.wait, args=(20,))

    def interrupt(*_: object, **__: object) -> None:
        waiting.start()
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeEngine, "segment", interrupt)
    with suppress(KeyboardInterrupt):  # which would end the tests
        assert cli.main() == 130
    silent.set()
    assert ended == [130, 130]  # by the second Ctrl-C, and by the end of the wait, which comes in a test alone


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(app, "make_engine", engine.make_engine)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("OVDIFF_PORT", str(port))
        assert cli.main(["serve"]) == 1
    message = f"ovdiff: Cannot listen on 127.0.0.1:{port} (OVDIFF_HOST, OVDIFF_PORT): "
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)


def _leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [leaf for action in inner for command in action.choices.values() for leaf in _leaves(command)] or [parser]


def test_every_command_has_an_example_and_every_example_is_understood() -> None:
    Path("pictures").mkdir()  # which some examples name
    parser = cli._parser()
    for leaf in _leaves(parser):
        examples = (leaf.epilog or "").splitlines()[1:]
        assert examples, f"{leaf.prog} --help shows no example"
        for example in examples:
            command = shlex.split(re.split(r" {3,}| > ", example.strip())[0])
            assert command[0] == parser.prog
            parser.parse_args(command[1:])


def test_quiet_leaves_results_and_errors(
    scene: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # so that the command starts logging, in this test alone
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    images = [str(scene), str(scene.parent / "none.png")]
    scene.with_name("none.png").write_text("no picture")
    assert cli.main(["segment", "--quiet", *images, "--categories", "red, blue", "--out", "out"]) == 1
    captured = capfd.readouterr()
    assert "images: 2 in, 1 segmented, 1 failed" in captured.out
    lines = [line.split("ovdiff: ")[-1] for line in captured.err.splitlines() if " WARNING " not in line]
    assert [line for line in lines if "none.png" not in line and "could not be" not in line] == []


def test_every_command_and_every_argument_says_what_it_does() -> None:
    def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    yield from commands(inner)

    for command in commands(cli._parser()):
        assert command.description, command.prog
        for action in command._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (command.prog, action.dest)


def test_every_command_of_ours_may_be_quiet() -> None:
    parser = cli._parser()
    ours = [leaf for leaf in _leaves(parser) if leaf.get_default("act") is not None]
    assert len(ours) > 25
    assert [leaf.prog for leaf in ours if "--quiet" not in leaf.format_usage()] == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_can_complete_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--instances" in script and "add-exemplar" in script


def test_bash_completes_commands_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "ovdiff.bash").write_text(capsys.readouterr().out)
    ask = 'source ./ovdiff.bash; COMP_WORDS=(ovdiff prototypes re); COMP_CWORD=2; _shtab_ovdiff; echo "${COMPREPLY[@]}"'
    run = subprocess.run(["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert sorted(run.stdout.split()) == ["reject", "remove", "remove-exemplar", "restore"]


def test_the_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["presets", "list"],
        ["presets", "show", "paper"],
        ["presets", "check", "tinyworld"],
        ["prototypes", "list"],
        ["settings"],
        ["--help"],
    ],
)
def test_looking_things_up_needs_no_torch(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom backend.command.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join({name.split('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout
    assert {"torch", "diffusers", "transformers", "sklearn", "flask"} & set(run.stderr.split()) == set()
    assert "numpy" in run.stderr.split()


def test_a_file_that_is_not_there_is_named_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["learn", "export.json", "--label-config", "gone.xml"]) == cli.FAILED
    assert (
        capsys.readouterr().err == "ovdiff: 'gone.xml' cannot be used: No such file or directory. Correct its path.\n"
    )


def test_a_file_is_no_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It was said to hold no prototypes, or its leases could not be read."""
    (tmp_path / "file").touch()
    assert cli.main(["prototypes", "list", "--bank", "file"]) == cli.WRONG_USE
    assert "--bank is 'file', a file; expected the folder of a bank" in capsys.readouterr().err
    monkeypatch.setenv("OVDIFF_BANK", "file")
    assert cli.main(["prototypes", "list"]) == cli.WRONG_USE
    assert "OVDIFF_BANK is 'file', a file" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["list", "show"])
def test_what_stdout_does_not_take_is_an_error(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A short result was refused when Python ended, which said so in its own words and with a status of its own."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["presets", verb, *(["paper"] if verb == "show" else [])]) == cli.FAILED
    assert capsys.readouterr().err == "ovdiff: No space left on device.\n"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert cli.main(["projects", "list"]) == cli.FAILED
    assert capsys.readouterr().err == ""


def test_streams_that_are_closed_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ovdiff projects list >&-` ended in a traceback, and a question without a stdin."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert cli.main(["projects", "list"]) == 0
    assert cli.main(["projects", "forget", "3"]) == cli.WRONG_USE
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_a_reader_that_has_seen_enough_is_no_complaint() -> None:
    command = [sys.executable, "-m", "backend.command.cli", "presets", "list"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.close()
        assert run.wait(60) == 1
        assert run.stderr.read() == b""
