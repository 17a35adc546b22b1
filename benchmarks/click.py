"""A first and a second click on the same task, through the whole service but the socket to Label Studio.

    python -m benchmarks.click [--width 2000 --height 1500 --repeats 3]

Takes about a minute, most of it for the prototypes of three labels. A small server on loopback has the images, so a
first click fetches, decodes and segments an image of the tiny world; a second click, on another place of the same
image, must not. The last line is the ratio first / second, which travels from machine to machine; seconds do not.
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from flask.testing import FlaskClient
from PIL import Image

from backend.serving.http.app import create_app
from backend.settings import LabelStudioSettings, PredictionSettings, Settings
from benchmarks.loopback import served
from ovdiff.tinyworld.world import render, sample_scene

LABELS = ("balloon", "sky", "grass")
CONFIG = (
    '<View><Image name="image" value="$image"/><KeyPointLabels name="click" toName="image" smart="true">{labels}'
    '</KeyPointLabels><BrushLabels name="label" toName="image">{labels}</BrushLabels></View>'
).format(labels="".join(f'<Label value="{name}"/>' for name in LABELS))
PROJECT = "1.1795200099"


def picture(number: int, size_wh: tuple[int, int]) -> bytes:
    """Return a scene of the tiny world as a PNG file."""
    scene = Image.fromarray(render(sample_scene(number, "test", things=3), 512).image)
    buffer = io.BytesIO()
    scene.resize(size_wh).save(buffer, "png")
    return buffer.getvalue()


def ask(client: FlaskClient, number: int | None, place: tuple[float, float] = (50.0, 20.0)) -> float:
    """Click on a task, or with no number ask for no task; return the seconds until the answer."""
    value = {"x": place[0], "y": place[1], "width": 0.2, "keypointlabels": ["sky"]}
    region = {"type": "keypointlabels", "from_name": "click", "to_name": "image", "origin": "manual", "value": value}
    body: dict[str, Any] = {"project": PROJECT, "label_config": CONFIG, "tasks": [], "params": {"context": None}}
    if number is not None:
        task = {"id": number, "data": {"image": f"/data/upload/1/{number}.png"}}
        body |= {"tasks": [task], "params": {"context": {"result": [region]}}}
    begun = time.perf_counter()
    answer = client.post("/predict", json=body)
    seconds = time.perf_counter() - begun
    results = answer.get_json()["results"]
    if answer.status_code != 200 or any("error" in item for item in results):
        raise SystemExit(f"The service answered {answer.status_code}: {results}")
    return seconds


def main() -> None:
    """Measure and print the seconds of first and second clicks, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=2000, help="px (%(default)s)")
    parser.add_argument("--height", type=int, default=1500, help="px (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="images (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    numbers = range(options.repeats + 1)  # the first one also loads the models
    files = {f"/data/upload/1/{number}.png": picture(number, (options.width, options.height)) for number in numbers}
    with served(lambda method, path, sent: files[path]) as url, tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder),
            label_studio=LabelStudioSettings(url=url, api_key="0" * 40),
            prediction=PredictionSettings(wait_for_prototypes_s=3000.0, answer_within_s=3600.0),
        )
        app = create_app(settings)
        client = app.test_client()
        try:
            client.post("/setup", json={"project": PROJECT, "schema": CONFIG})
            ask(client, None)  # waits for the prototypes
            first = [ask(client, number) for number in numbers][1:]
            second = [ask(client, number, (60.0, 25.0)) for number in numbers][1:]
        finally:
            app.extensions["ovdiff"].stop()
    medians = statistics.median(first), statistics.median(second)
    print(f"{options.width} x {options.height} px, medians of {options.repeats} images")
    print(
        f"first click  {medians[0]:.3f} s\nsecond click {medians[1]:.3f} s\nratio        {medians[0] / medians[1]:.0f}"
    )


if __name__ == "__main__":
    main()
