"""How far the prototypes of categories are, in states and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ovdiff.vocabulary import Category

State = Literal["queued", "building", "ready", "failed", "unwanted"]


@dataclass(frozen=True)
class Status:
    """How far the prototypes of one category are.

    Attributes:
        state: queued, building, ready, failed, or unwanted: no project's label config in force has the category.
        stage: the step of the build that the engine is at, in the engine's words.
        progress: the fraction of the whole build that is done, 0 to 1.
        reason: why the build failed.
        asked_from_s: the moment, on the worker's clock, from which the build is tried again if a project asks for it.
        alone_from_s: the moment from which it is tried again although nobody asks.
        failed_before: whether the build failed the last time and is being tried again.
    """

    state: State
    stage: str = ""
    progress: float = 0.0
    reason: str = ""
    asked_from_s: float = math.inf
    alone_from_s: float = math.inf
    failed_before: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether nobody should wait for the category: it is ready, or its last build failed.

        A category that failed stays settled while it is tried again. Otherwise one hopeless category would hold up the
        predictions of its project at every new try.
        """
        return self.state in ("ready", "failed") or self.failed_before

    def __str__(self) -> str:
        """Return the status as a phrase, such as "building: generating, 40%"."""
        if self.state == "building":
            return f"building: {self.stage}, {self.progress:.0%}"
        return f"{self.state}: {self.reason}" if self.reason else self.state


UNWANTED = Status(
    "unwanted", reason="the label config in force does not have it; opening the project's page renews that"
)


@dataclass(frozen=True)
class Standing:
    """How far the prototypes of several categories are, at one moment.

    Attributes:
        ready: the categories that have prototypes, each with the key of its prototypes.
        pending: the categories that are queued, being built or unwanted, each with its status as a phrase.
        failed: the categories whose last build failed, each with its status as a phrase. See `Status.is_settled`.
    """

    ready: dict[Category, str]
    pending: dict[Category, str]
    failed: dict[Category, str]
