"""The checksums of a PNG, which Pillow does not look at where the pixels are.

    signature | chunk, chunk, ..., IEND          chunk: length, kind, data, CRC-32 of kind and data

A byte that was changed on its way may still decode, as another mask. So every reader of masks asks here first.
"""

import zlib
from typing import BinaryIO

from converters.errors import PNGError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BYTES_AT_ONCE = 1 << 20


def require_intact_png(file: BinaryIO) -> None:
    """Read a PNG from the file's position to its last chunk, in bounded memory, and compare all checksums.

    Raises:
        PNGError: the file is no PNG, ends before its last chunk, or a chunk's checksum is not that of its data.
    """
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise PNGError("expected the signature of a PNG, got other bytes: make the file anew")
    kind = b""
    while kind != b"IEND":
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        checksum = zlib.crc32(kind)
        while length and (block := file.read(min(length, _BYTES_AT_ONCE))):
            checksum = zlib.crc32(block, checksum)
            length -= len(block)
        stated = file.read(4)
        if len(stated) < 4:
            raise PNGError("expected a PNG that ends with the chunk IEND, got one that is cut short: make it anew")
        if int.from_bytes(stated, "big") != checksum:
            raise PNGError(
                f"expected the chunk {kind.decode('latin-1')!r} with the checksum {checksum:08x}, got {stated.hex()}: "
                "the PNG was damaged, make it anew"
            )
