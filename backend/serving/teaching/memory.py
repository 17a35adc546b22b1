"""What the teacher's thread knows besides the notes, which are in the state file: it is lost at a restart.

Tested by tests/backend/serving/teaching/test_teacher.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from backend.serving.teaching.notes import Kind


@dataclass
class Progress:
    """How far the read of all annotations of a project is: tasks that were looked at, of how many."""

    project: str
    done: int = 0
    tasks: int = 0


@dataclass
class Memory:
    """What the thread knows besides the notes; changed under the lock.

    Attributes:
        heard_s: the first and the last event since the last look.
        may_have_rows: whether the notes may hold something that is to be read.
        not_before_s: the earliest moment for each thing that could not be read, or that was read a moment ago.
        waits: what each project waits for.
        running: the project that is read as a whole.
        problem: what ended the last round early.
        missed_problems: why annotations of which no event told could not be looked after the last time, by project.
    """

    heard_s: tuple[float, float] = (math.inf, -math.inf)
    may_have_rows: bool = True
    not_before_s: dict[tuple[Kind, int], float] = field(default_factory=dict)
    waits: dict[str, str] = field(default_factory=dict)
    running: Progress | None = None
    problem: str = ""
    missed_problems: dict[str, str] = field(default_factory=dict)
