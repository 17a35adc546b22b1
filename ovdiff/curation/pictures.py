"""Content-addressed pictures: small sets of PNG files whose address is a hash of their pixels.

::

    <folder>/<address>/NAME.png           pictures that belong together, 8-bit grey or RGB
                      /checksums.json

A set appears whole or not at all, and is never changed. The address is a hash of the pixels and not of the files, so
another version of the PNG library gives no other address. Never imports torch.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovdiff.errors import BankError, CurationError
from ovdiff.storage import place
from ovdiff.storage.files import delete_left_overs
from ovdiff.storage.sealed import keep_sealed, read_sealed

Pictures = Mapping[str, NDArray[np.uint8]]
"""Pictures by their names: (H, W) grey or (H, W, 3) RGB, uint8."""

_DAMAGED = "The pictures %s of a curation are damaged and are not used"
_MOST_PX = 1 << 26


class PictureStore:
    """A folder of picture sets. Safe for several threads and processes: sets only ever appear whole."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``; it is created when the first set is kept."""
        self.folder = place(folder)

    def keep(self, pictures: Pictures) -> str:
        """Store pictures unless they are stored already; return their address.

        Raises:
            BankError: the folder cannot be written.
        """
        address = address_of(pictures)
        final = self.folder / address
        try:
            delete_left_overs(self.folder)
            if read_sealed(final, _DAMAGED) is None:
                keep_sealed(final, {f"{name}.png": _to_png(pixels) for name, pixels in pictures.items()}, _DAMAGED)
        except OSError as error:
            raise BankError(
                f"Pictures of a curation cannot be written to {self.folder}: {error}. Make room, or make it writable."
            ) from error
        return address

    def get(self, address: str, what: str) -> dict[str, NDArray[np.uint8]]:
        """Return stored pictures by their names.

        Args:
            address: their address.
            what: what they are, for messages: "The exemplar 'boat.jpg'".

        Raises:
            CurationError: they are not stored, or what is stored is something else.
        """
        files = read_sealed(self.folder / address, _DAMAGED)
        advice = f"Bring back {self.folder / address}, or take them out of the curation"
        if files is None:
            raise CurationError(f"{what} is not in the bank, or its pictures are damaged. {advice}.")
        try:
            found = files_to_pictures(files, what)
        except BankError as error:
            raise CurationError(f"{error} {advice}.") from error
        if address_of(found) != address:
            raise CurationError(f"{what} has other pixels than its address says. {advice}.")
        return found


def files_to_pictures(files: Mapping[str, bytes], what: str) -> dict[str, NDArray[np.uint8]]:
    """Return the pictures of PNG files, by the files' names without their suffix.

    Raises:
        BankError: one is no PNG of 8 bits, or too large; ``what`` names them in the message.
    """
    try:
        return {name.removesuffix(".png"): _from_png(data) for name, data in files.items()}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BankError(f"{what} cannot be read: {error}.") from error


def address_of(pictures: Pictures) -> str:
    """Return the content address of pictures: 64 hexadecimal digits."""
    content = hashlib.sha256()
    for name in sorted(pictures):
        content.update(f"{name} {pictures[name].shape} ".encode())
        content.update(np.ascontiguousarray(pictures[name]).tobytes())
    return content.hexdigest()


def _to_png(pixels: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def _from_png(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        if picture.width * picture.height > _MOST_PX or picture.mode not in ("L", "RGB"):
            raise ValueError(f"a picture of {picture.width} x {picture.height} px and mode {picture.mode}")
        return np.array(picture)
