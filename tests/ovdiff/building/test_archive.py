"""A bank as one file: what belongs to its sets, what is refused, and that nothing is written elsewhere or over."""

import hashlib
import json
import os
import shutil
import signal
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from ovdiff.bank import Bank
from ovdiff.bank.archive import Imported, export_bank, import_bank
from ovdiff.engine import Engine
from ovdiff.errors import BankError
from ovdiff.vocabulary import Category

BOAT = Category("boat")


@pytest.fixture
def exported(engine: Engine, tmp_path: Path) -> Path:
    """A file of a bank with boat as it was drawn, and boat with an exemplar."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), np.bool_)
    mask[20:50, 10:40] = True
    engine.curator.add_exemplar(BOAT, image, mask, "a.jpg")
    engine.build(BOAT)
    path = tmp_path / "bank.zip"
    export_bank(engine.bank, engine.bank.keys(), path)
    return path


@pytest.fixture
def other(engine: Engine, tmp_path: Path) -> Engine:
    """An engine of the same preset on an empty bank."""
    return Engine(engine.preset, Bank(tmp_path / "other"), models=engine._models)


def _tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _changed(path: Path, change: Callable[[dict[str, bytes]], None], *, sign: bool = True) -> Path:
    """Write an archive with other files; its manifest fits them if it is signed anew."""
    with ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if sign:
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "manifest.json"}
        files["manifest.json"] = json.dumps({"format": 1, "files": hashes}).encode()
    with ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_a_bank_goes_through_a_file_and_is_the_same(engine: Engine, other: Engine, exported: Path) -> None:
    done = import_bank(exported, other.bank, other.curator.foreign)
    assert done == Imported(("boat", "boat"), (), ("boat",))
    assert _tree(other.bank.folder) == _tree(engine.bank.folder)
    assert other.has(BOAT) and other.category_key(BOAT) == engine.category_key(BOAT)
    assert other.support_set(BOAT).images[-1].exemplar == "a.jpg"
    again = import_bank(exported, other.bank, other.curator.foreign)
    assert again == Imported((), ("boat", "boat"), ())
    with ZipFile(exported) as archive:
        assert "clip: " in archive.read("LICENCES.txt").decode()


def test_the_same_bank_gives_the_same_bytes(engine: Engine, exported: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(engine.bank.folder, tmp_path / "copied")
    for path in copied.rglob("*"):
        os.utime(path, (10**9, 10**9))
    export_bank(Bank(copied), sorted(engine.bank.keys(), reverse=True), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == exported.read_bytes()


def test_sets_of_other_weights_or_settings_are_refused_with_the_reason(
    engine: Engine, exported: Path, tmp_path: Path
) -> None:
    preset = engine.preset
    clip = replace(preset.models.clip, source=str(preset.models.dino.source))  # type: ignore[type-var, union-attr]
    weights = replace(preset, models=replace(preset.models, clip=clip))
    settings = replace(preset, prototypes=replace(preset.prototypes, parts=3))
    for changed, said in (
        (weights, r"weights clip\.weights is .* there and .* here"),
        (settings, r"parts is 2 there and 3"),
    ):
        bank = Bank(tmp_path / "foreign")
        with pytest.raises(BankError, match=rf"'boat' was made otherwise than this preset makes it: .*{said}"):
            import_bank(exported, bank, Engine(changed, bank).curator.foreign)
        assert not bank.folder.exists()


def test_what_is_there_is_never_replaced(engine: Engine, other: Engine, exported: Path) -> None:
    other.curator.add_exemplar(BOAT, np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), np.bool_), "mine", alone=True)
    before = _tree(other.bank.folder)
    with pytest.raises(BankError, match=r"otherwise here \(1 exemplar, nothing drawn\) than there \(1 ex"):
        import_bank(exported, other.bank, other.curator.foreign)
    assert _tree(other.bank.folder) == before
    other.curator.remove_exemplar(BOAT, "mine")
    other.curator.draw(BOAT, draw=True)
    import_bank(exported, other.bank, other.curator.foreign)
    card = other.bank.folder / f"{other.category_key(BOAT)}.json"
    card.write_text(card.read_text().replace('"boat"', '"Boat"'))
    mine = _tree(other.bank.folder)
    assert import_bank(exported, other.bank, other.curator.foreign).added == ()
    assert _tree(other.bank.folder) == mine


def _flip(name_end: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        name = next(name for name in files if name.endswith(name_end))
        files[name] = files[name][:-20] + bytes(20)

    return change


def _put(name: str, data: bytes = b"x") -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({name: data})


def _drop(name_start: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        for name in [name for name in files if name.startswith(name_start)]:
            del files[name]

    return change


def _put_npy(files: dict[str, bytes]) -> None:
    name = next(name for name in files if name.endswith("0000.npy"))
    files[name] = b"cos\nsystem\n(S'true'\ntR."  # a pickle, which must not be read


@pytest.mark.parametrize(
    ("change", "sign", "said"),
    [
        (_put("../../evil"), True, r"holds '\.\./\.\./evil', which an export of a bank does not"),
        (_put("/etc/passwd"), True, "holds '/etc/passwd'"),
        (_put("curated/" + "a" * 64 + "/../../x.png"), True, "which an export of a bank does not"),
        (_put("support/" + "a" * 64 + "/batch-0000/0000.exe"), True, "which an export of a bank does not"),
        (_flip(".safetensors"), False, "is damaged: .* has another SHA-256 than its manifest says"),
        (_flip(".safetensors"), True, "its SHA-256 differs from its card's"),
        (_put("LICENCES.txt"), False, "is damaged: LICENCES.txt"),
        (_put("manifest.json", b"{}"), False, r"its manifest\.json cannot be read"),
        (_put("manifest.json", b'{"format": 2}'), False, "is of format 2, and this version reads 1"),
        (_drop("manifest.json"), False, r"has no manifest\.json; it is no export of a bank"),
        (_drop("curated/"), True, "lacks the pictures .* of a curation"),
        (_drop("LICENCES.txt"), False, "'LICENCES.txt' is in the archive or in its manifest alone"),
        (_flip("image.png"), True, "cannot be read|other pixels"),
        (_put_npy, True, "cannot be read as support images: .*allow_pickle"),
    ],
)
def test_a_file_that_is_damaged_or_hostile_is_refused_and_nothing_is_written(
    change: Callable[[dict[str, bytes]], None], sign: bool, said: str, other: Engine, exported: Path, tmp_path: Path
) -> None:
    path = _changed(exported, change, sign=sign)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(BankError, match=said):
        import_bank(path, other.bank, other.curator.foreign)
    assert set(tmp_path.rglob("*")) == before and not other.bank.folder.exists()


def test_a_compressed_file_and_no_archive_are_refused(other: Engine, exported: Path, tmp_path: Path) -> None:
    with ZipFile(exported) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(tmp_path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(BankError, match=r"is compressed, or has .* bytes where"):
        import_bank(tmp_path / "deflated.zip", other.bank, other.curator.foreign)
    exported.write_bytes(exported.read_bytes()[:-100])
    for path in (exported, tmp_path / "absent.zip"):
        with pytest.raises(BankError, match="cannot be imported"):
            import_bank(path, other.bank, other.curator.foreign)
    assert not other.bank.folder.exists()


def test_some_categories_of_a_file(engine: Engine, other: Engine, exported: Path) -> None:
    with pytest.raises(BankError, match="has no prototypes of 'fish'"):
        import_bank(exported, other.bank, other.curator.foreign, ["boat", "fish"])
    assert import_bank(exported, other.bank, other.curator.foreign, ["Boat"]).added == ("boat", "boat")


def test_a_killed_import_leaves_whole_sets_and_is_done_again(engine: Engine, other: Engine, exported: Path) -> None:
    """The process ends before the second set is written: what is there is whole, and what is named is there."""
    child = os.fork()
    if not child:
        add, done = Bank.add, []

        def kill(self: Bank, key: str, arrays: bytes, card: bytes) -> None:
            if done:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(key)
            add(self, key, arrays, card)

        Bank.add = kill  # type: ignore[method-assign]
        import_bank(exported, other.bank, other.curator.foreign)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(other.bank.keys()) == 1 and other.bank.has(other.bank.keys()[0])
    assert len(import_bank(exported, other.bank, other.curator.foreign).added) == 1
    assert _tree(other.bank.folder) == _tree(engine.bank.folder)
