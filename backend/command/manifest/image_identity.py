"""What an image's address names, whoever signed it and when; the name of an image in results.

    https://h/a%20b.png?w=640&X-Amz-Signature=5f2c   is the image of   https://h/a b.png?w=640
    https://h/image?key=cats/1.jpg                   is not that of    https://h/image?key=cats/2.jpg

Only what signers write is left out: any other part of a query may be what names the image. What messages hide
(`converters.files.redaction`) is more, and tells two images not apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from converters.files.redaction import without_secrets

_ASKED_FOR = ("/", "http://", "https://")  # elsewhere a question mark or a percent sign is part of a name
_SIGNATURE = re.compile(r"(?:.*[_.-])?(?:sig|signature)")
_SIGNED_BY = re.compile(r"x-(?:amz|goog|oss)-.*")  # AWS's Signature Version 4, Google's, and Alibaba's
_BESIDE_A_SIGNATURE = {
    "awsaccesskeyid", "googleaccessid", "ossaccesskeyid", "security-token", "expires",
    "key-pair-id", "policy", "hash-algorithm",  # CloudFront
}  # fmt: skip
_BESIDE_A_SIG = {
    "sv", "ss", "srt", "sr", "sp", "st", "se", "spr", "sip", "si", "sdd",
    "skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "ses",
}  # fmt: skip
"""What Azure writes into a shared access signature."""


def without_signature(address: str) -> str:
    """Return an address without the parameters that a signer wrote into its query; all else stays as it is written."""
    bare, mark, rest = address.partition("?")
    if not mark or not address.lower().startswith(_ASKED_FOR):
        return address
    query, hash_sign, fragment = rest.partition("#")
    named = [(part.partition("=")[0].lower(), part) for part in query.split("&")]
    if not (names := {name for name, _ in named if _SIGNATURE.fullmatch(name)}):
        return address
    beside = _BESIDE_A_SIG if "sig" in names else _BESIDE_A_SIGNATURE
    kept = [part for name, part in named if name not in names and name not in beside and not _SIGNED_BY.fullmatch(name)]
    return f"{bare}{'?' if kept else ''}{'&'.join(kept)}{hash_sign}{fragment}"


def image_identity(address: str) -> str:
    """Return a text that is the same for two addresses if they name the same image, signed and quoted or not.

    It may hold a password or a token of the address, and is for comparison alone.
    """
    unsigned = without_signature(address)
    if not unsigned.lower().startswith(_ASKED_FOR):
        return unsigned
    try:
        parts = urlsplit(unsigned)
    except ValueError:  # no URL, such as http://[
        return unsigned
    query = parse_qsl(parts.query, keep_blank_values=True)
    return json.dumps([parts.scheme, parts.netloc, unquote(parts.path), query, parts.fragment])


def image_name(address: str) -> str:
    """Return the name of an image in results: its address or path without a signature, user and password.

    Where a parameter may be a secret, the first digits of its hash tell the names apart.
    """
    return without_secrets(without_signature(address), _short_hash)


def _short_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:8]
