"""Figures on disk: nothing is lost, nothing of another run is mixed in."""

import json
import multiprocessing
import subprocess
import sys
from dataclasses import replace
from io import RawIOBase
from pathlib import Path
from typing import Any

import pytest

from ovdiff.errors import EvaluationError
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.records import IMAGES, Records, read_records, require_no_other_run

RUN = {"dataset": "squares", "sizes": [4]}


def figures(image: str, pixels: int = 7) -> ImageFigures:
    return ImageFigures(image, (3, 5), ((0, 0, pixels),), (), ((1, 0.5),), seconds={"segment": 0.1})


def written(folder: Path, *images: str) -> Path:
    with Records(folder, RUN) as records:
        for number, image in enumerate(images):
            records.add(figures(image, number))
    return folder / IMAGES


def test_figures_come_back_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path / "new", "b", "a")
    with Records(tmp_path / "new", RUN) as records:
        assert "a" in records
        assert "c" not in records
        assert list(records.figures(["a", "c", "b"])) == [figures("a", 1), figures("b", 0)]
    assert list(read_records(tmp_path / "new")) == [figures("b", 0), figures("a", 1)]
    assert list(read_records(tmp_path / "new", ["a"])) == [figures("a", 1)]


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_line_that_a_kill_cut_off_is_dropped_and_written_anew(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path, "a", "b")
    path.write_bytes(path.read_bytes()[:-cut])
    assert [each.image for each in read_records(tmp_path)] == ["a"]
    with Records(tmp_path, RUN) as records:
        assert "b" not in records
        records.add(figures("b", 1))
        records.add(figures("c", 2))
    assert [each.pixels[0][2] for each in read_records(tmp_path)] == [0, 1, 2]


def test_figures_are_there_before_the_file_is_closed(tmp_path: Path) -> None:
    with Records(tmp_path, RUN) as records:
        records.add(figures("a"))
        assert [each.image for each in read_records(tmp_path)] == ["a"]


@pytest.mark.parametrize("line", [b"{}\n", b"not json\n", b"[1]\n"])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path, "a")
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(EvaluationError, match=r"Line 2 of .* is damaged"):
        Records(tmp_path, RUN)
    with pytest.raises(EvaluationError, match=r"Line 2 of .* is damaged"):
        list(read_records(tmp_path))


def test_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    written(tmp_path, "a")
    with pytest.raises(EvaluationError, match=r"holds another evaluation: its preset, sizes differ\. Name another"):
        Records(tmp_path, {**RUN, "sizes": [8], "preset": {}})
    with Records(tmp_path, json.loads(json.dumps(RUN))) as records:
        assert "a" in records


def test_another_run_is_refused_by_what_is_known_before_it_begins(tmp_path: Path) -> None:
    require_no_other_run(tmp_path, RUN)
    assert not list(tmp_path.iterdir())
    written(tmp_path, "a")
    require_no_other_run(tmp_path, {"sizes": RUN["sizes"]})
    with pytest.raises(EvaluationError, match=r"holds another evaluation: its sizes differ"):
        require_no_other_run(tmp_path, {"sizes": [8]})


def test_a_damaged_run_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "a")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(EvaluationError, match=r"run.json' is damaged"):
        Records(tmp_path, RUN)


def _hold(folder: Path, held: "multiprocessing.synchronize.Event", go: "multiprocessing.synchronize.Event") -> None:
    with Records(folder, RUN):
        held.set()
        go.wait(30)


def test_two_processes_do_not_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, go))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(EvaluationError, match="Another process is evaluating into"):
            Records(tmp_path, RUN)
    finally:
        go.set()
        other.join(30)
    with Records(tmp_path, RUN) as records:
        records.add(figures("a"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="file/below' cannot be used"):
        Records(tmp_path / "file" / "below", RUN)


def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Records(tmp_path, RUN) as records:
        records.add(figures("a"))

        class Full:
            """A disk with room for five more bytes."""

            def __init__(self, file: RawIOBase) -> None:
                self._file, self._room = file, 5

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

            def write(self, data: bytes) -> int:
                if not self._room:
                    raise OSError(28, "No space left on device")
                taken, self._room = self._room, 0
                return int(self._file.write(data[:taken]))  # type: ignore[arg-type]

        file = records._file
        monkeypatch.setattr(records, "_file", Full(file))  # type: ignore[arg-type]
        with pytest.raises(EvaluationError, match=r"No space left on device.* what was evaluated is kept"):
            records.add(figures("b"))
        assert "b" not in records
        monkeypatch.setattr(records, "_file", file)
        records.add(figures("c"))
    assert [each.image for each in read_records(tmp_path)] == ["a", "c"]


def test_a_disk_that_stays_full_does_not_hide_what_to_do(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from ovdiff.errors import EvaluationError\n"
        "from tests.ovdiff.evaluation.test_records import RUN, Records, figures\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with Records(Path(sys.argv[1]), RUN) as records:\n"
        "    records.add(figures('a'))\n"
        "    size = (Path(sys.argv[1]) / 'images.jsonl').stat().st_size\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))\n"
        "    records.add(figures('b'))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "EvaluationError: The figures of 'b' cannot be written" in run.stderr
    assert "Give it room, and run the command again" in run.stderr
    assert (tmp_path / IMAGES).read_bytes().count(b"\n") == 1
    assert [each.image for each in read_records(tmp_path)] == ["a"]


def test_a_folder_without_an_evaluation_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no evaluation"):
        list(read_records(tmp_path))


def test_what_is_written_is_what_was_given(tmp_path: Path) -> None:
    given = replace(figures("ö/a b"), segments=((1, 0, 1, 0, 0.1),))
    with Records(tmp_path, RUN) as records:
        records.add(given)
    assert list(read_records(tmp_path)) == [given]
