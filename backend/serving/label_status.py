"""How far the labels of projects are, as JSON objects: what /status says of them, and the page of a label.

Tested by tests/backend/serving/test_service.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from backend.serving.preparing.precompute import Precompute
from backend.serving.preparing.standing import Status
from backend.serving.preparing.words import kind_fields, word_fields
from backend.serving.projects import ProjectState
from backend.serving.vocabulary import Labelling
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import HasAnchors
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Category


class LabelStatus:
    """Tells how far labels are. Threads may share it."""

    def __init__(
        self,
        engine: SegmentationEngine,
        precompute: Precompute,
        version: Callable[[Labelling, Mapping[Category, str]], str],
    ) -> None:
        """Tell of an engine and of what builds its categories.

        Args:
            engine: the method.
            precompute: builds the categories, and knows how far they are.
            version: returns the model version of a label config, by its categories that are ready, each with its key.
        """
        self._engine, self._precompute, self._version = engine, precompute, version

    def of_project(self, state: ProjectState) -> dict[str, Any]:
        """Return how far the labels of a project are, and what is wrong with its label config."""
        labelling = state.labelling
        if labelling is None:
            return {"error": state.error, "warnings": [], "model_version": None, "counts": {}, "categories": []}
        looked = self._precompute.look(labelling.categories)
        error, version = state.error, None
        try:
            version = self._version(
                labelling, {c: key for c, (key, status) in looked.items() if status.state == "ready"}
            )
        except OVDiffError as fault:
            error = error or str(fault)
        return {
            "error": error,
            "warnings": warnings_of(labelling),
            "model_version": version,
            "counts": Counter(status.state for _, status in looked.values()),
            "categories": [self._label(category, status) for category, (_, status) in looked.items()],
        }

    def of_label(self, category: Category) -> dict[str, Any]:
        """Return how far one label is."""
        return self._label(category, self._precompute.status(category))

    def queue(self, projects: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
        """Return which category of which project is built next, and so on; what is being built is not among them.

        Args:
            projects: what `of_project` returns of each project.
        """
        states = {
            (uid, entry["name"]): entry["state"] for uid, each in projects.items() for entry in each["categories"]
        }
        turns = ((uid, category.name) for uid, category in self._precompute.queue())
        return [{"project": uid, "category": name} for uid, name in turns if states.get((uid, name)) == "queued"]

    def anchors(self) -> dict[str, Any]:
        """Return how many anchors the preset has, and how many are built; they compete once all of them are."""
        anchors = self._engine.anchors() if isinstance(self._engine, HasAnchors) else ()
        built = sum(self._engine.has(anchor) for anchor in anchors)
        advice = "" if built == len(anchors) else "run `ovdiff prototypes build --anchors` once"
        return {"words": len(anchors), "built": built, "advice": advice}

    def _label(self, category: Category, status: Status) -> dict[str, Any]:
        return {
            "name": category.name,
            "prompts": list(category.phrases),
            **kind_fields(self._engine, category),
            "state": status.state,
            "stage": status.stage,
            "progress": status.progress,
            "reason": status.reason,
            **word_fields(self._engine, category),
        }


def warnings_of(labelling: Labelling) -> list[str]:
    """Return what a person should mend in a label config that can be used."""
    return [unread.text() for unread in labelling.unread]
