"""The curations of a bank: one TOML file for each category that somebody changed, and the pictures that they name.

::

    <bank>/curations/<support key>.toml    the curation (see ovdiff.curation.text)
          /curated/<address>/              an exemplar, or the places of a ban (see ovdiff.curation.pictures)

A support key stands for a category's phrases as one generator draws them: the numbers of images mean nothing elsewhere.
A file appears whole or not at all, and is changed under a lock of the folder, so two processes lose no change of each
other. An empty curation has no file. Never imports torch.
"""

from collections.abc import Callable
from pathlib import Path

from ovdiff.curation.curation import UNCURATED, Curation
from ovdiff.curation.pictures import PictureStore
from ovdiff.curation.text import curation_to_toml, toml_to_curation
from ovdiff.errors import BankError, CurationError
from ovdiff.storage import place
from ovdiff.storage.files import delete_left_overs, locked, write_whole
from ovdiff.storage.stamps import Stamp, stamps_of


class CurationStore:
    """The curations beside a bank. Safe for several threads and processes."""

    def __init__(self, bank_folder: Path | str) -> None:
        """Use the folder of a bank; nothing is created before the first change."""
        self.folder = place(bank_folder) / "curations"
        self.pictures = PictureStore(place(bank_folder) / "curated")
        self._stamps = stamps_of(self.folder)
        self._read: dict[str, tuple[Stamp, Curation]] = {}

    def of(self, support_key: str) -> Curation:
        """Return the curation of a support key; an empty one if there is none.

        A file is read again only if it has changed on disk, so this costs microseconds.

        Raises:
            CurationError: the file cannot be read as a curation.
        """
        path = self._path(support_key)
        try:
            stamp = self._stamps.of(path)
        except OSError as error:
            raise CurationError(f"The curation {path} cannot be read: {error}.") from error
        if stamp is None:
            return UNCURATED
        known = self._read.get(support_key)
        if known is None or known[0] != stamp:
            known = (stamp, _read(path))
            self._read[support_key] = known
        return known[1]

    def change(self, support_key: str, changed: Callable[[Curation], Curation]) -> Curation:
        """Replace the curation of a support key by what a function makes of it, under the folder's lock; return it.

        Raises:
            CurationError: the file cannot be read as a curation.
            BankError: the folder cannot be written.
        """
        path = self._path(support_key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder):
                delete_left_overs(self.folder)
                new = changed(_read(path))  # not by the last list: what another machine has changed is not to be lost
                if new.identity():
                    write_whole(path, curation_to_toml(new).encode())
                else:
                    path.unlink(missing_ok=True)
            self._stamps.changed(path.name)
        except OSError as error:
            raise BankError(f"The curation {path} cannot be written: {error}. Make it writable.") from error
        return new

    def add(self, support_key: str, text: bytes) -> Curation:
        """Write the text of a curation, unless somebody began one meanwhile; return the one that is stored then.

        Raises:
            OSError: the folder cannot be written.
            CurationError: the file cannot be read as a curation.
        """
        path = self._path(support_key)
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            if not path.exists():
                write_whole(path, text)
        self._stamps.changed(path.name)
        return self.of(support_key)

    def all(self) -> dict[str, Curation]:
        """Return all curations by their support keys, sorted.

        Raises:
            CurationError: a file cannot be read as a curation.
        """
        return {path.stem: self.of(path.stem) for path in sorted(self.folder.glob("*.toml"))}

    def _path(self, support_key: str) -> Path:
        return self.folder / f"{support_key}.toml"


def _read(path: Path) -> Curation:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:  # It was deleted this very moment.
        return UNCURATED
    except (OSError, ValueError) as error:
        raise CurationError(
            f"The curation {path} cannot be read: {error}. Correct it, or delete it to undo it."
        ) from error
    return toml_to_curation(text, str(path))
