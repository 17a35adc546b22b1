"""A bank, or some of its categories, as one file: prototype sets, cards, support images, curations and exemplars.

::

    KEY.safetensors  KEY.json                a prototype set and its card
    support/KEY/batch-0000/...  masks-...    its support images and their masks
    curations/KEY.toml  curated/ADDRESS/...  what people changed, with the pictures that this names
    LICENCES.txt                             the terms of the weights that made the sets, for people
    manifest.json                            the SHA-256 of every other file

The file is a zip archive without compression, because what is in it is compressed already. The same bank gives the same
bytes. Reading trusts nothing: names are of the forms above and no others, so nothing is written elsewhere; sizes are
limited; every file is checked before the first one is written, and nothing that is there is replaced. Every folder and
every set appears whole or not at all, and a killed import is done again. Never imports torch.

Tested by tests/ovdiff/building/test_archive.py.
"""

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from converters.files.atomic import whole_file
from converters.files.sealed import CHECKSUMS
from ovdiff.bank.card import Card, json_to_card
from ovdiff.bank.files import Bank
from ovdiff.bank.support_store import check_support_files
from ovdiff.curation.curation import Curation
from ovdiff.curation.pictures import address_of, files_to_pictures
from ovdiff.curation.store import CurationStore
from ovdiff.curation.text import toml_to_curation
from ovdiff.errors import BankError
from ovdiff.storage import is_stored
from ovdiff.storage.sealed import keep_sealed

MOST_FILES = 200_000
MOST_FILE_BYTES = 1 << 30
"""A prototype set of the paper's preset takes about 5 MB."""

_DAMAGED = "The pictures %s are damaged and are replaced by those of the imported file"
_MANIFEST, _LICENCES = "manifest.json", "LICENCES.txt"
_KEY, _FOUR = r"[0-9a-f]{64}", r"[0-9]{4}"
_NAMES = tuple(
    re.compile(form)
    for form in (
        rf"{_KEY}\.(safetensors|json)",
        rf"support/{_KEY}/(batch-{_FOUR}|masks-[0-9a-f]{{16}})/({_FOUR}\.(png|npy)|batch\.json|checksums\.json)",
        rf"curations/{_KEY}\.toml",
        rf"curated/{_KEY}/((image|mask|{_FOUR}|{_KEY})\.png|checksums\.json)",
        re.escape(_LICENCES),
        re.escape(_MANIFEST),
    )
)
_UNREADABLE = (  # what zipfile and the readers of the files raise for bytes that nobody expected
    OSError, zipfile.BadZipFile, struct.error, EOFError, MemoryError, RuntimeError, TypeError, ValueError, LookupError
)  # fmt: skip
_EARLY = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        added: the categories whose sets were added.
        present: the categories whose sets were there already, and stay.
        curated: the categories whose curation was added, so that from now on their curated sets are used.
    """

    added: tuple[str, ...]
    present: tuple[str, ...]
    curated: tuple[str, ...]


def export_bank(bank: Bank, keys: Collection[str], path: Path) -> None:
    """Write prototype sets, and all that belongs to them, into one file. A file of this name is replaced.

    Args:
        bank: the bank.
        keys: the sets; at least one.
        path: the file.

    Raises:
        BankError: a set or a curation cannot be read, or the file cannot be written.
    """
    cards = [bank.card(key) for key in sorted(keys)]
    hashes: dict[str, str] = {}
    try:
        with whole_file(path) as file, ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in _files(bank, cards):
                hashes[name] = hashlib.sha256(data).hexdigest()
                _write(archive, name, data)
            _write(archive, _MANIFEST, f"{json.dumps({'format': 1, 'files': hashes}, indent=1)}\n".encode())
    except OSError as error:
        raise BankError(f"The bank cannot be written to {path}: {error}.") from error


def import_bank(path: Path, bank: Bank, foreign: Callable[[Card], str], categories: Collection[str] = ()) -> Imported:
    """Add the sets of a file to a bank. What is there already stays as it is.

    Args:
        path: a file that :func:`export_bank` wrote.
        bank: the bank.
        foreign: says why a set of such a card is not of this preset's weights and settings; "" if it is.
        categories: the names of the categories to add, without regard to case; all if there are none.

    Raises:
        BankError: the file is damaged or no such file, a set is foreign, or a curation differs from the one here; the
            message says which and why. Nothing is written then.
    """
    try:
        with ZipFile(path) as archive:
            names = _checked_names(archive, path)
            cards = _checked_sets(archive, names, path, categories)
            for card in cards:
                if why := foreign(card):
                    raise BankError(f"{path}: {card.category!r} was made otherwise than this preset makes it: {why}.")
            wanted = _wanted(names, archive, cards, path)
            _check_pictures(archive, wanted, path)
            store = CurationStore(bank.folder)
            curations = _checked_curations(archive, wanted, store, path)
            present = {card.key for card in cards if bank.has(card.key)}
            _add(archive, wanted, bank, [card for card in cards if card.key not in present])
            curated = [store.add(key, text).category for key, text in curations.items() if not store.of(key).identity()]
    except _UNREADABLE as error:
        raise BankError(f"{path} cannot be imported: {error}.") from error
    names_of = {card.key: card.category for card in cards}
    added = tuple(name for key, name in names_of.items() if key not in present)
    return Imported(added, tuple(name for key, name in names_of.items() if key in present), tuple(curated))


def _files(bank: Bank, cards: Iterable[Card]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of sets by their names in the archive, in a fixed order."""
    store, found = CurationStore(bank.folder), sorted(cards, key=lambda card: card.key)
    addresses: set[str] = set()
    for card in found:
        addresses |= {*card.curation.get("exemplars", ()), *card.curation.get("bans", ())}
        bank.load(card.key)  # A damaged set is not passed on.
        for suffix in (".json", ".safetensors"):
            yield f"{card.key}{suffix}", (bank.folder / f"{card.key}{suffix}").read_bytes()
    for key in sorted({card.support_key for card in found if card.support_key}):
        now = store.of(key)
        addresses |= {*now.identity().get("exemplars", ()), *now.identity().get("bans", ())}
        if now.identity():
            yield f"curations/{key}.toml", (store.folder / f"{key}.toml").read_bytes()
        yield from _folder(bank.folder, f"support/{key}")
    for address in sorted(addresses):
        store.pictures.get(address, "A picture of a curation")
        yield from _folder(bank.folder, f"curated/{address}")
    yield _LICENCES, _licences(found).encode()


def _folder(root: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files below a folder that belong there, by their names below the root."""
    for path in sorted((root / name).rglob("*")):
        inside = path.relative_to(root).as_posix()
        if (is_stored(path) or path.is_file()) and any(form.fullmatch(inside) for form in _NAMES):
            yield inside, path.read_bytes()


def _licences(cards: Iterable[Card]) -> str:
    lines = {f"{each.model}: {each.source}: {each.licence}: {each.note}" for card in cards for each in card.licences}
    return "\n".join(["The weights that made these prototypes, and their terms:", "", *sorted(lines)]) + "\n"


def _write(archive: ZipFile, name: str, data: bytes) -> None:
    entry = ZipInfo(name, _EARLY)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
    archive.writestr(entry, data, zipfile.ZIP_STORED)


def _checked_names(archive: ZipFile, path: Path) -> frozenset[str]:
    """Check the names, the sizes and the hashes of all files in an archive; return the names."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise BankError(f"{path} holds {len(entries)} files, more than {MOST_FILES}; it is no export of a bank.")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise BankError(f"{path} holds a file twice, which an export of a bank does not.")
    for entry in entries:
        if not any(form.fullmatch(entry.filename) for form in _NAMES):
            raise BankError(f"{path} holds {entry.filename!r:.120}, which an export of a bank does not.")
        is_plain = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
        if not is_plain or entry.file_size > MOST_FILE_BYTES:
            raise BankError(
                f"{path}: {entry.filename} is compressed, or has {entry.file_size} bytes where {MOST_FILE_BYTES} are "
                "allowed; it is no export of a bank."
            )
    if _MANIFEST not in names:
        raise BankError(f"{path} has no {_MANIFEST}; it is no export of a bank, or was cut off.")
    hashes = _manifest(archive.read(_MANIFEST), path)
    if differing := sorted({*hashes} ^ ({*names} - {_MANIFEST})):
        raise BankError(f"{path}: {differing[0]!r:.120} is in the archive or in its manifest alone.")
    for name, expected in hashes.items():
        if hashlib.sha256(archive.read(name)).hexdigest() != expected:
            raise BankError(f"{path} is damaged: {name} has another SHA-256 than its manifest says.")
    return frozenset(hashes)


def _manifest(data: bytes, path: Path) -> dict[str, str]:
    try:
        values = json.loads(data)
        if values["format"] != 1:
            raise BankError(f"{path} is of format {values['format']!r:.20}, and this version reads 1.")
        return {str(name): str(value) for name, value in values["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BankError(f"{path}: its {_MANIFEST} cannot be read ({error}).") from error


def _checked_sets(archive: ZipFile, names: Collection[str], path: Path, categories: Collection[str]) -> list[Card]:
    """Return the cards of the wanted categories, after checking that each has its arrays."""
    wanted = {name.casefold() for name in categories}
    cards = []
    for name in sorted(name for name in names if re.fullmatch(rf"{_KEY}\.json", name)):
        card = json_to_card(archive.read(name).decode("utf-8", "replace"), path / name)
        if wanted and card.category.casefold() not in wanted:
            continue
        arrays = f"{card.key}.safetensors"
        if card.key != name.removesuffix(".json") or arrays not in names:
            raise BankError(f"{path}: the card {name} is of {card.key!r:.80}, or lacks its arrays.")
        Bank.check(archive.read(arrays), card, path / arrays)
        cards.append(card)
    if lacking := sorted(wanted - {card.category.casefold() for card in cards}):
        raise BankError(f"{path} has no prototypes of {lacking[0]!r}.")
    if not cards:
        raise BankError(f"{path} holds no prototype sets.")
    return cards


def _wanted(names: Collection[str], archive: ZipFile, cards: Iterable[Card], path: Path) -> list[str]:
    """Return the names of the files that belong to sets, without the sets and without what is for people."""
    cards = list(cards)
    supports = {card.support_key for card in cards}
    addresses = {address for card in cards for kind in ("exemplars", "bans") for address in card.curation.get(kind, ())}
    for key in supports:
        if (name := f"curations/{key}.toml") in names:
            now = _curation(archive, name, path).identity()
            addresses |= {*now.get("exemplars", ()), *now.get("bans", ())}
    kept = {"support": supports, "curations": {f"{key}.toml" for key in supports}, "curated": addresses}
    if lacking := sorted(each for each in addresses if not any(name.startswith(f"curated/{each}/") for name in names)):
        raise BankError(f"{path} lacks the pictures {lacking[0]!s:.80} of a curation.")
    parts = ((name, *name.split("/")) for name in names if "/" in name)
    return sorted(name for name, top, inside, *_ in parts if inside in kept[top])


def _curation(archive: ZipFile, name: str, path: Path) -> Curation:
    return toml_to_curation(archive.read(name).decode("utf-8", "replace"), str(path / name))


def _checked_curations(archive: ZipFile, wanted: Iterable[str], store: CurationStore, path: Path) -> dict[str, bytes]:
    """Return the texts of curations by their support keys, after comparing them with those that are here."""
    found = {}
    for name in (name for name in wanted if name.startswith("curations/")):
        key, theirs = Path(name).stem, _curation(archive, name, path)
        ours = store.of(key)
        if ours.identity() and ours.identity() != theirs.identity():
            raise BankError(
                f"{path}: {theirs.category!r} is curated otherwise here ({ours.summary()}) than there "
                f"({theirs.summary()}). Move {store.folder / key}.toml away to take theirs, or import other categories."
            )
        found[key] = archive.read(name)
    return found


def _check_pictures(archive: ZipFile, wanted: Iterable[str], path: Path) -> None:
    """Check that pictures of curations are what their addresses say, and that support images can be read."""
    for folder, names in _by_folder(wanted).items():
        files = {name.rpartition("/")[2]: archive.read(name) for name in names}
        sealed = _checksums(files.pop(CHECKSUMS, b""), f"{path}: {folder}")
        if sealed != {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}:
            raise BankError(f"{path}: the checksums of {folder} are not those of its files.")
        if folder.startswith("support/"):
            check_support_files(files, f"{path}: {folder}")
        elif address_of(files_to_pictures(files, f"{path}: {folder}")) != folder.rpartition("/")[2]:
            raise BankError(f"{path}: {folder} has other pixels than its address says.")


def _checksums(data: bytes, where: str) -> dict[str, str]:
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError) as error:
        raise BankError(f"{where} has no checksums that can be read ({error}).") from error


def _add(archive: ZipFile, wanted: Iterable[str], bank: Bank, cards: Iterable[Card]) -> None:
    """Write what is not there yet: the pictures first, so that a set never names what is missing."""
    for folder, names in _by_folder(wanted).items():
        files = {name.rpartition("/")[2]: archive.read(name) for name in names}
        order = json.loads(files.pop(CHECKSUMS))  # They are those of the files: it was checked.
        keep_sealed(bank.folder / folder, {name: files[name] for name in order}, _DAMAGED)
    for card in cards:
        bank.add(card.key, archive.read(f"{card.key}.safetensors"), archive.read(f"{card.key}.json"))


def _by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the files of pictures by their folders; curations are single files and have none."""
    found: dict[str, list[str]] = {}
    for name in names:
        if not name.startswith("curations/"):
            found.setdefault(name.rpartition("/")[0], []).append(name)
    return found
