import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.errors import StoreError
from backend.serving.store import MIGRATIONS, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state.sqlite"


def test_projects_outlive_the_process(path: Path) -> None:
    store = Store(path, event_rows=10)
    store.save_label_config("1.5", "<View/>")
    store.save_label_config("2.6", "<View>two</View>")
    store.save_label_config("1.5", "<View>new</View>")
    assert Store(path, event_rows=10).label_configs() == {"2.6": "<View>two</View>", "1.5": "<View>new</View>"}


def test_model_versions_come_newest_first_and_once(path: Path) -> None:
    store = Store(path, event_rows=10)
    for project, version in [("1", "a"), ("1", "b"), ("2", "a"), ("1", "a")]:
        store.save_model_version(project, version)
    assert store.model_versions() == ["a", "b"]


def test_only_the_newest_events_are_kept(path: Path) -> None:
    store = Store(path, event_rows=3)
    for number in range(10):
        store.add_event("ANNOTATION_CREATED", {"annotation": number})
    assert [event.details["annotation"] for event in store.events()] == [7, 8, 9]
    assert store.events()[0].received_at.endswith("+00:00")


def test_threads_may_write_at_once(path: Path) -> None:
    store = Store(path, event_rows=1000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.add_event("X", {"n": number}), range(40)))
    assert sorted(event.details["n"] for event in store.events()) == list(range(40))


def test_a_damaged_file_is_named_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"state\.sqlite: file is not a database\. If it is damaged, move it away"):
        Store(path, event_rows=10)
    assert path.read_bytes() == b"this is no database" * 100


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    Store(path, event_rows=10)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="has form 99, this ovdiff knows 4"):
        Store(path, event_rows=10)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot make the folder .*Set OVDIFF_DATA_DIR"):
        Store(tmp_path / "file" / "state.sqlite", event_rows=10)


def test_a_project_that_is_marked_is_forgotten_until_it_is_saved_again(path: Path) -> None:
    store = Store(path, event_rows=10)
    for uid in ("1.5", "2.6"):
        store.save_label_config(uid, "<View/>")
        store.save_model_version(uid, f"version of {uid}")
    Store(path, event_rows=10).mark_forgotten("1.5")  # such as a command beside the running service
    marks = store.marks()
    assert (list(marks.changed_at), marks.forgotten) == (["2.6"], {"1.5"})
    assert store.model_versions() == ["version of 2.6"]
    store.save_label_config("1.5", "<View/>")
    assert store.marks().forgotten == frozenset()
    assert sorted(store.marks().changed_at) == ["1.5", "2.6"]


def test_what_is_forgotten_leaves_no_mark(path: Path) -> None:
    store = Store(path, event_rows=10)
    store.save_label_config("1.5", "<View/>")
    store.mark_forgotten("1.5")
    store.forget("1.5")
    assert (store.projects(), store.marks().forgotten) == ([], frozenset())


def test_saving_says_when_the_config_changed_last(path: Path) -> None:
    store = Store(path, event_rows=10)
    first = store.save_label_config("1.5", "<View/>")
    assert store.save_label_config("1.5", "<View/>") == first
    assert store.save_label_config("1.5", "<View>new</View>") > first
    assert store.marks().changed_at == {"1.5": store.projects()[0].changed_at}


def delete(path: Path) -> None:
    path.unlink()


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def put_other_database(path: Path) -> None:
    Store(path.with_name("other"), event_rows=10).save_label_config("9.9", "<View/>")
    path.with_name("other").replace(path)


def put_older_form(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")


@pytest.mark.parametrize("lose", [delete, delete_folder, empty, put_other_database, put_older_form])
def test_a_file_that_is_lost_or_replaced_while_it_is_in_use_is_made_anew(
    path: Path, lose: Callable[[Path], None]
) -> None:
    store = Store(path, event_rows=10)
    store.save_label_config("1.5", "<View/>")
    lose(path)
    assert "1.5" not in store.marks().changed_at
    store.save_label_config("1.5", "<View/>")
    store.add_event("X", {})
    store.save_model_version("1.5", "a")
    assert Store(path, event_rows=10).label_configs()["1.5"] == "<View/>"


def test_a_damaged_file_that_is_moved_away_while_it_is_in_use_is_made_anew(path: Path) -> None:
    store = Store(path, event_rows=10)
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="If it is damaged, move it away: a new one is made"):
        store.save_label_config("1.5", "<View/>")
    path.rename(path.with_name("damaged"))
    store.save_label_config("1.5", "<View/>")
    assert store.label_configs() == {"1.5": "<View/>"}


def test_a_check_writes_and_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite", event_rows=10)
    store.save_label_config("1.2", "<View/>")
    store.check()
    assert store.label_configs() == {"1.2": "<View/>"}
    with sqlite3.connect(tmp_path / "state.sqlite") as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write now
        with pytest.raises(StoreError, match="locked"):
            store.check()
