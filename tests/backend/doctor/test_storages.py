"""One image of each kind of storage, from a server that answers as Label Studio does."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backend.doctor.asking import Asker
from backend.doctor.storages import KINDS, Sample, check_image, check_label_config, samples
from backend.serving.vocabulary import Labelling, read_labelling
from backend.settings import ImageSettings, LabelStudioSettings
from backend.sources.fetch import Fetcher
from backend.sources.few_tasks import tasks_after
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.project_studio import ProjectStudio, running_project
from tests.fakes.scripted_server import ScriptedServer

CONFIG = """<View><Image name="i" value="$picture"/><BrushLabels name="b" toName="i"><Label value="boat"{more}/>
</BrushLabels></View>"""


def labelling() -> Labelling:
    return read_labelling(CONFIG.format(more=""), max_categories=9)


def test_label_configs() -> None:
    found, read = check_label_config(3, CONFIG.format(more=""), 9)
    assert found.state == "ok" and "1 label" in found.found and read == labelling()
    warned, read = check_label_config(3, CONFIG.format(more=' promts="a boat"'), 9)
    assert (warned.state, read is None) == ("warning", False)
    assert warned.found == "1 labels; promts=\"a boat\" of the label 'boat' of <brushlabels name='b'> is not read"
    assert warned.advice == 'Write prompts="a boat".'
    failed, read = check_label_config(3, "<View/>", 9)
    assert failed.state == "failed" and failed.advice and read is None


def asked(server: ScriptedServer) -> list[dict[str, Any]]:
    """Return the filter of each request for tasks."""
    queries = [parse_qs(urlsplit(request.line).query) for request in server.requests]
    return [json.loads(query["query"][0])["filters"]["items"][0] for query in queries]


def test_every_kind_is_asked_for_and_what_does_not_fit_is_left_out(server: ScriptedServer, asker: Asker) -> None:
    tasks = [{"id": 7, "data": {"picture": "s3://bucket/a.png"}}, {"id": "x"}, {"id": 8, "data": None}]
    server.answers["GET /api/tasks"] = (200, {"tasks": tasks, "total": 3})
    assert list(samples(asker, 3, labelling())) == [Sample("S3", 7, "s3://bucket/a.png")]
    assert [item["value"] for item in asked(server)] == list(KINDS.values())
    assert {item["filter"] for item in asked(server)} == {"filter:tasks:data.picture"}


def test_looking_at_tasks_stores_nothing(asker_of: Callable[..., Asker]) -> None:
    with running_project(ProjectStudio(backend=lambda task: "ovdiff-1")) as studio:
        studio.add_tasks(2)
        asker = asker_of(studio.url)
        assert len(tasks_after(asker.client, 1, 0, 5).tasks) == 2
        config = CONFIG.format(more="").replace("$picture", "$image")
        found = list(samples(asker, 1, read_labelling(config, max_categories=9)))
        assert found[0].task == 1 and not studio.predictions


def test_a_list_of_images_gives_its_first(server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/tasks"] = (200, {"tasks": [{"id": 1, "data": {"picture": ["gs://b/1.png", 2]}}]})
    assert [sample.address for sample in samples(asker, 3, labelling())] == ["gs://b/1.png"]


@pytest.mark.parametrize("rubbish", [(200, b"<html>"), (500, b""), (200, {"tasks": 3}), (200, [[1]])])
def test_rubbish_gives_no_sample(rubbish: tuple[int, object], server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/tasks"] = rubbish
    assert list(samples(asker, 3, labelling())) == []


def test_an_image_is_opened_and_a_lack_is_explained(label_studio: FakeLabelStudio) -> None:
    label_studio.files["/data/upload/1/a.png"] = ("image/png", encoded(red_and_blue()))
    label_studio.files["/data/upload/1/b.png"] = ("image/png", b"no picture")
    client = LabelStudioClient(LabelStudioSettings(url=label_studio.url, api_key=LEGACY_TOKEN))
    images = ImageSource(Fetcher(client, ImageSettings()))

    def found(kind: str, address: str) -> Any:
        return check_image(images, 3, Sample(kind, 5, address), 5.0)

    fine = found("uploads", "/data/upload/1/a.png")
    assert fine.state == "ok" and fine.name == "project 3: uploads" and "task 5 is here, 64 x 48 px" in fine.found
    assert "no picture" in found("uploads", "/data/upload/1/b.png").found
    local = found("local files", "/data/local-files/?d=a.png")
    assert local.state == "failed" and "LOCAL_FILES_SERVING_ENABLED" in local.advice
    blocked = found("web addresses", "http://10.0.0.1/a.png")
    assert blocked.state == "failed" and "OVDIFF_IMAGE_HOSTS" in blocked.found and blocked.advice == ""
    s3 = found("S3", "s3://bucket/a.png")
    assert s3.state == "failed" and "presigned" in s3.advice
