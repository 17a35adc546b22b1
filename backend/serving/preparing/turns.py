"""Whose turn it is: which category of which project is looked at next.

Projects take turns, a category at a time. So a project of 171 labels does not keep another project's four labels
waiting until it is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ovdiff.vocabulary import Category


class Turns:
    """The categories that projects want, and which of them are open. Not thread-safe: use it under a lock.

    A wanted category is open until it is settled: it was found in the bank, or it failed. No method looks at all
    categories of all projects.
    """

    def __init__(self) -> None:
        """Know no project yet."""
        self._wanted: dict[str, tuple[Category, ...]] = {}
        self._wanters: Counter[Category] = Counter()  # how many projects want a category; never zero
        self._settled: set[Category] = set()
        self._open: dict[str, dict[Category, None]] = {}  # in the order of the turns; never an empty dict

    def want(self, project_uid: str, categories: Sequence[Category]) -> None:
        """Replace the categories that a project wants. A project keeps its turn; a new project comes last."""
        wanted = tuple(dict.fromkeys(categories))
        before = self._wanted.get(project_uid, ())
        self._wanters.update(wanted)
        self._wanted[project_uid] = wanted
        self._drop(before)
        unsettled = {category: None for category in wanted if category not in self._settled}
        if unsettled:
            self._open[project_uid] = unsettled
        else:
            self._open.pop(project_uid, None)

    def forget(self, project_uid: str) -> None:
        """Drop a project and what it wants; do nothing if there is no such project."""
        self._drop(self._wanted.pop(project_uid, ()))
        self._open.pop(project_uid, None)

    def next(self) -> tuple[str, Category] | None:
        """Return the project whose turn it is, with its first open category; None if no category is open."""
        for project_uid, categories in self._open.items():
            return project_uid, next(iter(categories))
        return None

    def order(self) -> list[tuple[str, Category]]:
        """Return all open categories, each with the project whose turn it will be; one that two want is there once."""
        left = {project_uid: list(categories) for project_uid, categories in self._open.items()}
        found: dict[Category, str] = {}
        for place in range(max(map(len, left.values()), default=0)):
            for project_uid, categories in left.items():
                if place < len(categories):
                    found.setdefault(categories[place], project_uid)
        return [(project_uid, category) for category, project_uid in found.items()]

    def end_turn(self, project_uid: str) -> None:
        """Let the other projects come first."""
        if project_uid in self._open:
            self._open[project_uid] = self._open.pop(project_uid)

    def put_off(self, category: Category) -> None:
        """Let the other categories of each project come first."""
        for categories in self._open.values():
            if category in categories:
                del categories[category]
                categories[category] = None

    def settle(self, category: Category) -> None:
        """Close a category in all projects."""
        if not self.is_wanted(category):
            return
        self._settled.add(category)
        for project_uid, categories in list(self._open.items()):
            categories.pop(category, None)
            if not categories:
                del self._open[project_uid]

    def reopen(self, category: Category) -> None:
        """Open a settled category again, in all projects that want it."""
        if category not in self._settled:
            return
        self._settled.discard(category)
        for project_uid, wanted in self._wanted.items():
            if category in wanted:
                self._open.setdefault(project_uid, {})[category] = None

    def is_wanted(self, category: Category) -> bool:
        """Return whether any project wants a category."""
        return category in self._wanters

    def is_open(self, category: Category) -> bool:
        """Return whether a category is wanted and not settled."""
        return category in self._wanters and category not in self._settled

    def _drop(self, categories: Sequence[Category]) -> None:
        for category in categories:
            self._wanters[category] -= 1
            if not self._wanters[category]:
                del self._wanters[category]
                self._settled.discard(category)
