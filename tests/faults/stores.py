"""Everything that is kept on disk, each with one act that changes it, for the tests of what faults leave behind."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import converters.cli
from backend.command.files import write_png
from backend.serving.predicting.stored import StoredItems
from backend.serving.store import Store
from ovdiff.bank.archive import export_bank
from ovdiff.bank.card import Card
from ovdiff.bank.files import Bank
from ovdiff.bank.lesson_store import LessonStore
from ovdiff.bank.support_store import SupportStore
from ovdiff.curation.pictures import PictureStore
from ovdiff.curation.store import CurationStore
from ovdiff.errors import WeightsError
from ovdiff.odise.head_file import HeadCard, read_card, write_head
from ovdiff.odise.naming import Label
from ovdiff.odise.training.checkpoint import Checkpoint
from ovdiff.segmenting.encoding_store import EncodingStore, encoding_to_bytes
from tests.ovdiff.bank.a_lesson import a_lesson
from tests.ovdiff.bank.test_files import _set
from tests.ovdiff.bank.test_support_store import _batch, _image, _masks
from tests.ovdiff.segmenting.test_encoding_store import _encoded

GOLDEN = Path(__file__).parents[1] / "converters/golden"
OLD, NEW = "0d" * 32, "2e" * 32


@dataclass(frozen=True)
class Kept:
    """Something that is kept on disk.

    Attributes:
        prepare: fills a folder.
        change: the act that is disturbed; done twice it gives what it gives once.
        state: what a reader finds in the folder, by objects that were made anew.
        half: states between those before and after the change that are true, too.
        raises: the error that says that there is no room; "" for a cache, which goes on without.
    """

    prepare: Callable[[Path], object]
    change: Callable[[Path], object]
    state: Callable[[Path], object]
    raises: str = ""
    half: tuple[object, ...] = ()


def _sets(folder: Path) -> dict[str, bytes | None]:
    bank = Bank(folder)
    spaces = {key: bank.load(key).spaces["clip"] for key in (OLD, NEW) if bank.has(key)}
    return {key: space.foreground.vectors.tobytes() for key, space in spaces.items()}


def _save_set(folder: Path, key: str, seed: int) -> None:
    Bank(folder).save(key, _set(seed), Card("boat"))


def _shelf_state(folder: Path) -> tuple[object, ...]:
    shelf = SupportStore(folder).shelf("ab" * 8, NEW)
    masks = shelf.masks([_image(0)])
    return tuple(sorted(batch.numbers) for batch in shelf.batches()), None if masks is None else masks[0][0].tobytes()


def _encodings(folder: Path) -> list[bytes | None]:
    found = [EncodingStore(folder, max_mib=1).get(key) for key in (OLD, NEW)]
    return [None if each is None else encoding_to_bytes(each) for each in found]


def _lessons(folder: Path) -> tuple[object, ...]:
    store = LessonStore(folder)
    return tuple(store.load(address).address for address in store.addresses()), store.damaged()


def _archive_state(folder: Path) -> bytes | None:
    path = folder / "bank.zip"
    return path.read_bytes() if path.exists() else None


def _prepare_archive(folder: Path) -> None:
    _save_set(folder / "bank", OLD, 0)
    export_bank(Bank(folder / "bank"), {OLD}, folder / "bank.zip")
    _save_set(folder / "bank", NEW, 1)


def _write_head(folder: Path, word: str, value: float) -> None:
    card = HeadCard((Label(word, (word,), False),), {"hidden": 1}, {"steps": 1})
    write_head(folder, {"a": torch.full((3,), value)}, card)


def _head(folder: Path) -> tuple[object, ...]:
    try:
        card = read_card(folder)
    except WeightsError:
        return ()
    return card.labels[0].name, (folder / "head.safetensors").read_bytes()


def _checkpoint(folder: Path, step: int | None = None) -> int:
    checkpoint = Checkpoint(folder / "checkpoint.pt")
    if step is not None:
        checkpoint.write({"head": {"a": torch.arange(9.0)}, "optimizer": {}, "average": {}, "step": step})
    return checkpoint.steps()


def _convert(folder: Path, form: str, out: str) -> None:
    command = [str(GOLDEN / "api_tasks.json"), "--label-config", str(GOLDEN / "label_config.xml")]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as complaint:
        status = converters.cli.main(["convert", form, *command, "--out", str(folder / out)])
    if status not in (0, 3):
        raise OSError(complaint.getvalue())


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".partial" not in str(path.relative_to(folder))
    }


def _projects(folder: Path) -> dict[str, str]:
    return _state_file(folder).label_configs()


def _state_file(folder: Path) -> Store:
    return Store(folder / "state.sqlite", event_rows=10)


def _curation(folder: Path) -> frozenset[int]:
    return CurationStore(folder).of(OLD).rejected_numbers()


def _reject(folder: Path, number: int) -> None:
    CurationStore(folder).change(OLD, lambda now: now.rejecting([number], "blurred", "2026-11-22"))


def _pictures(folder: Path, seed: int) -> str:
    return PictureStore(folder).keep({"image": np.full((9, 9, 3), seed, np.uint8)})


def _found_pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[0-9a-f]*") if PictureStore(folder).get(path.name, "it"))


def _items(folder: Path) -> list[object]:
    return [StoredItems(folder, 10_000).get(key) for key in ("old", "new")]


def _put(folder: Path, key: str) -> None:
    StoredItems(folder, 10_000).put(key, ["a"], {"result": [key * 50]})


KEPT: dict[str, Kept] = {
    "prototype set": Kept(lambda f: _save_set(f, OLD, 0), lambda f: _save_set(f, NEW, 1), _sets, "BankError"),
    "support images": Kept(
        lambda f: SupportStore(f).shelf("ab" * 8, NEW).keep(_batch(0, 2)),
        lambda f: SupportStore(f).shelf("ab" * 8, NEW).keep(_batch(1, 3)),
        _shelf_state,
        "BankError",
    ),
    "masks of support images": Kept(
        lambda f: SupportStore(f).shelf("ab" * 8, NEW).keep(_batch(0, 2)),
        lambda f: SupportStore(f).shelf("ab" * 8, NEW).keep_masks([_image(0)], _masks(1)),
        _shelf_state,
        "BankError",
    ),
    "pictures of a curation": Kept(lambda f: _pictures(f, 1), lambda f: _pictures(f, 2), _found_pictures, "BankError"),
    "curation": Kept(lambda f: _reject(f, 1), lambda f: _reject(f, 2), _curation, "BankError"),
    "lesson": Kept(
        lambda f: LessonStore(f).save(a_lesson(0)),
        lambda f: LessonStore(f).save(a_lesson(1), replacing=[a_lesson(0).address]),
        _lessons,
        "LessonError",
        half=((tuple(sorted((a_lesson(0).address, a_lesson(1).address))), ()),),
    ),
    "encoding": Kept(
        lambda f: EncodingStore(f, max_mib=1).put(OLD, _encoded(seed=0)),
        lambda f: EncodingStore(f, max_mib=1).put(NEW, _encoded(seed=1)),
        _encodings,
    ),
    "prediction": Kept(lambda f: _put(f, "old"), lambda f: _put(f, "new"), _items),
    "project": Kept(
        lambda f: _state_file(f).save_label_config("1.1", "<View/>"),
        lambda f: _state_file(f).save_label_config("1.1", "<View></View>"),
        _projects,
        "StoreError",
    ),
    "head": Kept(lambda f: _write_head(f, "car", 1.0), lambda f: _write_head(f, "sky", 2.0), _head, "OSError", ((),)),
    "checkpoint": Kept(lambda f: _checkpoint(f, 1), lambda f: _checkpoint(f, 2), _checkpoint, "OSError"),
    "archive of a bank": Kept(
        _prepare_archive,
        lambda f: export_bank(Bank(f / "bank"), {OLD, NEW}, f / "bank.zip"),
        _archive_state,
        "BankError",
    ),
    "dataset in a file": Kept(
        lambda f: (f / "coco.json").write_text(json.dumps({})),
        lambda f: _convert(f, "coco", "coco.json"),
        _files,
        "OSError",
    ),
    "dataset in a folder": Kept(lambda f: None, lambda f: _convert(f, "yolo", "yolo"), _files, "OSError"),
    "picture": Kept(
        lambda f: write_png(Image.new("RGB", (9, 9)), f / "a.png"),
        lambda f: write_png(Image.new("RGB", (9, 9), "red"), f / "a.png"),
        _files,
        "RequestError",
    ),
}
"""By what it is. A prediction and an encoding are caches; what people decided, and what was built, is not."""
