"""Whatever is kept on disk survives a kill at every step and a disk that is full at every step: old, or new, and whole.

Afterwards the same change is made as if nothing had happened.
"""

import itertools
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from backend.serving.store import Store
from converters.files.atomic import is_partial
from tests.fakes.waiting import eventually
from tests.faults.steps import Stopped, killed_at_each_step, without_room_at_each_step, without_room_in_a_file
from tests.faults.stores import KEPT, Kept


@pytest.fixture(params=KEPT)
def kept(request: pytest.FixtureRequest) -> Kept:
    return KEPT[request.param]


class World:
    """A folder in which a change is disturbed, and its state before and after the change."""

    def __init__(self, kept: Kept, folder: Path) -> None:
        self.kept, self.folder, self._fresh = kept, folder / "now", folder / "before"
        self._fresh.mkdir()
        kept.prepare(self._fresh)
        self._renew()
        self.before = kept.state(self.folder)
        kept.change(self.folder)
        self.after = kept.state(self.folder)
        assert self.before != self.after
        self._names = {path.name for top in (self.folder, self._fresh) for path in top.rglob("*")}
        self._renew()

    def change(self) -> None:
        self.kept.change(self.folder)

    def _renew(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._fresh, self.folder)

    def check(self, stopped: Stopped, *, tidy: bool) -> None:
        """Require a true state, and that the change can be made afterwards; then all is as before again."""
        folder = self.folder
        found = self.kept.state(folder)
        assert found in (self.before, self.after, *self.kept.half), stopped
        left = [path for path in folder.rglob("*") if path.name not in self._names]
        beside = [path for path in left if not any(is_partial(part) for part in path.relative_to(folder).parts)]
        assert [path for path in beside if not path.name.endswith(("-journal", "-wal", "-shm"))] == [], stopped
        if tidy:
            assert left == beside, stopped
        if found != self.after:
            self.change()
            assert self.kept.state(folder) == self.after, stopped
        self._renew()


@pytest.fixture
def world(kept: Kept, tmp_path: Path) -> World:
    return World(kept, tmp_path)


def test_what_is_killed_at_any_step_leaves_the_old_or_the_new(world: World) -> None:
    count = 0
    for stopped in killed_at_each_step(world.change):
        world.check(stopped, tidy=False)
        count += 1
    assert count or world.kept is KEPT["project"]  # SQLite writes out of Python's sight


def test_a_disk_that_is_full_from_any_step_on_is_told_and_leaves_the_old_or_the_new(world: World) -> None:
    count = 0
    for stopped in without_room_at_each_step(world.change):
        if stopped.error is not None:
            assert type(stopped.error).__name__ == world.kept.raises, stopped
            assert "No space left on device" in str(stopped.error)
        elif world.kept.raises:  # it was a folder to be made that was there
            assert world.kept.state(world.folder) == world.after
        world.check(stopped, tidy=True)
        count += 1
    assert count


def test_a_file_that_cannot_grow_further_is_told_and_is_not_there(world: World) -> None:
    stopped = without_room_in_a_file(world.change, 20)
    assert (type(stopped.error).__name__ if stopped.error else "") == world.kept.raises, stopped
    found = world.kept.state(world.folder)
    assert found == world.before or found in world.kept.half
    world.check(stopped, tidy=True)


def test_a_state_file_whose_writer_is_killed_holds_the_old_or_the_new(tmp_path: Path) -> None:
    """SQLite writes where no step of Python's can be counted, so the moment is left to chance."""
    path, configs = tmp_path / "state.sqlite", {"<View/>" * 3000, "<View></View>" * 3000}

    def write_for_ever() -> None:
        store = Store(path, event_rows=10)
        for config in itertools.cycle(configs):
            store.save_label_config("1.1", config)

    for _ in range(6):
        store = Store(path, event_rows=10)
        before = store.projects()
        writer = multiprocessing.get_context("fork").Process(target=write_for_ever)
        writer.start()
        assert eventually(lambda: store.projects() != before)  # noqa: B023 — used in this turn alone
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join(60)
        assert Store(path, event_rows=10).label_configs()["1.1"] in configs
        Store(path, event_rows=10).save_label_config("2.2", "<View/>")  # nothing is locked
