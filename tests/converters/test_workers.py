"""Several processes: the results of one, in order; errors, Ctrl-C and a kill leave no process behind."""

import functools
import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from benchmarks.converters_speed import write_export
from converters.cli import main
from converters.console import INTERRUPTED
from converters.errors import WorkersError
from converters.workers import ordered_map, thread_pool, worker_pool
from tests.fakes.signals import terminal_signals

SETTLE_S = 120.0
_READ_AT_ONCE = 1 << 20  # characters: the reader of JSON waits for so many


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(ordered_map(partial(pow, 2), range(30), workers)) == [2**i for i in range(30)]


def test_ctrl_c_waits_for_no_thread_that_waits_for_a_server() -> None:
    silent = threading.Event()
    with pytest.raises(KeyboardInterrupt), thread_pool(1, "waiting") as pool:
        call, next_one = pool.submit(silent.wait, 20), pool.submit(silent.wait, 20)
        raise KeyboardInterrupt
    assert not call.done() and next_one.cancelled()
    silent.set()
    with pytest.raises(KeyError), thread_pool(1, "waiting") as pool:
        call = pool.submit(time.sleep, 0.1)
        raise KeyError
    assert call.done()


def test_a_block_that_ends_by_itself_waits_for_all_calls() -> None:
    """Whoever was handed a call may still want it, such as the next of two pools that read ahead."""

    def stay_until_the_end() -> str:
        with suppress(RuntimeError):  # An ended pool takes no call any more.
            while True:
                pool.submit(abs, 1)
                time.sleep(0.01)
        return "ended"

    with thread_pool(1, "waiting") as pool:
        calls = [pool.submit(stay_until_the_end), pool.submit(abs, -1)]
    assert [call.result(0) for call in calls] == ["ended", 1]


@pytest.mark.parametrize("again", [False, True])
def test_ctrl_c_waits_for_no_process_that_waits_for_a_server(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is pressed again while the processes have their moment to end."""

    def join(ending: threading.Thread, timeout: float | None = None) -> None:
        if again and ending.name == "ovdiff-ending" and timeout is not None:
            raise KeyboardInterrupt
        wait(ending, timeout)

    wait = threading.Thread.join
    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:
        pool.submit(abs, 1).result()
        (process,) = multiprocessing.active_children()
        call = pool.submit(time.sleep, 20)
        while not call.running():  # Before that it would be cancelled.
            time.sleep(0.01)
        raise KeyboardInterrupt
    process.join(10)
    assert process.exitcode == -signal.SIGTERM


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_read_a_little_ahead_only(workers: int) -> None:
    numbers = itertools.count()
    results = ordered_map(abs, numbers, workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert next(numbers) < 100
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_that_of_the_function(workers: int) -> None:
    with pytest.raises(ValueError, match="invalid literal for int"):
        list(ordered_map(int, ["1", "2", "three"], workers))


def test_what_is_nested_too_deeply_for_a_message_is_done_all_the_same() -> None:
    deep = functools.reduce(lambda inner, _: [inner], range(700), [])
    assert list(ordered_map(len, [[1, 2], deep, [3]], 2)) == [2, 1, 1]


def test_a_function_that_cannot_be_pickled_is_an_error_and_no_endless_wait() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
        list(ordered_map(lambda item: item, range(30), 2))


def test_a_worker_that_ends_early_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(WorkersError, match=r"expected 2 processes to finish .* name fewer with --workers"):
        list(ordered_map(os._exit, [1], 2))


# ---------------------------------------------------------------- the commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    write_export(folder, 6, "brush", (48, 64))
    return folder


def convert(folder: Path, out: Path, workers: int, *words: str) -> bytes:
    config = ["--label-config", str(folder / "config.xml")]
    export = str(folder / "export.json")
    assert main(["convert", "coco", export, *config, "--out", str(out), "--workers", str(workers), *words]) == 0
    return out.read_bytes()


def test_every_command_writes_the_same_bytes_with_more_workers(folder: Path, tmp_path: Path) -> None:
    assert convert(folder, tmp_path / "1.json", 1) == convert(folder, tmp_path / "2.json", 2)
    for workers in ("1", "2"):
        to = ["--out", str(tmp_path / workers), "--workers", workers]
        words = [str(folder / "export.json"), "--label-config", str(folder / "config.xml")]
        assert main(["evaluate-corrections", *words, *to]) == 0
        tasks = ["--out", str(tmp_path / f"tasks-{workers}.json"), "--workers", workers]
        assert main(["import", "coco", str(tmp_path / "1.json"), *tasks]) == 0
    for name in ("corrections.json", "corrections.md", "corrections.html"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name
    assert (tmp_path / "tasks-1.json").read_bytes() == (tmp_path / "tasks-2.json").read_bytes()
    assert len(json.loads((tmp_path / "tasks-1.json").read_text())) == 6


def test_a_number_of_workers_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        convert(folder, folder / "no.json", 0)
    assert "expected a number of processes, 1 or more, got '0'" in capsys.readouterr().err


@pytest.fixture
def running(folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A conversion that waits for more of its export, in a process group of its own, with its workers at work."""
    pipe = tmp_path / "export.json"
    os.mkfifo(pipe)
    words = ["convert", "coco", str(pipe), "--label-config", str(folder / "config.xml"), "--workers", "2"]
    with terminal_signals():
        process = subprocess.Popen(
            [sys.executable, "-m", "converters", *words, "--out", str(tmp_path / "coco.json")],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    text = (folder / "export.json").read_text()[1:-1]
    with pipe.open("w") as file:
        file.write("[" + ",".join([text] * (_READ_AT_ONCE // len(text) + 2)) + ",")
        file.flush()
        # The command, the tracker that multiprocessing starts, two workers; all of them waiting.
        wait_until(lambda: len(group_of(process.pid)) == 4 and is_idle(process.pid))
        yield process
    process.kill()
    process.wait()


def test_ctrl_c_ends_all_processes_without_a_word(running: subprocess.Popen[str], tmp_path: Path) -> None:
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    assert running.wait(SETTLE_S) == INTERRUPTED
    assert running.stderr is not None and running.stderr.read() == ""
    wait_until(lambda: group_of(running.pid) == [])
    assert not (tmp_path / "coco.json").exists()


def test_a_kill_ends_the_workers_too(running: subprocess.Popen[str]) -> None:
    running.kill()
    running.wait()
    wait_until(lambda: group_of(running.pid) == [])


def group_of(group: int) -> list[int]:
    """Return the living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if int(of) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def is_idle(group: int) -> bool:
    """Tell whether all processes of a group sleep and none computes for a while.

    On a busy machine a process that would compute gets no processor for seconds; it does not sleep, though.
    """
    before = _states_and_ticks(group)
    time.sleep(0.5)
    return _states_and_ticks(group) == before and {state for state, *_ in before} == {"S"}


def _states_and_ticks(group: int) -> list[list[str]]:
    """Return the state of each process of a group, and its processor time in user and in system mode."""
    stats = (Path(f"/proc/{number}/stat").read_text() for number in sorted(group_of(group)))
    fields = [stat.rpartition(")")[2].split() for stat in stats]
    return [[each[0], *each[11:13]] for each in fields]


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


_INTERRUPTED_AT_BIRTH = """
import multiprocessing.process, os, signal
from converters.workers import ordered_map
from tests.fakes.signals import terminal_signals

start = multiprocessing.process.BaseProcess.start

def start_and_be_interrupted(process):
    start(process)
    os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    multiprocessing.process.BaseProcess.start = start_and_be_interrupted
    try:
        list(ordered_map(len, ["a"] * 100, 2))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_while_a_worker_is_started_waits_for_nobody(tmp_path: Path) -> None:
    """The pool did not know the process yet, and Python waited for it at the end."""
    (tmp_path / "program.py").write_text(_INTERRUPTED_AT_BIRTH)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with terminal_signals():
        run = subprocess.run(
            [sys.executable, "program.py"],
            check=False,
            cwd=tmp_path,
            env=environment,
            timeout=SETTLE_S,
            capture_output=True,
            text=True,
        )
    assert (run.stdout, run.stderr) == ("interrupted\n", "")
