"""Further tests are in tests/backend/command/test_prelabel.py, and on a real Label Studio in tests/end_to_end."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from backend.errors import LabelStudioAPIError, LabelStudioRefusedError
from backend.settings import LabelStudioSettings
from backend.sources.label_studio import LabelStudioClient
from backend.sources.stored_predictions import StoredPrediction, StoredPredictions
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.project_studio import Fault, ProjectStudio, running_project


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with running_project(ProjectStudio()) as found:
        yield found


@pytest.fixture
def stored(studio: ProjectStudio) -> StoredPredictions:
    client = LabelStudioClient(LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN))
    return StoredPredictions(client, 1)


def test_predictions_are_added_found_and_removed(studio: ProjectStudio, stored: StoredPredictions) -> None:
    studio.add_tasks(450)
    items = [{"task": task, "result": [], "score": 0.5, "model_version": "v1"} for task in range(1, 450)]
    assert stored.add(items) == 449
    ids = list(range(1, 451))
    assert stored.with_version(ids, "v1") == set(range(1, 450)) and stored.with_version(ids, "v2") == set()
    assert stored.with_version([], "v1") == set()
    studio.annotations[2] = [{"parent_prediction": 2}]
    for number, created in ((1, "2026-11-20T18:41:39.365103Z"), (2, "2026-11-20T18:41:39.365103")):
        studio.predictions[number]["created_at"] = created
    stored_at = datetime(2026, 11, 20, 18, 41, 39, 365103, tzinfo=UTC)
    assert stored.of([1, 2, 450, 999]) == {
        1: (StoredPrediction(1, "v1", False, stored_at),),
        2: (StoredPrediction(2, "v1", True, stored_at),),
        450: (),
    }
    studio.drafts = {1, 7}
    assert stored.with_draft([1, 2]) == {1}
    stored.remove(1)
    stored.remove(1)  # what is gone is gone
    assert stored.of([1]) == {1: ()}


def test_a_refusal_says_why_and_repeats_little_of_what_was_sent(
    studio: ProjectStudio, stored: StoredPredictions
) -> None:
    with pytest.raises(LabelStudioRefusedError, match=r"answered 400 at .*/import/predictions: .*9 cannot be used"):
        stored.add([{"task": 9, "result": [], "model_version": "v1"}])
    studio.before = lambda asked: Fault(400, b'{"detail": "' + b"x " * 9000 + b'"}')
    with pytest.raises(LabelStudioRefusedError) as caught:
        stored.add([])
    assert len(str(caught.value)) < 500
    for body in (b"<html>", b"[]", b"{}", b'"' + b"x" * 70_000):
        studio.before = lambda asked, body=body: Fault(413, body)  # type: ignore[misc]
        with pytest.raises(LabelStudioRefusedError, match=r"answered 413 at http.*/import/predictions\.$"):
            stored.add([])


def test_a_deletion_that_is_not_allowed_is_told(studio: ProjectStudio, stored: StoredPredictions) -> None:
    studio.before = lambda asked: Fault(403)
    with pytest.raises(LabelStudioAPIError, match="refused the token"):
        stored.remove(1)
