"""How long stored predictions and clicks take while others keep the models busy.

    python -m benchmarks.stored_predictions [--minutes 10] [--clients 50] [--new-clients 8] [--folder DIR] [--out FILE]

Starts `ovdiff serve` with the embedded models in a process of its own, and a server of small drawn images in Label
Studio's place. Some hundred tasks are predicted once and the service is started anew, so that their predictions are on
disk alone. Then each of 50 clients asks for one of these tasks every few seconds, as people do who open tasks, while 8
clients ask for new images without a pause. At last somebody clicks on an image that was looked at, while a label after
the other is built for another project.

Writes one JSON object: p50 and p95 of all three in seconds, how many were answered and how many were not, the resident
memory (MiB) by tenths of the run, the machine, and its load. `--folder` keeps prototypes and predictions for the next
run. Linux only. `results/stored_predictions.json` has a run of 10 minutes, for which it takes 14.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from benchmarks.service_memory import CONFIG, LABELS, PROJECT, images_served, machine, resident_mib, service

STORED_TASKS = 300
PAUSE_S = 5.0  # between two requests of a person
CLICKS = 150
CLICK_PAUSE_S = 0.3
BUILT = ("boat", "house", "balloon", "mushroom", "umbrella", "car")  # labels of another project, one build each
OTHER_PROJECT = "2.1795200100"
TENTHS = 10
KINDS = 20  # of the images that are served, numbers that are no multiple of others of them are small


CLICKS_TOO = CONFIG.replace(
    "<BrushLabels",
    '<KeyPointLabels name="click" toName="image" smart="true">'
    + "".join(f'<Label value="{name}"/>' for name in LABELS)
    + "</KeyPointLabels><BrushLabels",
)
"""The same vocabulary, with a tool to click with."""


@dataclass
class Answers:
    """What clients of one kind saw. Threads share it."""

    seconds: list[float] = field(default_factory=list)
    unanswered: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, seconds: float, *, good: bool) -> None:
        """Note one answer."""
        with self.lock:
            self.seconds.append(seconds)
            self.unanswered += not good

    def summary(self) -> dict[str, Any]:
        """Return the counts and the percentiles."""
        found = sorted(self.seconds)
        return {
            "requests": len(found),
            "without_a_result": self.unanswered,
            "p50_s": round(statistics.median(found), 4) if found else None,
            "p95_s": round(percentile(found, 0.95), 4) if found else None,
        }


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of some ordered numbers that so large a share of them does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def small(numbers: int) -> list[int]:
    """Return so many numbers of small images, as `benchmarks.service_memory` draws them."""
    return list(itertools.islice((number for number in itertools.count() if number % KINDS < 6), numbers))


def upload(number: int) -> str:
    """Return the address of an image, of the form that Label Studio gives to uploads."""
    return f"/data/upload/1/{number % 16**8:08x}-{number}.jpg"


def ask(url: str, number: int, session: requests.Session) -> tuple[float, bool]:
    """Ask for one prediction; return the seconds, and whether there was one."""
    task = {"id": number + 1, "data": {"image": upload(number)}}
    body = {"tasks": [task], "project": PROJECT, "label_config": CONFIG, "params": {"context": None}}
    start_s = time.perf_counter()
    response = session.post(f"{url}/predict", json=body, timeout=300)
    seconds = time.perf_counter() - start_s
    return seconds, response.ok and "result" in response.json()["results"][0]


def click(url: str, number: int, place: tuple[float, float], session: requests.Session) -> tuple[float, bool]:
    """Click on a place of an image, in percent; return the seconds, and whether there was an answer."""
    value = {"x": place[0], "y": place[1], "width": 0.2, "keypointlabels": [LABELS[0]]}
    region = {"type": "keypointlabels", "from_name": "click", "to_name": "image", "origin": "manual", "value": value}
    task = {"id": number + 1, "data": {"image": upload(number)}}
    body = {
        "tasks": [task],
        "project": PROJECT,
        "label_config": CLICKS_TOO,
        "params": {"context": {"result": [region]}},
    }
    start_s = time.perf_counter()
    response = session.post(f"{url}/predict", json=body, timeout=300)
    seconds = time.perf_counter() - start_s
    return seconds, response.ok and "error" not in response.json()["results"][0]


def clicks_beside_builds(url: str) -> dict[str, Any]:
    """Click while labels of another project are built; a click counts if a build ran before it and after it."""
    nobody_had = int(time.time())  # a phrase that was built in an earlier run of the folder is not built again
    labels = "".join(f'<Label value="{word}" prompts="{word} {nobody_had}"/>' for word in BUILT)
    schema = CONFIG.replace(CONFIG[CONFIG.index("<Label ") : CONFIG.index("</BrushLabels>")], labels)
    number, answers = small(1)[0], Answers()
    with requests.Session() as session:
        session.post(f"{url}/setup", json={"project": OTHER_PROJECT, "schema": schema}, timeout=60).raise_for_status()
        click(url, number, (50.0, 50.0), session)  # now it is encoded
        for turn in range(CLICKS):
            before = building(url, session)
            seconds, good = click(url, number, (5.0 + 90.0 * turn / CLICKS, 10.0 + turn % 80), session)
            if before and building(url, session):
                answers.note(seconds, good=good)
            time.sleep(CLICK_PAUSE_S)
        built = sum(each["state"] == "ready" for each in categories(url, session))
    return {"clients": 1, **answers.summary(), "labels_built_meanwhile": built}


def building(url: str, session: requests.Session) -> bool:
    """Return whether a label of the other project is being built at this moment."""
    return any(each["state"] == "building" for each in categories(url, session))


def categories(url: str, session: requests.Session) -> list[dict[str, Any]]:
    """Return how far the labels of the other project are."""
    found: list[dict[str, Any]] = session.get(f"{url}/status", timeout=60).json()["projects"][OTHER_PROJECT][
        "categories"
    ]
    return found


def by_tenths(samples: Sequence[float]) -> list[int]:
    """Return the highest of each tenth of some samples."""
    step = max(1, math.ceil(len(samples) / TENTHS))
    return [round(max(samples[start : start + step])) for start in range(0, len(samples), step)]


def measure(minutes: float, clients: int, new_clients: int, folder: Path) -> dict[str, Any]:
    """Predict the tasks once, start the service anew, and let clients ask."""
    tasks = small(STORED_TASKS)
    with images_served() as label_studio:
        with service(folder, label_studio, ()) as (url, _), requests.Session() as session:
            for number in tasks:
                ask(url, number, session)
        with service(folder, label_studio, ()) as (url, process_id), requests.Session() as session:
            ask(url, 10**6, session)  # loads the models
            stored, new = Answers(), Answers()
            until_s = time.monotonic() + 60 * minutes
            fresh = itertools.count(KINDS * int(time.time()), KINDS)  # of no earlier run in this folder
            threads = [
                _client(url, until_s, stored, lambda turn, who=who: tasks[(who + turn * clients) % len(tasks)], who)
                for who in range(clients)
            ] + [_client(url, until_s, new, lambda _turn: next(fresh), None) for _ in range(new_clients)]
            samples = []
            while any(thread.is_alive() for thread in threads):
                samples.append(resident_mib(process_id))
                time.sleep(0.5)
            load = [round(each, 1) for each in os.getloadavg()]
            clicks = clicks_beside_builds(url)
    return {
        "minutes": minutes,
        "stored": {"clients": clients, **stored.summary()},
        "new": {"clients": new_clients, **new.summary()},
        "clicks": clicks,
        "highest_mib": round(max(samples)),
        "mib_by_tenths": by_tenths(samples),
        "machine": machine(),
        "load_average": load,
    }


def table(results: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = [
        ("a stored prediction, every 5 s", results["stored"]),
        ("the prediction of a new image, without a pause", results["new"]),
        ("a click on an image that was looked at, while labels are built", results["clicks"]),
    ]
    lines = [
        f"| {what} | {each['clients']} | {each['requests']:,} | {each['without_a_result']} | {_shown(each['p50_s'])} | "
        f"{_shown(each['p95_s'])} |"
        for what, each in rows
    ]
    head = ["| who asks for | clients | requests | unanswered | p50 | p95 |", "| --- | --: | --: | --: | --: | --: |"]
    memory = ", ".join(f"{mib:,}" for mib in results["mib_by_tenths"])
    load = ", ".join(f"{each:g}" for each in results["load_average"])
    return "\n".join([*head, *lines]) + (
        f"\n\nResident memory of the service, the highest in each tenth of the run: {memory} MiB.\n\n"
        f"*{results['minutes']:g} minutes, the embedded models on {results['machine']}; load average {load} (1, 5 and "
        f"15 minutes), which has what else ran there. {results['clicks']['labels_built_meanwhile']} labels were built "
        "during the clicks.*"
    )


def _shown(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _client(
    url: str, until_s: float, answers: Answers, choose: Callable[[int], int], who: int | None
) -> threading.Thread:
    """Start one client: a person with pauses, or, if `who` is None, one without."""

    def work() -> None:
        if who is not None:
            time.sleep(PAUSE_S * (who % 10) / 10)  # people do not all begin at once
        with requests.Session() as session:
            for turn in itertools.count():
                if time.monotonic() >= until_s:
                    return
                seconds, good = ask(url, choose(turn), session)
                answers.note(seconds, good=good)
                if who is not None:
                    time.sleep(max(0.0, PAUSE_S - seconds))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--new-clients", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where the service keeps its data (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="the JSON file to write (default: the screen)")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(options.minutes, options.clients, options.new_clients, folder)
    text = json.dumps(found, indent=2)
    if options.out:
        options.out.write_text(text + "\n", "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
