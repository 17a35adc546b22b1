"""A whole bank in a bucket of a server that speaks S3 is, to the byte, the bank of a local folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovdiff.bank import Bank
from ovdiff.bank.archive import export_bank, import_bank
from ovdiff.bank.lesson_store import LessonStore
from ovdiff.engine import Engine
from ovdiff.engines.learning import engine_state
from ovdiff.errors import BankCorruptError, BankError, LessonError, StorageError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.storage import place
from ovdiff.storage.files import write_whole
from ovdiff.vocabulary import Category, Vocabulary
from tests.ovdiff.bank.a_lesson import RECIPE, a_lesson
from tests.storages import Cable, new_bucket

BOAT = Category("boat")


def contents(folder: Any) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if not isinstance(path, Path) or path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def fill(engine: Engine, image: np.ndarray) -> list[np.ndarray]:
    """Do with a bank all that is stored in it; return the masks of an image, from models and from the bank."""
    mask = np.zeros((64, 64), np.bool_)
    mask[20:50, 10:40] = True
    engine.build(BOAT)
    engine.curator.add_exemplar(BOAT, np.full((64, 64, 3), 90, np.uint8), mask, "a.jpg")
    engine.curator.reject(BOAT, [0], "blurred")
    engine.build(BOAT)
    engine.lessons.save(a_lesson())
    engine.lessons.change(a_lesson().address, weight=2.0)
    first = engine.segment(image, Vocabulary([BOAT]))
    again = Engine(engine.preset, Bank(engine.bank.folder), models=engine._models)  # It has the image's encoding.
    return [first.label_map, again.segment(image, Vocabulary([BOAT])).label_map]


def test_what_is_kept_in_a_bucket_is_what_is_kept_in_a_folder(
    preset: Preset,
    models: LoadedModels,
    image: np.ndarray,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    preset = replace(preset, cache=replace(preset.cache, disk_mib=64))
    here = Engine(preset, Bank(tmp_path / "bank"), models=models)
    there = Engine(preset, Bank(f"{bucket}/bank"), models=models)
    monkeypatch.setattr("ovdiff.building.curating.Curator._day", lambda _self: "2026-11-22")
    masks = fill(here, image), fill(there, image)
    assert all(np.array_equal(one, other) for one in masks[0] for other in masks[1])
    found = contents(there.bank.folder)
    assert found == contents(here.bank.folder)
    parts = {name.split("/")[0] for name in found}
    assert {"support", "curated", "curations", "encodings", "lessons"} <= parts and "leases" not in parts
    assert there.bank.keys() == here.bank.keys() and there.support_store.keys() == here.support_store.keys()

    # What was exported from a bucket is imported into another one, and nothing differs.
    export_bank(there.bank, there.bank.keys(), tmp_path / "bank.zip")
    other = Engine(preset, Bank(f"{bucket}/other"), models=models)
    import_bank(tmp_path / "bank.zip", other.bank, other.curator.foreign)
    assert contents(other.bank.folder) == {
        name: data for name, data in found.items() if not name.startswith(("encodings", "lessons"))
    }

    for key in here.bank.keys():  # noqa: SIM118 — a bank is no mapping
        there.bank.remove(key)
    there.support_store.remove(there.support_store.keys()[0])
    assert there.bank.keys() == () and there.support_store.keys() == () and not there.has(BOAT)


def test_a_damaged_set_in_a_bucket_counts_as_absent(preset: Preset, models: LoadedModels, bucket: str) -> None:
    bank = Bank(f"{bucket}/bank")
    Engine(preset, bank, models=models).build(BOAT)
    (key,) = bank.keys()
    assert bank.has(key) and bank.size_bytes(key) > 0
    write_whole(bank.folder / f"{key}.safetensors", b"damaged")
    bank.look_anew()
    assert not bank.has(key)
    with pytest.raises(BankCorruptError, match=rf"{bucket}/bank/{key}\.safetensors is damaged: its SHA-256 differs"):
        bank.load(key)
    with pytest.raises(BankError, match=f"No prototype set {'0' * 64} in {bucket}/bank"):
        bank.load("0" * 64)


def test_who_may_only_read_segments_and_sees_what_is_damaged(
    preset: Preset, models: LoadedModels, image: np.ndarray, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{s3_bucket}/bank"
    Engine(preset, Bank(address), models=models).build(BOAT)
    LessonStore(f"{address}/lessons").save(a_lesson())
    (key,) = Bank(address).keys()
    fs, refused = place(address).fs_and_path()[0], list[str]()  # type: ignore[attr-defined]

    def refuse(path: str, *_: Any, **__: Any) -> None:
        refused.append(path)
        raise PermissionError("Access Denied")

    with monkeypatch.context() as patched:
        patched.setattr(fs, "pipe_file", refuse)
        reader = Engine(replace(preset, cache=replace(preset.cache, disk_mib=64)), Bank(address), models=models)
        reader.segment(image, Vocabulary([BOAT]))
        assert refused and all("/encodings/" in path for path in refused)
        with pytest.raises(StorageError, match=r"Access Denied\. A bank needs s3:GetObject, s3:PutObject"):
            reader.build("ball")
    write_whole(reader.bank.folder / f"{key}.safetensors", b"damaged")
    write_whole(reader.lessons.folder / f"{a_lesson().address}.safetensors", b"damaged")
    for each in (reader.bank, reader.lessons):
        each._stamps.changed()
    with monkeypatch.context() as patched:
        patched.setattr(fs, "pipe_file", refuse)
        assert not reader.has(BOAT) and not reader.lessons.has(a_lesson().address)


def test_a_storage_that_is_away_is_no_damaged_bank(cable: Cable) -> None:
    address = new_bucket()
    bank, lessons = Bank(place(address, 0.0)), LessonStore(place(f"{address}/lessons", 0.0))
    write_whole(bank.folder / f"{'a' * 64}.json", b"{}")
    lessons.save(a_lesson())
    bank.look_anew()
    cable.cut()
    for ask in (lambda: bank.has("a" * 64), lambda: bank.load("a" * 64), bank.keys, lambda: lessons.in_force(RECIPE)):
        with pytest.raises(StorageError, match=f"{address}.*cannot be .*Look whether the storage runs"):
            ask()
    cable.mend()
    assert lessons.has(a_lesson().address)
    with pytest.raises(LessonError, match=f"No lesson 000000000000 in {address}/lessons"):
        lessons.load("0" * 64)


def test_an_image_is_segmented_while_the_storage_is_away(
    preset: Preset, models: LoadedModels, image: np.ndarray, cable: Cable
) -> None:
    engine = Engine(preset, Bank(place(f"{new_bucket()}/bank", 1.0)), models=models)
    vocabulary = Vocabulary([BOAT])
    engine.build(BOAT)
    before = engine.segment(image, vocabulary), engine_state(engine, vocabulary)
    cable.cut()
    for each in (engine.bank, engine.lessons, engine.curator._curations):
        each._stamps.changed()
    assert engine_state(engine, vocabulary) == before[1]
    assert np.array_equal(engine.segment(image, vocabulary).label_map, before[0].label_map)
    assert engine.segment(image[::-1].copy(), vocabulary).label_map.shape == before[0].label_map.shape
