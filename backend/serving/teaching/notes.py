"""What is still to be read from Label Studio, and what each annotated image taught, in the state file.

    to_read   an annotation, a task, or all of a project: a set, so that a hundred events of one annotation are one row
    taught    for each image of a task: the annotation that was looked at last, and why it was refused, if it was
    looked    when each annotated task had changed last, as it was when it was looked at

A row of `to_read` is deleted when its work is done, so a process that is killed goes on where it was. An event that
comes meanwhile gives the row another id, or the mark `again`, so it is not lost with the row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from backend.serving.store import Store

Kind = Literal["annotation", "task", "project"]

MOST_ROWS = 1000  # of annotations and tasks; beyond that whole projects are read. A row costs three requests at most


@dataclass(frozen=True)
class ToRead:
    """Something that is to be read.

    Attributes:
        id: of the row; a later event about the same thing changes it, unless the thing is a project.
        kind: what it is.
        number: its number in Label Studio.
        after: of a project: its tasks up to this number are done.
        tries: how often it could not be read.
    """

    id: int
    kind: Kind
    number: int
    after: int = 0
    tries: int = 0


@dataclass(frozen=True)
class Taught:
    """What became of the annotation that counts for an image of a task.

    Attributes:
        annotation: its number.
        changed_at: when it was changed last, as Label Studio says.
        refused: why it gives no lesson; "" if it gave one.
    """

    annotation: int
    changed_at: str
    refused: str = ""


@dataclass(frozen=True)
class Refusal:
    """An annotation that gives no lesson, and why."""

    task: int
    annotation: int
    reason: str


@dataclass(frozen=True)
class Notes:
    """The tables. Threads may share it. Each call may raise a StoreError."""

    store: Store

    def add(self, kind: Kind, numbers: Collection[int]) -> bool:
        """Note that annotations or tasks are to be read; return whether there was room for all. If not, none is."""
        with self.store.connection() as connection:
            query = "SELECT COUNT(*) FROM to_read WHERE kind != 'project'"
            (there,) = connection.execute(query).fetchone()
            if there + len(numbers) > MOST_ROWS and self._new(connection, kind, numbers) + there > MOST_ROWS:
                return False
            rows = [(kind, number) for number in numbers]
            connection.executemany("INSERT OR REPLACE INTO to_read (kind, number) VALUES (?, ?)", rows)
            return True

    def add_projects(self, numbers: Collection[int]) -> None:
        """Note that all annotations of projects are to be read; of one that is being read, once more afterwards."""
        with self.store.connection() as connection:
            connection.executemany(
                "INSERT INTO to_read (kind, number) VALUES ('project', ?) "
                "ON CONFLICT (kind, number) DO UPDATE SET again = 1",
                [(number,) for number in numbers],
            )

    def to_read(self) -> list[ToRead]:
        """Return what is to be read, what was noted first at the beginning, whole projects at the end."""
        with self.store.connection() as connection:
            rows = connection.execute(
                "SELECT id, kind, number, after, tries FROM to_read ORDER BY kind = 'project', id"
            )
            return [ToRead(*row) for row in rows]

    def done(self, item: ToRead) -> None:
        """Note that something was read, or need not be. A project about which an event came meanwhile begins anew."""
        with self.store.connection() as connection:
            if item.kind == "project":
                query = "UPDATE to_read SET again = 0, after = 0 WHERE id = ? AND again = 1"
                if connection.execute(query, (item.id,)).rowcount:
                    return
            connection.execute("DELETE FROM to_read WHERE id = ?", (item.id,))

    def reached(self, item: ToRead, task: int) -> None:
        """Note that the tasks of a project are done up to a number."""
        with self.store.connection() as connection:
            connection.execute("UPDATE to_read SET after = ? WHERE id = ?", (task, item.id))

    def failed(self, item: ToRead) -> None:
        """Note that something could not be read."""
        with self.store.connection() as connection:
            connection.execute("UPDATE to_read SET tries = tries + 1 WHERE id = ?", (item.id,))

    def note(self, uid: str, task: int, image: str, taught: Taught) -> None:
        """Note what became of the annotation of an image."""
        with self.store.connection() as connection:
            row = (uid, task, image, taught.annotation, taught.changed_at, taught.refused)
            connection.execute("INSERT OR REPLACE INTO taught VALUES (?, ?, ?, ?, ?, ?)", row)

    def drop(self, uid: str, task: int, image: str | None = None) -> None:
        """Note that nobody annotates a task, or one of its images, any more."""
        with self.store.connection() as connection:
            query = "DELETE FROM taught WHERE project_uid = ?1 AND task = ?2 AND (?3 IS NULL OR image = ?3)"
            connection.execute(query, (uid, task, image))

    def taught(self, uid: str, task: int, image: str) -> Taught | None:
        """Return what became of the annotation of an image; None if none was looked at."""
        with self.store.connection() as connection:
            query = "SELECT annotation, changed_at, refused FROM taught WHERE (project_uid, task, image) = (?, ?, ?)"
            row = connection.execute(query, (uid, task, image)).fetchone()
            return None if row is None else Taught(*row)

    def tasks(self, uid: str, *, after: int = 0) -> list[int]:
        """Return the tasks of a project that were looked at, those with larger numbers than `after`."""
        with self.store.connection() as connection:
            query = "SELECT DISTINCT task FROM taught WHERE project_uid = ? AND task > ? ORDER BY task"
            return [task for (task,) in connection.execute(query, (uid, after))]

    def look(self, uid: str, task: int, changed_at: str | None) -> None:
        """Note that a task was looked at as it was then; None: nobody annotates it, so it need not be known."""
        with self.store.connection() as connection:
            connection.execute("DELETE FROM looked WHERE (project_uid, task) = (?, ?)", (uid, task))
            if changed_at is not None:
                connection.execute("INSERT INTO looked VALUES (?, ?, ?)", (uid, task, changed_at))

    def looked(self, uid: str, *, after: int = 0) -> dict[int, str]:
        """Return the tasks of a project that were looked at, with larger numbers than `after`, and when they changed.

        A task that gave a lesson before this was noted has "".
        """
        with self.store.connection() as connection:
            query = (
                "SELECT task, MAX(changed_at) FROM (SELECT task, changed_at FROM looked WHERE project_uid = ?1 "
                "UNION SELECT task, '' FROM taught WHERE project_uid = ?1) WHERE task > ?2 GROUP BY task"
            )
            return dict(connection.execute(query, (uid, after)))

    def places(self, kind: Kind, number: int) -> list[tuple[str, int]]:
        """Return the project and the task of an annotation or a task that was looked at before."""
        column = {"annotation": "annotation", "task": "task"}[kind]
        with self.store.connection() as connection:
            query = f"SELECT DISTINCT project_uid, task FROM taught WHERE {column} = ?"
            return [(str(uid), int(task)) for uid, task in connection.execute(query, (number,))]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return for each project how many images gave a lesson, and how many were refused."""
        with self.store.connection() as connection:
            query = "SELECT project_uid, SUM(refused = ''), SUM(refused != '') FROM taught GROUP BY project_uid"
            return {uid: (taught, refused) for uid, taught, refused in connection.execute(query)}

    def refusals(self, uid: str, most: int) -> list[Refusal]:
        """Return the annotations of a project that gave no lesson, those first that were changed last."""
        with self.store.connection() as connection:
            query = (
                "SELECT task, annotation, refused FROM taught WHERE project_uid = ? AND refused != '' "
                "ORDER BY changed_at DESC, task LIMIT ?"
            )
            return [Refusal(*row) for row in connection.execute(query, (uid, most))]

    def _new(self, connection: sqlite3.Connection, kind: Kind, numbers: Collection[int]) -> int:
        """Return how many of some numbers are not noted yet."""
        query = "SELECT number FROM to_read WHERE kind = ?"
        return len(set(numbers) - {number for (number,) in connection.execute(query, (kind,))})
