"""Two builders on one bank, in two processes: on a local folder, and on a bucket of a server that speaks S3."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovdiff.bank import Bank
from ovdiff.bank.recipe import Recipes
from ovdiff.bank.support_store import DrawnBatch, Shelf
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.building.parts import BuildingParts
from ovdiff.engine import Engine
from ovdiff.errors import BankError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, preset_to_mapping
from ovdiff.storage import place
from ovdiff.storage.leases import Leases
from ovdiff.vocabulary import Category
from tests.fakes.generator import FakeGenerator
from tests.fakes.waiting import eventually
from tests.storages import Cable, bucket_of, new_bucket

LASTS_S = 3.0

OTHER = """
import json, os, signal, sys, threading, torch
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion, transformers.models.clip.modeling_clip
from ovdiff.bank import Bank
from ovdiff.bank.recipe import Recipes
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.building.parts import BuildingParts
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets.preset import mapping_to_preset
from ovdiff.storage.leases import Leases
from ovdiff.vocabulary import Category

preset, lasts_s = mapping_to_preset(json.loads(sys.argv[1]), "test"), float(sys.argv[2])
torch.set_num_threads(1)  # and no work before the forks: a fork copies no other thread

def build(address, name):
    go_on = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: go_on.set())
    os.environ.update(json.loads(environment))
    bank = Bank(address)
    # Without a process's name nobody sees at once that it has ended, as on another machine.
    leases = Leases(bank.folder / "leases", holder="other", lasts_s=lasts_s, process="")
    builder = CategoryBuilder(BuildingParts(preset, LoadedModels()), bank, Recipes(preset), leases)
    def report(stage, _fraction):
        if stage == "generating" and len(builder.shelf(Category(name)).batches()) == 1 and not go_on.is_set():
            print(os.getpid(), flush=True)
            while not go_on.wait(0.1):
                pass
    builder.build(Category(name), report)

for line in sys.stdin:
    address, name, environment = line.rstrip().split(" ", 2)
    if not os.fork():
        build(address, name)
        os._exit(0)
"""


@pytest.fixture(scope="module")
def small(preset: Preset) -> Preset:
    """Six images in three batches."""
    return replace(
        preset,
        generation=replace(preset.generation, images=6, batch_size=2, steps=2),
        extractors=replace(preset.extractors, use=("clip",)),
    )


@pytest.fixture(scope="module")
def models() -> LoadedModels:
    return LoadedModels()


@pytest.fixture(scope="module")
def other(small: Preset) -> Iterator[Callable[[str, str], int]]:
    """Another process that builds a category, stops after its first batch, and tells its number."""
    command = [sys.executable, "-c", OTHER, json.dumps(preset_to_mapping(small)), str(LASTS_S)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        orders, answers = process.stdin, process.stdout
        assert orders is not None and answers is not None

        def build(address: str, name: str) -> int:
            environment = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
            print(address, name, json.dumps(environment), file=orders, flush=True)
            return int(answers.readline())

        yield build


@pytest.fixture(params=["folder", "bucket"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "bank")
    return f"{bucket_of('s3', request, monkeypatch)}/bank"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the images that this process has drawn."""
    numbers, keep = list[int](), Shelf.keep

    def noted(shelf: Shelf, batch: DrawnBatch) -> None:
        numbers.extend(sorted(batch.numbers))
        keep(shelf, batch)

    monkeypatch.setattr(Shelf, "keep", noted)
    return numbers


def builder(preset: Preset, models: LoadedModels, address: str, patience_s: float = 30.0) -> CategoryBuilder:
    bank = Bank(place(address, patience_s))
    leases = Leases(bank.folder / "leases", lasts_s=LASTS_S)
    return CategoryBuilder(BuildingParts(preset, models), bank, Recipes(preset), leases)


def contents(folder: Any) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if not isinstance(path, Path) or path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_two_processes_ask_for_is_built_once(
    other: Callable[[str, str], int], small: Preset, models: LoadedModels, address: str, kept: list[int]
) -> None:
    made, number, told = builder(small, models, address), other(address, "boat"), list[str]()

    def report(stage: str, _fraction: float) -> None:
        if stage.startswith("waiting") and not told:
            assert made.being_built(Category("boat")) == "other" and made.being_built(Category("ball")) is None
            os.kill(number, signal.SIGUSR1)  # The first goes on only when the second waits.
        told.append(stage)

    made.build(Category("boat"), report)
    assert set(told) == {"waiting for other", "done"} and kept == []
    assert eventually(lambda: made.being_built(Category("boat")) is None)  # The other one is seen to be done before.
    assert made.has(Category("boat")) and len(made.support_set(Category("boat")).images) == 6


def test_a_killed_builder_is_followed_when_its_lease_has_ended(
    other: Callable[[str, str], int], small: Preset, models: LoadedModels, address: str, kept: list[int], tmp_path: Path
) -> None:
    made, number = builder(small, models, address), other(address, "ball")
    waiting_s, went_on_s = list[float](), list[float]()

    def report(stage: str, _fraction: float) -> None:
        first = not waiting_s
        (waiting_s if stage.startswith("waiting") else went_on_s).append(time.monotonic())
        if first and waiting_s:
            os.kill(number, signal.SIGKILL)  # The clock was read before: a pause here makes the wait no shorter.

    made.build(Category("ball"), report)
    assert kept == [2, 3, 4, 5], "the batch that the killed one had finished is not drawn again"
    # This process had just looked at the lease when it said that it waits, and it waits from a look.
    assert went_on_s[0] - waiting_s[0] >= LASTS_S / 2, "no lease was taken over before it had ended"
    # What came of it is, to the byte, what one process makes on a local folder.
    Engine(small, Bank(tmp_path / "alone"), models=models).build("ball")
    assert contents(made.bank.folder) == contents(tmp_path / "alone")


def test_a_build_outlives_a_storage_that_is_away(
    cable: Cable, small: Preset, models: LoadedModels, kept: list[int], tmp_path: Path
) -> None:
    address = f"{new_bucket()}/bank"
    made, cut = builder(small, models, address, 60.0), list[float]()

    def report(stage: str, fraction: float) -> None:
        if stage == "generating" and fraction > 0.3 and not cut:
            cut.append(fraction)
            cable.cut()
            threading.Timer(LASTS_S, cable.mend).start()

    made.build(Category("boat"), report)
    assert cut and kept == [0, 1, 2, 3, 4, 5], "nothing was drawn twice"
    Engine(small, Bank(tmp_path / "alone"), models=models).build("boat")
    assert contents(made.bank.folder) == contents(tmp_path / "alone")


def drawing_ahead(preset: Preset, folder: Path) -> tuple[Engine, FakeGenerator]:
    """An engine that draws categories together, and its generator."""
    engine, generator = Engine(preset, Bank(folder), models=LoadedModels("cpu+shared_batches")), FakeGenerator()
    vars(engine._builder.parts).update(generator=generator, safety=None)
    return engine, generator


def drawn(generator: FakeGenerator) -> list[str]:
    return sorted({phrase for batch in generator.together for phrase, _ in batch})


def test_a_category_whose_curation_cannot_be_read_keeps_no_other_one_back(small: Preset, tmp_path: Path) -> None:
    """The one whose turn it was failed with the reason of the one after it."""
    engine, generator = drawing_ahead(small, tmp_path)
    names = ("boat", "ball", "ship")
    path = tmp_path / "curations" / f"{engine.curator.drawn_key(Category('ball'))}.toml"
    path.parent.mkdir()
    path.write_text("reject = [")
    engine.draw_ahead([Category(name) for name in names], lambda _category, _stage, _done: None)
    assert drawn(generator) == ["boat", "ship"]
    with pytest.raises(BankError, match="curation"):
        engine.build("ball")


def test_what_another_builder_draws_is_left_to_it_and_turns_end_with_the_drawing(small: Preset, tmp_path: Path) -> None:
    engine, generator = drawing_ahead(small, tmp_path)
    asked = [Category(name) for name in ("boat", "ball", "ship")]
    turns = {each.name: f"support-{engine.curator.drawn_key(each)}" for each in asked}
    leases = Leases(tmp_path / "leases", holder="other")
    held = leases.take_if_free(turns["ball"])
    assert held is not None
    engine.draw_ahead(asked, lambda _category, _stage, _done: None)
    assert drawn(generator) == ["boat", "ship"] and not engine.support_store.shelf(turns["ball"][8:], "").batches()
    held.release()
    held = leases.take_if_free(turns["ship"])
    assert held is not None

    def stop(_category: Category, _stage: str, _done: float) -> None:
        assert {name for name, turn in turns.items() if leases.holder(turn)} == {"ball", "fox", "ship"}
        raise KeyboardInterrupt

    fox = Category("fox")
    turns["fox"] = f"support-{engine.curator.drawn_key(fox)}"
    with pytest.raises(KeyboardInterrupt):
        engine.draw_ahead([asked[1], fox, asked[2]], stop)
    assert {name for name, turn in turns.items() if leases.holder(turn)} == {"ship"}, "an error ends the turns too"
    held.release()
