"""Whatever uses a model, the models' caches or the device's memory does so inside the models' lock.

Real threads run the real engine on small models at once. Every module of torch that runs, every model that is asked
for, every look into a cache and every step of matching is asked whether its thread holds the lock.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

from ovdiff.bank import Bank
from ovdiff.building.prototypes import build_prototypes
from ovdiff.engine import Engine
from ovdiff.models.fair_lock import FairLock
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.segmenting import matching
from ovdiff.segmenting.encoding import EncodingCache, encode_image
from ovdiff.segmenting.tables import VocabularyTables
from ovdiff.vocabulary import Vocabulary

THREADS_TIMEOUT_S = 60.0
NAMES = ("boat", "clock", "water")


class WatchedLock(FairLock):
    """A fair lock that knows which thread holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.holder, self._entries = 0, 0

    def __enter__(self) -> Self:
        super().__enter__()
        self.holder, self._entries = threading.get_ident(), self._entries + 1
        return self

    def __exit__(self, *error: object) -> None:
        self._entries -= 1
        if not self._entries:
            self.holder = 0
        super().__exit__(*error)


class Watch:
    """Counts what is used, and what of it by a thread that does not hold the lock."""

    def __init__(self, lock: WatchedLock) -> None:
        self._lock = lock
        self.used: Counter[str] = Counter()
        self.outside: Counter[str] = Counter()

    def see(self, what: str) -> None:
        self.used[what] += 1
        if self._lock.holder != threading.get_ident():
            self.outside[what] += 1

    def around(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            self.see(what)
            return call(*arguments, **options)

        return watched


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    lock = WatchedLock()
    watch = Watch(lock)
    monkeypatch.setattr("ovdiff.models.loaded._LOCK", lock)
    monkeypatch.setattr(LoadedModels, "once", watch.around("a model is asked for", LoadedModels.once))
    monkeypatch.setattr(VocabularyTables, "of", watch.around("the tables", VocabularyTables.of))
    for verb in ("get", "put"):
        monkeypatch.setattr(EncodingCache, verb, watch.around("the cache", getattr(EncodingCache, verb)))
    for step in ("class_scores", "pamr", "decide"):
        monkeypatch.setattr(matching, step, watch.around("matching", getattr(matching, step)))
    handle = register_module_forward_pre_hook(lambda *_: watch.see("a model runs"))
    yield watch
    handle.remove()


@pytest.fixture(scope="module")
def chosen(preset: Preset) -> Preset:
    """Every kind of model: CLIP refuses images and decides kinds, and DINO cuts masks."""
    maskcut = replace(preset.proposals.maskcut, input_px=64, statistics="half")
    return replace(
        preset,
        safety=replace(preset.safety, check="clip_text", margin=2.0),
        proposals=replace(preset.proposals, source="maskcut", maskcut=maskcut),
        stuff_filter=replace(preset.stuff_filter, unknown_names="nearest"),
        generation=replace(preset.generation, images=2),
        refine=replace(preset.refine, pamr=True, pamr_iterations=1),
    )


@pytest.fixture(scope="module")
def bank(chosen: Preset, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    for name in NAMES:
        Engine(chosen, bank).build(name)
    return bank


def _at_once(*works: Callable[[], object]) -> None:
    """Run each in a thread of its own; a thread that never ends is a failure, not an endless wait."""
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 — the main thread shows it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(THREADS_TIMEOUT_S)
        assert not thread.is_alive()
    assert not errors


LOADS_AND_RUNS = {"a model is asked for", "a model runs"}


def test_building_uses_models_inside_the_lock(watch: Watch, chosen: Preset, tmp_path: Path) -> None:
    engine = Engine(chosen, Bank(tmp_path))
    _at_once(*(partial(engine.build, name) for name in NAMES[:2]))
    assert set(watch.used) == LOADS_AND_RUNS
    assert not watch.outside


def test_an_extractor_that_nothing_has_loaded_before_is_loaded_inside_the_lock(
    watch: Watch, chosen: Preset, tmp_path: Path
) -> None:
    only = replace(chosen, extractors=replace(chosen.extractors, use=("dino",)))
    engine = Engine(replace(only, proposals=replace(only.proposals, source="fixed")), Bank(tmp_path))
    _at_once(partial(engine.build, "boat"))
    assert set(watch.used) == LOADS_AND_RUNS
    assert not watch.outside


def test_segmenting_uses_models_caches_and_the_device_inside_the_lock(
    watch: Watch, chosen: Preset, bank: Bank, image: np.ndarray
) -> None:
    engine, vocabulary = Engine(chosen, bank), Vocabulary(NAMES)
    _at_once(*(partial(engine.segment, np.roll(image, shift, axis=1), vocabulary) for shift in range(3)))
    assert set(watch.used) == LOADS_AND_RUNS | {"the tables", "the cache", "matching"}
    assert not watch.outside


def test_encoding_alone_uses_models_and_the_cache_inside_the_lock(
    watch: Watch, chosen: Preset, bank: Bank, image: np.ndarray
) -> None:
    engine = Engine(chosen, bank)
    _at_once(*(partial(engine.encode, np.roll(image, shift, axis=1)) for shift in range(2)))
    assert set(watch.used) == LOADS_AND_RUNS | {"the cache"}
    assert not watch.outside


def test_what_encodes_without_a_cache_holds_the_lock_too(
    watch: Watch, chosen: Preset, bank: Bank, image: np.ndarray
) -> None:
    parts = Engine(chosen, bank)._segmenter.parts
    _at_once(partial(encode_image, parts, image), partial(encode_image, parts, image[::-1]))
    assert set(watch.used) == LOADS_AND_RUNS
    assert not watch.outside


def test_labelling_uses_captions_tables_and_the_device_inside_the_lock(
    watch: Watch, chosen: Preset, bank: Bank, image: np.ndarray
) -> None:
    engine, vocabulary = Engine(chosen, bank), Vocabulary(NAMES)
    encoded = engine.encode(image)
    watch.used.clear()
    _at_once(*(partial(engine.label, encoded, vocabulary) for _ in range(2)))
    assert set(watch.used) == LOADS_AND_RUNS | {"the tables", "matching"}
    assert not watch.outside


def test_kinds_ask_clip_inside_the_lock(watch: Watch, chosen: Preset, bank: Bank) -> None:
    engine = Engine(chosen, bank)
    _at_once(*(partial(engine.kinds, Vocabulary((name,))) for name in ("gizmo", "widget")))
    assert set(watch.used) == LOADS_AND_RUNS
    assert not watch.outside


@pytest.mark.parametrize(("rationed", "held"), [(True, True), (False, False)])
def test_k_means_takes_its_turn_where_it_takes_the_device_s_memory(
    rationed: bool, held: bool, watch: Watch, chosen: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU it may take a minute, in which predictions go on."""

    class Room:
        def free_mib(self) -> float:
            return 1e6

        def used_mib(self) -> float:
            return 0.0

    monkeypatch.setattr("ovdiff.building.steps.memory_of", lambda _: Room() if rationed else None)
    monkeypatch.setattr("ovdiff.building.steps.build_prototypes", watch.around("k-means", build_prototypes))
    clustered = replace(chosen, prototypes=replace(chosen.prototypes, clustering="torch"))
    clustered = replace(clustered, extractors=replace(chosen.extractors, use=("clip",)))
    engine = Engine(clustered, Bank(tmp_path))
    _at_once(partial(engine.build, "boat"))
    assert watch.used["k-means"] == 1
    assert watch.outside == ({} if held else {"k-means": 1})


def test_the_watch_sees_what_is_used_without_the_lock(watch: Watch, chosen: Preset, image: np.ndarray) -> None:
    """The other tests could not fail without this."""
    models = LoadedModels()
    models.clip(chosen.models.clip).embed_images(image[None], "half")  # type: ignore[arg-type]
    assert set(watch.outside) == LOADS_AND_RUNS
