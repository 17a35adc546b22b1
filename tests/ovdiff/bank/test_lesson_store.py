import itertools
import logging
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovdiff.bank.lesson_store import LessonStore
from ovdiff.bank.lessons import Lesson
from ovdiff.errors import LessonCorruptError, LessonError
from tests.ovdiff.bank.a_lesson import RECIPE, a_lesson, unit

ROOT = Path(__file__).parents[3]


def _equal(left: Lesson, right: Lesson) -> bool:
    facts = [(each.address, each.words, each.complete, each.weight, each.source) for each in (left, right)]
    groups = [[*each.spaces.values(), each.crops] for each in (left, right)]
    arrays = [[array for group in of if group for array in vars(group).values()] for of in groups]
    embeddings = np.array_equal(left.embedding, right.embedding)  # type: ignore[arg-type]
    return facts[0] == facts[1] and embeddings and all(map(np.array_equal, *arrays))


def test_a_lesson_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store, lesson = LessonStore(tmp_path / "bank/lessons"), a_lesson()
    assert store.addresses() == () and store.cards() == () and not store.has(lesson.address)
    store.save(lesson)
    for each in (store, LessonStore(store.folder)):
        assert each.has(lesson.address) and each.addresses() == (lesson.address,)
        assert _equal(each.load(lesson.address), lesson)
    assert store.load(lesson.address).spaces["clip"].vectors.dtype == np.float32
    bare = replace(a_lesson(1), crops=None, embedding=None)
    store.save(bare)
    assert store.load(bare.address).crops is None and store.load(bare.address).embedding is None


def test_only_lessons_that_are_on_of_the_recipe_and_of_an_asked_word_are_in_force(tmp_path: Path) -> None:
    store = LessonStore(tmp_path)
    balls, skies, other = a_lesson(), a_lesson(1, words=("sky",)), a_lesson(2, recipe="0e" * 32)
    for lesson in (balls, skies, other):
        store.save(lesson)

    def names(*phrases: tuple[str, ...]) -> set[str]:
        return {lesson.address for lesson in store.in_force(RECIPE, phrases or None)}

    assert names() == {balls.address, skies.address}
    assert names(("mug",)) == {balls.address} and names(("boat",)) == set()
    store.change(balls.address, on=False)
    assert names() == {skies.address} and not store.card(balls.address).on
    store.change(balls.address, on=True)
    assert names() == {balls.address, skies.address}


def test_the_order_in_which_lessons_are_taken_does_not_matter(tmp_path: Path) -> None:
    lessons, seen = [a_lesson(seed) for seed in range(3)], set()
    for number, order in enumerate(itertools.permutations(lessons)):
        store = LessonStore(tmp_path / str(number))
        for lesson in order:
            store.save(lesson)
        assert [lesson.address for lesson in store.in_force(RECIPE)] == sorted(lesson.address for lesson in lessons)
        seen.add(store.digest(RECIPE))
    assert len(seen) == 1 and "" not in seen


def test_the_digest_follows_what_counts_and_comes_back(tmp_path: Path) -> None:
    store, service = LessonStore(tmp_path), LessonStore(tmp_path)  # the service's own store sees the command's changes
    assert service.digest(RECIPE) == ""
    store.save(a_lesson())
    one = service.digest(RECIPE)
    store.save(a_lesson(1))
    assert len({"", one, service.digest(RECIPE)}) == 3
    store.change(a_lesson(1).address, on=False)
    assert service.digest(RECIPE) == one
    store.change(a_lesson().address, weight=0.5)
    assert service.digest(RECIPE) not in ("", one) and service.load(a_lesson().address).weight == 0.5
    store.change(a_lesson().address, weight=1)
    assert service.digest(RECIPE) == one and service.digest(RECIPE, [("boat",)]) == ""
    store.remove(a_lesson().address)
    assert service.digest(RECIPE) == ""
    store.remove(a_lesson(1).address)
    assert list(tmp_path.iterdir()) == []


def test_a_lesson_replaces_those_of_older_annotations_and_keeps_its_own_switch(tmp_path: Path) -> None:
    store, old, new = LessonStore(tmp_path), a_lesson(0, task="7"), a_lesson(1, task="7")
    store.save(old)
    store.save(new, replacing=[old.address, new.address])
    assert store.addresses() == (new.address,)
    store.change(new.address, on=False, weight=0.25)
    store.save(new)
    assert (store.card(new.address).on, store.card(new.address).weight) == (False, 0.25)


def test_lessons_of_one_task_are_found(tmp_path: Path) -> None:
    store, source = LessonStore(tmp_path), a_lesson(0, task="7").source
    own, same, elsewhere = a_lesson(0, task="7"), a_lesson(1, task="7"), a_lesson(2)
    for lesson in (own, same, elsewhere, replace(a_lesson(3, task="7"), recipe="0e" * 32)):
        store.save(lesson)
    assert set(store.of_task(RECIPE, source)) == {own.address, same.address}
    assert store.of_task(RECIPE, source, per_annotation=True) == (own.address,)
    assert store.of_task(RECIPE, replace(source, project="2")) == ()
    assert store.of_task(RECIPE, replace(source, image="other.png")) == ()
    store.save(replace(a_lesson(4), source=replace(source, task="")))
    assert store.of_task(RECIPE, replace(source, task="")) == ()  # of an unknown task nothing is known


def test_a_damaged_lesson_is_named_counts_as_off_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, whole, broken = LessonStore(tmp_path), a_lesson(0), a_lesson(1)
    store.save(whole)
    digest = store.digest(RECIPE)
    store.save(broken)
    file = tmp_path / f"{broken.address}.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert store.digest(RECIPE) == digest
    assert caplog.text.count(file.name) == 1 and "SHA-256 differs" in caplog.text
    assert [lesson.address for lesson in store.in_force(RECIPE)] == [whole.address]
    assert not store.has(broken.address) and [error.path for error in store.damaged()] == [file]
    for call in (store.load, store.card, lambda address: store.change(address, on=True)):
        with pytest.raises(LessonCorruptError, match=file.name):
            call(broken.address)
    store.save(broken)  # learning from the task again mends it
    assert store.has(broken.address) and store.damaged() == () and _equal(store.load(broken.address), broken)


@pytest.mark.parametrize("change", ["card cut", "card gone wrong", "card of another", "arrays gone", "arrays cut"])
def test_each_damage_is_noticed_and_can_be_removed(tmp_path: Path, change: str) -> None:
    store, lesson = LessonStore(tmp_path), a_lesson()
    store.save(lesson)
    card, arrays = (tmp_path / f"{lesson.address}{suffix}" for suffix in (".json", ".safetensors"))
    if change == "card cut":
        card.write_text(card.read_text()[:-40])
    elif change == "card gone wrong":
        card.write_text(card.read_text().replace('"ball"', '"bowl"'))
    elif change == "card of another":
        store.save(a_lesson(1))
        card.write_bytes((tmp_path / f"{a_lesson(1).address}.json").read_bytes())
        store.remove(a_lesson(1).address)
    elif change == "arrays gone":
        arrays.unlink()
    else:
        arrays.write_bytes(arrays.read_bytes()[:100])
    assert not store.has(lesson.address) and len(store.damaged()) == 1 and store.in_force(RECIPE) == ()
    assert store.addresses() == (lesson.address,)
    store.remove(lesson.address)
    assert store.addresses() == () and store.damaged() == ()


def test_arrays_without_a_card_are_no_lesson(tmp_path: Path) -> None:
    store, lesson = LessonStore(tmp_path), a_lesson()
    store.save(lesson)
    (tmp_path / f"{lesson.address}.json").unlink()
    assert store.addresses() == () and not store.has(lesson.address) and store.damaged() == ()


def test_what_cannot_be_done_says_so(tmp_path: Path) -> None:
    store, lesson = LessonStore(tmp_path / "lessons"), a_lesson()
    for call in (store.card, store.load, lambda address: store.change(address, on=True)):
        with pytest.raises(LessonError, match=f"No lesson {lesson.address[:12]} in .*`ovdiff lessons list`"):
            call(lesson.address)
    store.remove(lesson.address)  # nothing to do
    with pytest.raises(LessonError, match=r"'../x' is not the address of a lesson"):
        store.load("../x")
    store.save(lesson)
    for weight in (0.0, -1.0, float("nan"), float("inf"), 1e30):
        with pytest.raises(LessonError, match="expected a number above 0"):
            store.change(lesson.address, weight=weight)
    for value in (np.nan, 1e6):
        rows = replace(lesson.spaces["clip"], vectors=unit(5, 4, 0) * np.float32(value))
        with pytest.raises(LessonError, match=r"rows.clip.vectors of a lesson does not fit float16"):
            store.save(replace(lesson, spaces={"clip": rows}))
    (tmp_path / "file").write_text("")
    with pytest.raises(LessonError, match="cannot be written"):
        LessonStore(tmp_path / "file").save(lesson)


_WRITER = """
import sys
from ovdiff.errors import LessonCorruptError, LessonError
from tests.ovdiff.bank.a_lesson import a_lesson
from ovdiff.bank.lesson_store import LessonStore
store, lessons = LessonStore(sys.argv[1]), [a_lesson(seed) for seed in range(4)]
print("ready", flush=True)
turn = 0
while turn < int(sys.argv[2]):
    lesson = lessons[turn % 4]
    store.save(lesson)
    try:
        store.change(lesson.address, on=bool(turn % 3))
    except LessonCorruptError:
        raise
    except LessonError:
        pass  # the other process has removed it
    if turn % 2:
        store.remove(lesson.address)
    turn += 1
    print(turn, flush=True)
"""


def _writer(folder: Path, turns: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(folder), str(turns)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_two_processes_change_one_store_and_a_third_reads_only_whole_lessons(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writers, store = [_writer(tmp_path, 40) for _ in range(2)], LessonStore(tmp_path)
    while any(writer.poll() is None for writer in writers):
        for lesson in store.in_force(RECIPE):
            assert len(lesson.spaces["clip"].vectors) == 5
        store.digest(RECIPE)
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.read().split()[-1] == "40"
        writer.stdout.close()
    assert "damaged" not in caplog.text and store.damaged() == ()


_KILLED = """
import os, signal, sys
from ovdiff.bank import lesson_store
from tests.ovdiff.bank.a_lesson import a_lesson
left, write = int(sys.argv[2]), lesson_store.write_whole
def write_or_die(path, data):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    write(path, data)
lesson_store.write_whole = write_or_die
lesson_store.LessonStore(sys.argv[1]).save(a_lesson(1), replacing=[a_lesson(0).address])
"""


@pytest.mark.parametrize("writes", [0, 1])
def test_a_lesson_that_was_being_written_when_its_process_was_killed_is_none(tmp_path: Path, writes: int) -> None:
    store, old, new = LessonStore(tmp_path), a_lesson(0), a_lesson(1)
    store.save(old)
    run = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), str(writes)], cwd=ROOT, check=False)
    assert run.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 2 + writes
    assert store.addresses() == (old.address,) and store.damaged() == ()  # what it would replace is still there
    store.save(new, replacing=[old.address])
    assert store.addresses() == (new.address,) and len(list(tmp_path.iterdir())) == 2


def test_a_process_that_is_killed_at_any_time_leaves_whole_lessons(tmp_path: Path) -> None:
    with _writer(tmp_path, 10**6) as writer:
        assert writer.stdout is not None
        for _ in range(9):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    store = LessonStore(tmp_path)
    assert store.damaged() == ()
    for address in store.addresses():
        assert len(store.load(address).spaces["clip"].vectors) == 5
    store.save(a_lesson())  # nothing is locked, and what was left over is in nobody's way
    assert store.has(a_lesson().address)
