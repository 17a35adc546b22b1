"""The state of the service that survives a restart, in one SQLite file.

The file holds each project with its label config in force, the model versions that projects were given, the events that
Label Studio sent, and which annotations are to be read or were read (`backend.serving.teaching.notes`). Prototypes are
in the bank and not in this file. If the file is lost, no computed work is lost.
The file may be moved away, deleted or replaced while the service runs: the next call makes what is missing, and the
service writes again what it knows.

`ovdiff projects forget` works on the same file, in a process of its own. It deletes the project's rows and leaves a
mark, by which a running service notices that it should forget the project too.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.errors import StoreError

LOCK_TIMEOUT_S = 1.0  # for another process on the file; /setup writes twice, and Label Studio waits 3 s for it

# Applied in order; `PRAGMA user_version` counts how many a file already has. Never edit one, append another.
MIGRATIONS = (
    """
    CREATE TABLE project (uid TEXT PRIMARY KEY, label_config TEXT NOT NULL, changed_at TEXT NOT NULL);
    CREATE TABLE model_version (
        id INTEGER PRIMARY KEY AUTOINCREMENT, project_uid TEXT NOT NULL, version TEXT NOT NULL,
        UNIQUE (project_uid, version)
    );
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT, received_at TEXT NOT NULL, action TEXT NOT NULL,
        details TEXT NOT NULL
    );
    """,
    "CREATE TABLE forgotten (project_uid TEXT PRIMARY KEY, forgotten_at TEXT NOT NULL);",
    """
    CREATE TABLE to_read (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, number INTEGER NOT NULL,
        after INTEGER NOT NULL DEFAULT 0, again INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
        UNIQUE (kind, number)
    );
    CREATE TABLE taught (
        project_uid TEXT NOT NULL, task INTEGER NOT NULL, image TEXT NOT NULL, annotation INTEGER NOT NULL,
        changed_at TEXT NOT NULL, refused TEXT NOT NULL, PRIMARY KEY (project_uid, task, image)
    );
    CREATE INDEX taught_annotation ON taught (annotation);
    """,
    """
    CREATE TABLE looked (
        project_uid TEXT NOT NULL, task INTEGER NOT NULL, changed_at TEXT NOT NULL, PRIMARY KEY (project_uid, task)
    );
    """,
)


@dataclass(frozen=True)
class StoredProject:
    """A project as the file has it: its name, its label config, and when that changed last (ISO 8601, UTC)."""

    uid: str
    label_config: str
    changed_at: str


@dataclass(frozen=True)
class Marks:
    """What the file says of projects, without their label configs.

    Attributes:
        changed_at: when the label config of each project changed last, by the project's uid.
        forgotten: the uids of projects that somebody wants to be forgotten.
    """

    changed_at: Mapping[str, str]
    forgotten: frozenset[str]


@dataclass(frozen=True)
class Event:
    """An event of Label Studio: the time it was received (ISO 8601, UTC), its action, and the ids that it names."""

    received_at: str
    action: str
    details: Mapping[str, Any]


class Store:
    """The state file. Threads may share it: they take turns, and each call opens its own connection."""

    def __init__(self, path: Path, *, event_rows: int) -> None:
        """Create or open the file, and bring its tables to the current form.

        Args:
            path: the SQLite file; its folder is made if it is missing.
            event_rows: how many events are kept; beyond that the oldest events are deleted.

        Raises:
            StoreError: the file is not a database, was written by a newer version, or cannot be written.
        """
        self._path = path
        self._event_rows = event_rows
        self._lock = threading.Lock()  # fairer than SQLite's own, which lets late comers pass until one times out
        with self.connection():
            pass

    def check(self) -> None:
        """Write to the file, which changes nothing in it.

        Raises:
            StoreError: the file cannot be written; the message says why.
        """
        with self.connection() as connection:
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def projects(self) -> list[StoredProject]:
        """Return the projects, first the one whose label config is unchanged longest."""
        with self.connection() as connection:
            rows = connection.execute("SELECT uid, label_config, changed_at FROM project ORDER BY changed_at, uid")
            return [StoredProject(*row) for row in rows]

    def label_configs(self) -> dict[str, str]:
        """Return the label config of each project by its uid, in the order of `projects`."""
        return {project.uid: project.label_config for project in self.projects()}

    def save_label_config(self, project_uid: str, label_config: str) -> str:
        """Store the label config of a project, and return the moment of its last change.

        Storing the same config again changes nothing. A mark that the project should be forgotten is removed, because
        the project is back.
        """
        with self.connection() as connection:
            connection.execute(
                """
                INSERT INTO project VALUES (?, ?, ?)
                ON CONFLICT (uid) DO UPDATE
                SET label_config = excluded.label_config, changed_at = excluded.changed_at
                WHERE label_config != excluded.label_config
                """,
                (project_uid, label_config, _now()),
            )
            connection.execute("DELETE FROM forgotten WHERE project_uid = ?", (project_uid,))
            query = "SELECT changed_at FROM project WHERE uid = ?"
            (changed_at,) = connection.execute(query, (project_uid,)).fetchone()
            return str(changed_at)

    def marks(self) -> Marks:
        """Return what the file says of projects at this moment. This is cheap, because it reads no label config."""
        with self.connection() as connection:
            connection.execute("BEGIN")  # Both questions are answered from one state of the file.
            changed_at = dict(connection.execute("SELECT uid, changed_at FROM project").fetchall())
            forgotten = connection.execute("SELECT project_uid FROM forgotten").fetchall()
            return Marks(changed_at, frozenset(uid for (uid,) in forgotten))

    def mark_forgotten(self, project_uid: str) -> None:
        """Delete what the file has of a project, and leave a mark for a running service."""
        with self.connection() as connection:
            _delete_project(connection, project_uid)
            connection.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (project_uid, _now()))

    def forget(self, project_uid: str) -> None:
        """Delete what the file has of a project, and the mark."""
        with self.connection() as connection:
            _delete_project(connection, project_uid)
            connection.execute("DELETE FROM forgotten WHERE project_uid = ?", (project_uid,))

    def save_model_version(self, project_uid: str, version: str) -> None:
        """Store that a project was given this model version."""
        with self.connection() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO model_version (project_uid, version) VALUES (?, ?)",
                (project_uid, version),
            )

    def model_versions(self) -> list[str]:
        """Return every model version that projects were given, newest first, without repetitions."""
        with self.connection() as connection:
            rows = connection.execute("SELECT version FROM model_version GROUP BY version ORDER BY MAX(id) DESC")
            return [str(version) for (version,) in rows]

    def add_event(self, action: str, details: Mapping[str, Any]) -> None:
        """Store an event, and delete the oldest events beyond the limit."""
        with self.connection() as connection:
            row = (_now(), action, json.dumps(details))
            cursor = connection.execute("INSERT INTO event (received_at, action, details) VALUES (?, ?, ?)", row)
            connection.execute("DELETE FROM event WHERE id <= ?", ((cursor.lastrowid or 0) - self._event_rows,))

    def events(self) -> list[Event]:
        """Return the stored events, oldest first."""
        with self.connection() as connection:
            rows = connection.execute("SELECT received_at, action, details FROM event ORDER BY id")
            return [Event(at, action, json.loads(details)) for at, action, details in rows]

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the tables to the current form: those of an older file, and those of a file that was just made."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == len(MIGRATIONS):
            return
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self._path} has form {version}, this ovdiff knows {len(MIGRATIONS)}. Use the newer one "
                "or another OVDIFF_DATA_DIR."
            )
        connection.execute("PRAGMA journal_mode = WAL")
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection, for other tables of the file too.

        Its changes are kept if the block ends without an error; it is closed in any case.
        The file may be another one than at the last call, so its form is looked at each time.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {self._path.parent}: {error}. Set OVDIFF_DATA_DIR.") from error
        try:
            with self._lock, closing(sqlite3.connect(self._path, timeout=LOCK_TIMEOUT_S)) as connection, connection:
                # In WAL mode, commits wait for no disk then: a power cut may cost the last ones, never the file.
                connection.execute("PRAGMA synchronous = NORMAL")
                self._migrate(connection)
                yield connection
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot use the state file {self._path}: {error}. If it is damaged, move it away: a new one is "
                "made, a running service writes again what it knows, and computed prototypes are kept elsewhere. If "
                "the disk is full, make room: a running service then writes what it could not write."
            ) from error


def _delete_project(connection: sqlite3.Connection, project_uid: str) -> None:
    connection.execute("DELETE FROM project WHERE uid = ?", (project_uid,))
    connection.execute("DELETE FROM model_version WHERE project_uid = ?", (project_uid,))
    connection.execute("DELETE FROM taught WHERE project_uid = ?", (project_uid,))
    connection.execute("DELETE FROM looked WHERE project_uid = ?", (project_uid,))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
