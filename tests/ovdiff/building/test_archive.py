"""A bank as one file: what belongs to its sets, what is refused, and that nothing is written elsewhere or over."""

import hashlib
import io
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
from PIL import Image

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


def _put_sealed(name_end: str, data: bytes) -> Callable[[dict[str, bytes]], None]:
    """Replace a file of a sealed folder, whose checksums fit again."""

    def change(files: dict[str, bytes]) -> None:
        folder, _, name = next(name for name in files if name.endswith(name_end)).rpartition("/")
        checksums = {**json.loads(files[f"{folder}/checksums.json"]), name: hashlib.sha256(data).hexdigest()}
        files |= {f"{folder}/{name}": data, f"{folder}/checksums.json": json.dumps(checksums).encode()}

    return change


def _unseal(files: dict[str, bytes]) -> None:
    name = next(name for name in files if name.endswith("batch-0000/checksums.json"))
    files[name] = json.dumps(dict.fromkeys(json.loads(files[name]), "0" * 64)).encode()


def _npy(header: str) -> bytes:
    text = f"{header}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


_HUGE_NPY = _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}")


def _npz() -> bytes:
    data = io.BytesIO()
    np.savez(data, a=np.zeros(3))
    return data.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


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
        (_put_sealed("image.png", b"x"), True, "cannot be read"),
        (
            _put_sealed("image.png", _png(np.zeros((64, 64, 3), np.uint8))),
            True,
            "has other pixels than its address says",
        ),
        (
            _put_sealed("0000.npy", b"cos\nsystem\n(S'true'\ntR."),
            True,
            "cannot be read as support images: .*allow_pickle",
        ),
        (_put_sealed("0000.npy", b""), True, "cannot be read as support images"),
        (_put_sealed("0000.npy", _HUGE_NPY), True, "cannot be read as support images"),
        (_put_sealed("0000.npy", _npz()), True, "cannot be read as support images: .*0000.npy is no array"),
        (_put_sealed("0000.png", _png(np.zeros((8, 9), np.uint8))), True, r"0000\.png is of \(8, 9\) pixels"),
        (_put_sealed("batch.json", b'{"images": [], "prompt": "", "left_out": [[]], "refused": 0}'), True, "left_out"),
        (_unseal, True, "the checksums of .* are not those of its files"),
        (
            _put("support/" + "a" * 64 + "/batch-\u0660\u0660\u0660\u0660/batch.json"),
            True,
            "which an export of a bank does",
        ),
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


def test_what_is_damaged_here_is_replaced_by_the_file(engine: Engine, other: Engine, exported: Path) -> None:
    import_bank(exported, other.bank, other.curator.foreign)
    whole = _tree(other.bank.folder)
    for pattern in ("*.safetensors", "curated/*/image.png", "support/*/batch-0000/0000.png"):
        next(other.bank.folder.glob(pattern)).write_bytes(b"damaged")
    done = import_bank(exported, Bank(other.bank.folder), other.curator.foreign)
    assert done.added == ("boat",) and done.present == ("boat",)
    assert _tree(other.bank.folder) == whole


@pytest.mark.parametrize("curation", [{"rejected": 5}, {"exemplars": [7]}, {"draw": "no"}, {"bans": ["../.."]}])
def test_a_card_with_an_impossible_curation_is_refused(
    curation: dict[str, object], engine: Engine, other: Engine, exported: Path
) -> None:
    """The key fits, because anybody can compute it; taken over, such a card would break every list of the bank."""

    def forge(files: dict[str, bytes]) -> None:
        name = next(name for name in files if name.endswith(".json") and len(name) == 69)
        card = json.loads(files[name])
        key = engine.curator._recipes.curated(card["phrases"], curation).key  # type: ignore[attr-defined]
        files[f"{key}.json"] = json.dumps({**card, "key": key, "curation": curation}).encode()
        files[f"{key}.safetensors"] = files[name.replace(".json", ".safetensors")]

    with pytest.raises(BankError, match="'curation' of its card is"):
        import_bank(_changed(exported, forge), other.bank, other.curator.foreign)
    assert not other.bank.folder.exists()


def test_names_that_are_no_text_are_refused(other: Engine, exported: Path) -> None:
    """The archive says that a name is UTF-8, and it is not."""
    data = bytearray(exported.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    entry = int.from_bytes(data[end + 16 : end + 20], "little")
    data[entry + 9] |= 0x08
    data[entry + 46] = 0xFF
    exported.write_bytes(data)
    with pytest.raises(BankError, match=r"cannot be imported: .*utf-8"):
        import_bank(exported, other.bank, other.curator.foreign)
