"""Other prompts for a label, tried beside the present ones: their prototypes are made as a project's are.

The worker that builds categories takes its turns with trials as with projects. A trial changes no prediction; what was
drawn for it stays in the bank, so that prompts that are then written into the label config are ready at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from backend.errors import RequestError
from backend.serving.preparing.precompute import Precompute
from ovdiff.vocabulary import Category

MOST = 8
"""Trials at a time: each is a generation of images, and a person looks at one."""


class Trials:
    """The prompts that are being tried, at most one trial for each label of a project. Threads may share it."""

    def __init__(self, precompute: Precompute, labels: Callable[[], Mapping[tuple[str, str], Category]]) -> None:
        """Know no trial yet.

        Args:
            precompute: builds what is tried.
            labels: gives the label of each project's uid and label's name that there are.
        """
        self._precompute, self._labels = precompute, labels
        self._lock = threading.Lock()
        self._trials: dict[tuple[str, str], Category] = {}

    def start(self, project: str, category: Category, prompts: str) -> Category:
        """Try other prompts for a label, in place of those that were tried before; return the category that is tried.

        Args:
            project: the project's uid.
            category: the label as it is.
            prompts: what is to be drawn, phrases that are separated by semicolons, as in a label config.

        Raises:
            RequestError: the prompts are empty or those that the label has, or too many trials are going on.
            VocabularyError: a phrase is not possible.
        """
        phrases = tuple(part.strip() for part in prompts.split(";") if part.strip())
        if not phrases:
            raise RequestError("No prompts to try: write one or more phrases, separated by semicolons.")
        tried = Category(category.name, phrases, category.kind)
        if tried.phrases == category.phrases:
            raise RequestError(f"{category.name!r} is drawn from {'; '.join(phrases)!r} already; write another phrase.")
        self.drop_over()
        with self._lock:
            if (project, category.name) not in self._trials and len(self._trials) >= MOST:
                raise RequestError(f"{MOST} labels are being tried with other prompts. End one of these trials first.")
            self._trials[project, category.name] = tried
        self._precompute.want(_turns_of(project, category.name), [tried])
        return tried

    def of(self, project: str, name: str) -> Category | None:
        """Return what is tried for a label; None if nothing is."""
        with self._lock:
            return self._trials.get((project, name))

    def end(self, project: str, name: str) -> None:
        """End the trial of a label, if there is one, also if the label is gone; what was made stays in the bank."""
        with self._lock:
            ended = self._trials.pop((project, name), None)
        if ended is not None:
            self._precompute.forget(_turns_of(project, name))

    def drop_over(self) -> None:
        """End the trials of labels and projects that are gone, and those whose prompts the label config says by now."""
        with self._lock:
            tried = dict(self._trials)
        labels = self._labels() if tried else {}
        for (project, name), trial in tried.items():
            label = labels.get((project, name))
            if label is None or label.phrases == trial.phrases:
                self.end(project, name)


def _turns_of(project: str, name: str) -> str:
    """Return the name under which a trial takes its turns; no uid of Label Studio has a space."""
    return f"trial of {name} in {project}"
