"""The images of a project: one of each kind of storage is fetched and opened, as a prediction would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backend.doctor.asking import Asker
from backend.doctor.findings import Finding
from backend.errors import ImageBlockedError, ImageSourceError, UnusableLabelConfigError
from backend.serving.vocabulary import Labelling, read_labelling
from backend.sources.images import ImageSource
from backend.sources.task_filter import page_query

KINDS = {
    "uploads": "/data/upload/",
    "local files": "/data/local-files/",
    "S3": "s3://",
    "Google Cloud Storage": "gs://",
    "Azure": "azure-blob://",
    "web addresses": "http",
}
"""The kinds of storage, each with what the addresses of its images hold."""

ADVICE = {
    "local files": "Set LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT for Label Studio, and give the "
    "project a local storage that covers the file.",
    "S3": "See the project's Settings, Cloud Storage: the storage must be connected, with presigned URLs switched on.",
    "Google Cloud Storage": "See the project's Settings, Cloud Storage: presigned URLs must be switched on.",
    "Azure": "See the project's Settings, Cloud Storage: presigned URLs must be switched on.",
}


@dataclass(frozen=True)
class Sample:
    """An image of a kind of storage."""

    kind: str
    task: int
    address: str


def check_label_config(project: int, label_config: str, max_categories: int) -> tuple[Finding, Labelling | None]:
    """Look whether a vocabulary can be made of a project's label config."""
    name = f"project {project}: label config"
    try:
        labelling = read_labelling(label_config, max_categories=max_categories)
    except UnusableLabelConfigError as error:
        advice = "See docs/label-studio.md for the label configs that can be used."
        return Finding(name, "failed", str(error), advice), None
    labels = f"{len(labelling.categories)} labels"
    if labelling.unread:
        return Finding(name, "warning", f"{labels}; {labelling.unread[0].what}", labelling.unread[0].advice), labelling
    return Finding(name, "ok", labels), labelling


def samples(asker: Asker, project: int, labelling: Labelling) -> Iterator[Sample]:
    """Yield an image of each kind of storage that a project's tasks use.

    Raises:
        NoAnswerError: Label Studio does not answer in time.
    """
    for image in dict.fromkeys(output.image for output in labelling.outputs):
        for kind, part in KINDS.items():
            behind = {"filter": f"filter:tasks:data.{image.data_key}", "operator": "contains", "type": "String"}
            query = {"filters": {"conjunction": "and", "items": [{**behind, "value": part}]}}
            for task in asker.ask("/api/tasks", page_query(project, 1, query)).objects():
                if (address := _address(task, image.data_key, part)) and isinstance(task.get("id"), int):
                    yield Sample(kind, task["id"], address)


def check_image(images: ImageSource, project: int, sample: Sample, within_s: float) -> Finding:
    """Fetch and open an image."""
    name = f"project {project}: {sample.kind}"
    begun_s = time.monotonic()
    try:
        with images.opened(sample.address, task_id=sample.task, within_s=within_s) as pixels:
            height, width = pixels.shape[:2]
    except ImageBlockedError as error:
        return Finding(name, "failed", f"task {sample.task}: {error}")  # it says itself what to set
    except ImageSourceError as error:
        return Finding(name, "failed", f"task {sample.task}: {error}", ADVICE.get(sample.kind, ""))
    took_s = time.monotonic() - begun_s
    return Finding(name, "ok", f"the image of task {sample.task} is here, {width} x {height} px in {took_s:.1f} s")


def _address(task: dict[str, Any], key: str, part: str) -> str:
    """Return the address of a task's image if it is of a kind; a list of images gives its first.

    Label Studio writes paths of its own with or without its address in front.
    """
    data = task.get("data")
    found = data.get(key) if isinstance(data, dict) else None
    first = found[0] if isinstance(found, list) and found else found
    fits = isinstance(first, str) and (first.startswith(part) or (part.startswith("/") and part in first))
    return str(first) if fits else ""
