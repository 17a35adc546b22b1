from collections.abc import Iterator

import pytest

from backend.errors import LabelStudioAPIError
from backend.settings import LabelStudioSettings
from backend.sources.annotations import Place, place_of
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.project_studio import Fault, ProjectStudio, running_project


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with running_project(ProjectStudio()) as found:
        found.add_tasks(2)
        found.annotations[2] = [{"id": 12, "result": []}]
        yield found


def test_label_studio_says_where_an_annotation_is(studio: ProjectStudio) -> None:
    client = LabelStudioClient(LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN))
    assert place_of(client, 12) == Place(project=1, task=2)
    assert place_of(client, 13) is None


@pytest.mark.parametrize("body", [b"{}", b'{"project": null, "task": 1}', b'{"project": "x", "task": 1}', b"[]", b"<"])
def test_an_answer_that_is_no_annotation_is_an_error(studio: ProjectStudio, body: bytes) -> None:
    client = LabelStudioClient(LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN))
    studio.before = lambda asked: Fault(200, body)
    with pytest.raises(LabelStudioAPIError, match=r"did not answer|answered with list"):
        place_of(client, 12)
