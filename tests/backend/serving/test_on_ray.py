"""The service with engines elsewhere: threads stand for workers, and once they are those of a real cluster."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.errors import SettingsError
from backend.serving import on_ray
from backend.serving.on_ray import EnginesOnRay
from backend.serving.service import Service
from backend.settings import RaySettings, Settings
from ovdiff.bank import Bank
from ovdiff.distributed import engine_worker
from ovdiff.distributed.engine_worker import use_engine
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.errors import ClusterError, SupportError, WeightsError
from ovdiff.tinyworld.world import render, sample_scene
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.waiting import eventually
from tests.ovdiff.distributed.test_building import Told

RED, BLUE, GREEN, WHITE = map(Category, ("red", "blue", "green", "white"))
RED_BLUE = """<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">
<Label value="red"/><Label value="blue"/></BrushLabels></View>"""


SKY = """<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">
<Label value="sky"/></BrushLabels></View>"""
PRESET = 'base = "tinyworld"\nname = "quick"\n[generation]\nimages = 2\nsteps = 2\n[anchors]\nprototypes = []\n'


class Threads(ThreadPoolExecutor):
    """A pool as `RayPool` is one to its users."""

    is_broken = False

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.workers = workers


class Elsewhere:
    """Connects to threads, whose one engine is another one on the same bank."""

    def __init__(self, there: FakeEngine) -> None:
        self.there, self.board, self.connections, self.ended = there, Told(), 0, 0
        self.pools: Any = None

    def __call__(self, engines: EnginesOnRay) -> Any:
        use_engine(self.there)
        self.connections += 1
        ending = ExitStack()
        ending.callback(self._end)
        self.pools = on_ray.Pools(Threads(1), Threads(2), self.board, ending)  # type: ignore[arg-type]
        return self.pools

    def _end(self) -> None:
        self.ended += 1
        self.pools.segmenters.shutdown(cancel_futures=True)
        self.pools.builders.shutdown(cancel_futures=True)


@pytest.fixture
def elsewhere(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    monkeypatch.setattr(on_ray, "_LOOK_S", 0.01)
    found = Elsewhere(FakeEngine(settings.bank_dir))
    monkeypatch.setattr(on_ray, "connect_to_cluster", found)
    yield found
    engine_worker._of_this_process.clear()


@pytest.fixture
def engines(elsewhere: Elsewhere, settings: Settings) -> Iterator[EnginesOnRay]:
    bank = Bank(settings.bank_dir)
    made = EnginesOnRay(FakeEngine(settings.bank_dir), bank, "cpu", RaySettings(ray="auto"))
    yield made
    made.stop()


def test_the_service_predicts_with_engines_elsewhere(
    elsewhere: Elsewhere, make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    service = make_app(replace(settings, ray=RaySettings(ray="auto")), engine).extensions["ovdiff"]
    task = {"id": 1, "data": {"image": "/data/upload/1/picture.png"}}
    (item,) = service.predict(PROJECT_UID, [task], RED_BLUE)
    assert [region["value"]["brushlabels"][0] for region in item["result"]] == ["blue", "red"]
    assert (engine.built, engine.segmented) == ([], 0), "no model runs here"
    assert sorted(elsewhere.there.built) == ["blue", "red"] and elsewhere.there.segmented == 1
    assert eventually(lambda: service.missing() == {})
    assert service.status()["projects"][PROJECT_UID]["categories"][0]["state"] == "ready"
    service.stop()
    assert elsewhere.ended == 1


def test_objects_are_told_apart_there(engines: EnginesOnRay, elsewhere: Elsewhere) -> None:
    words = Vocabulary((RED, BLUE))
    for category in words.categories:
        engines.build(category)
    image = red_and_blue()
    found = engines.segment(image, words, objects=True)
    here = elsewhere.there.segment(image, words)
    assert np.array_equal(found.label_map, here.label_map) and found.instance_map is not None
    assert engines.segment(image, words, objects=False).instance_map is None


def test_the_next_categories_are_built_beside_the_first(engines: EnginesOnRay, elsewhere: Elsewhere) -> None:
    engines.queue = lambda: [RED, BLUE, GREEN]
    elsewhere.there.gate = threading.Event()
    told: list[str] = []

    def progress(stage: str, _fraction: float) -> None:
        assert eventually(lambda: set(elsewhere.board.stages()) == {RED, BLUE}), "both are begun"
        told.append(stage)
        elsewhere.there.gate.set()  # type: ignore[union-attr]

    engines.build(RED, progress)
    assert "generating" in told
    engines.queue = list
    engines.build(BLUE)
    elsewhere.pools.builders.shutdown()
    assert sorted(elsewhere.there.built) == ["blue", "red"], "green waits: two engines build"


def test_a_failed_build_is_told_and_tried_again_when_asked(engines: EnginesOnRay, elsewhere: Elsewhere) -> None:
    elsewhere.there.failing = frozenset({"red"})
    with pytest.raises(SupportError, match="No support image of 'red'"):
        engines.build(RED)
    elsewhere.there.failing = frozenset()
    engines.build(RED)
    assert engines.has(RED) and engines.judgement(RED) is not None


def test_a_build_that_is_given_up_ends_there(engines: EnginesOnRay, elsewhere: Elsewhere) -> None:
    class NobodyWantsItError(Exception):
        pass

    def progress(_stage: str, _fraction: float) -> None:
        raise NobodyWantsItError

    elsewhere.there.gate = threading.Event()
    with pytest.raises(NobodyWantsItError):
        engines.build(RED, progress)
    assert not elsewhere.board.note(RED, "drawing", 0.5), "the worker is told at its next stage"
    elsewhere.there.gate.set()


def test_a_lost_cluster_is_told_and_connected_anew(engines: EnginesOnRay, elsewhere: Elsewhere) -> None:
    engines.load_models()

    def lost(*_given: object) -> Any:
        raise ClusterError("The head of the Ray cluster does not answer any more.")

    elsewhere.pools.segmenters.is_broken = True
    use_engine(type("Lost", (), {"segment": lost})())
    with pytest.raises(ClusterError, match="does not answer any more"):
        engines.segment(red_and_blue(), Vocabulary((RED,)), objects=False)
    assert elsewhere.connections == 1 and eventually(lambda: elsewhere.ended == 1)
    engines.load_models()
    assert elsewhere.connections == 2


def test_workers_that_could_not_start_are_tried_anew_whatever_was_wrong(
    engines: EnginesOnRay, elsewhere: Elsewhere
) -> None:
    def missing(_engine: object) -> Any:
        elsewhere.pools.segmenters.is_broken = True
        raise WeightsError("The weights are not there yet.")

    engines._connected()
    use_engine(type("Late", (), {"fingerprint": missing})())
    with pytest.raises(WeightsError):
        engines.load_models()
    engines.load_models()
    assert elsewhere.connections == 2


def test_nobody_waits_for_builds_of_a_lost_connection_to_end(
    engines: EnginesOnRay, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_ENDING_S", 0.05)
    pools, may_end = engines._connected(), threading.Event()
    pools.ending.callback(may_end.wait, 10.0)
    pools.segmenters.is_broken = True  # type: ignore[misc]

    def lost(*_given: object) -> Any:
        raise ClusterError("The head of the Ray cluster does not answer any more.")

    use_engine(type("Lost", (), {"fingerprint": lost})())
    with pytest.raises(ClusterError, match="does not answer any more"):
        engines.load_models()
    with pytest.raises(ClusterError, match=r"are ending\. Ask again later"):
        engines.load_models()
    may_end.set()
    assert eventually(lambda: elsewhere.ended == 1)
    engines.load_models()
    assert elsewhere.connections == 2


def test_builds_ahead_that_nobody_wants_any_more_make_room_for_others(
    engines: EnginesOnRay, elsewhere: Elsewhere
) -> None:
    engines.queue = lambda: [RED, BLUE]
    engines.build(RED)
    assert elsewhere.pools.ahead.keys() == {BLUE}
    engines.queue = lambda: [GREEN, WHITE]  # the project of the others is deleted
    engines.build(GREEN)
    assert elsewhere.pools.ahead.keys() == {WHITE}
    elsewhere.pools.builders.shutdown()
    assert {"red", "green", "white"} <= set(elsewhere.there.built)


def test_builds_may_end_while_the_next_ones_are_chosen(engines: EnginesOnRay) -> None:
    """A lost connection is ended in a thread of its own, which takes the builds away."""
    pools = engines._connected()

    class Ending(Category):
        def __ne__(self, other: object) -> bool:
            pools.ahead.pop(BLUE, None)
            return self is not other

    class Ended(Future[float]):
        def done(self) -> bool:
            pools.ahead.pop(GREEN, None)
            return True

    pools.ahead.update({Ending("red"): Future(), BLUE: Future(), WHITE: Ended(), GREEN: Future()})
    engines.queue = lambda: [WHITE, GREEN]
    assert engines._next(pools, RED) == [GREEN]


def test_a_build_that_is_given_up_ends_no_other_one_of_its_name(engines: EnginesOnRay, elsewhere: Elsewhere) -> None:
    engines.build(Category("boat", ("red",)))
    elsewhere.pools.give_up(Category("boat", ("red",)))
    assert not elsewhere.board.note(Category("boat", ("red",)), "drawing", 0.5)
    assert elsewhere.board.note(Category("boat", ("blue",)), "drawing", 0.5)
    assert len(elsewhere.board.stages()) == 2, "each has its own progress"


def test_nothing_is_sent_after_the_end(engines: EnginesOnRay) -> None:
    engines.stop()
    with pytest.raises(ClusterError, match="The service ends"):
        engines.load_models()


@pytest.mark.parametrize("value", ["somewhere", "ray://head:10001"])
def test_an_address_that_is_none_keeps_the_service_from_starting(settings: Settings, value: str) -> None:
    with pytest.raises(SettingsError, match=r"OVDIFF_RAY=.* is none of auto, local or HOST:PORT"):
        RaySettings(ray=value)
    assert RaySettings(ray="head:6379").ray_cpus == 1.0


@pytest.mark.slow
def test_a_real_cluster_makes_a_label_and_a_prediction(
    ray_head: Any,
    ray_cluster: object,
    settings: Settings,
    label_studio: FakeLabelStudio,
    make_app: MakeApp,
    tmp_path: Path,
) -> None:
    """The answer is that of a service whose models are in this process; neither knows what the other has built."""
    preset = tmp_path / "quick.toml"
    preset.write_text(PRESET)
    scene = render(sample_scene(242, "test", things=2), 96).image
    label_studio.files["/data/upload/1/scene.png"] = ("image/png", encoded(scene))
    task = {"id": 1, "data": {"image": "/data/upload/1/scene.png"}}
    on_cluster = RaySettings(ray=str(ray_head.address), ray_workers=1, ray_cpus=0.5)
    results, keys = [], []
    for name, ray in (("one", RaySettings()), ("two", on_cluster)):
        own = replace(settings, data_dir=tmp_path / name, ray=ray)
        engine = make_engine(load_any_preset(str(preset)), Bank(own.bank_dir), "cpu")
        service = make_app(own, engine).extensions["ovdiff"]
        if ray.ray:
            engine.build = engine.segment = None  # type: ignore[method-assign, assignment]  # here nothing is computed
        service.setup(PROJECT_UID, SKY)
        assert eventually(partial(_is_ready, service), 200)
        (item,) = service.predict(PROJECT_UID, [task], SKY)
        results.append(item)
        keys.append(sorted(path.name for path in own.bank_dir.rglob("*.safetensors")))
        service.stop()
    assert results[0] == results[1] and results[0]["result"]
    assert keys[0] == keys[1] and keys[0]


def _is_ready(service: Service) -> bool:
    (category,) = service.status()["projects"][PROJECT_UID]["categories"]
    return service.missing() == {} and category["state"] == "ready"
