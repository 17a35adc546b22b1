"""Images on servers that misbehave, as the service meets them: no prediction of another task suffers for long."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from backend.settings import Settings
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.hostile_server import Victim, hostile_server
from tests.fakes.waiting import SLACK_S

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">'
    '<Label value="red"/></BrushLabels></View>'
)
LIMIT_S = 0.5


def drip_headers(victim: Victim) -> None:
    victim.send(b"HTTP/1.1 200 OK\r\n")
    victim.drip(b"X: y\r\n" * 1000)


@pytest.mark.timeout(60)
def test_as_many_dripping_images_as_there_are_places_hold_nobody_up_for_long(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    engine.build(Category("red"))
    with hostile_server(drip_headers) as server:
        images = replace(settings.images, private_image_hosts=(server.host_and_port,), image_timeout_s=LIMIT_S)
        app = make_app(replace(settings, images=images), engine)

        def predict(number: int, image: str) -> dict[str, Any]:
            task = {"id": number, "data": {"image": image}}
            body = {"project": "1.1", "label_config": CONFIG, "tasks": [task], "params": {"context": None}}
            (item,) = app.test_client().post("/predict", json=body).get_json()["results"]
            return dict(item)

        started_s = time.monotonic()
        with ThreadPoolExecutor(settings.prediction.prediction_slots) as pool:
            dripping = list(pool.map(lambda n: predict(n, server.url), range(settings.prediction.prediction_slots)))
            good = predict(100, "/data/upload/1/picture.png")
        took_s = time.monotonic() - started_s
    assert {item["error"] for item in dripping} == {
        f"{server.url} took longer than {LIMIT_S} s, redirects included (OVDIFF_IMAGE_TIMEOUT_S)."
    }
    assert good["result"]
    assert took_s < LIMIT_S + SLACK_S


@pytest.mark.parametrize(
    "image",
    [
        "s3://bucket/\ud800.png",
        "http://\ud800/a.png",
        "/data/\ud800.png",
        f"http://{'a' * 300}/a.png",
        "http://[::1",
        "/data/upload/1/moved.png",
    ],
)
def test_no_address_is_an_unexpected_error(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, label_studio: Any, image: str, caplog: Any
) -> None:
    engine.build(Category("red"))
    label_studio.redirects["/data/upload/1/moved.png"] = "http://[::1"
    app = make_app(settings, engine)
    body = {"project": "1.1", "label_config": CONFIG, "tasks": [{"id": 1, "data": {"image": image}}], "params": {}}
    answer = app.test_client().post("/predict", json=body)
    assert answer.status_code == 200
    error = answer.get_json()["results"][0]["error"]
    assert "no image that can be fetched" in error or "answered 404" in error
    assert "Traceback" not in caplog.text
