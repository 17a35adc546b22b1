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

from converters.files.atomic import delete_left_overs, write_whole
from converters.files.folder_lock import locked
from ovdiff.curation.curation import UNCURATED, Curation
from ovdiff.curation.pictures import PictureStore
from ovdiff.curation.text import curation_to_toml, toml_to_curation
from ovdiff.errors import BankError

_Stamp = tuple[int, int, int]


class CurationStore:
    """The curations beside a bank. Safe for several threads and processes."""

    def __init__(self, bank_folder: Path | str) -> None:
        """Use the folder of a bank; nothing is created before the first change."""
        self.folder = Path(bank_folder) / "curations"
        self.pictures = PictureStore(Path(bank_folder) / "curated")
        self._read: dict[str, tuple[_Stamp, Curation]] = {}

    def of(self, support_key: str) -> Curation:
        """Return the curation of a support key; an empty one if there is none.

        A file is read again only if it has changed on disk, so this costs microseconds.

        Raises:
            BankError: the file cannot be read as a curation.
        """
        path = self._path(support_key)
        try:
            found = path.stat()
        except FileNotFoundError:
            return UNCURATED
        except OSError as error:
            raise BankError(f"The curation {path} cannot be read: {error}.") from error
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._read.get(support_key)
        if known is None or known[0] != stamp:
            known = (stamp, _read(path))
            self._read[support_key] = known
        return known[1]

    def change(self, support_key: str, changed: Callable[[Curation], Curation]) -> Curation:
        """Replace the curation of a support key by what a function makes of it, under the folder's lock; return it.

        Raises:
            BankError: the file cannot be read as a curation, or the folder cannot be written.
        """
        path = self._path(support_key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder):
                delete_left_overs(self.folder)
                new = changed(self.of(support_key))
                if new.identity():
                    write_whole(path, curation_to_toml(new).encode())
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise BankError(f"The curation {path} cannot be written: {error}. Make it writable.") from error
        return new

    def all(self) -> dict[str, Curation]:
        """Return all curations by their support keys, sorted.

        Raises:
            BankError: a file cannot be read as a curation.
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
        raise BankError(f"The curation {path} cannot be read: {error}. Correct it, or delete it to undo it.") from error
    return toml_to_curation(text, str(path))
