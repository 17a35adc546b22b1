"""Addresses in messages and in stored results, without what gives access: users, passwords and signatures.

All that commands print and all that is logged goes through `without_secrets` at its outlet; what is stored in files
goes through it where it is written. A line may be of any length, so no pattern may go through the rest of a text again
from each of many places: the time that this takes grows as the text does.

s3://AKIA:se/cret@bucket/a.png                  s3://...@bucket/a.png
https://host/a.png?X-Amz-Signature=5f2c&e=1     https://host/a.png?...
https://host/image?token=5f2c&id=7              https://host/image?token=...&id=7
"""

import re
from collections.abc import Callable

_USER = re.compile(r"(?:\b(abfss?|az|wasbs?))?(://)([^/\s]*)@|(\bhttps?:/)[^/\s]+@", re.IGNORECASE)
"""What looks like a user, up to the last "@" before the path. A path that was made of an address has lost a slash."""
_UP_TO_THE_LAST_AT = re.compile(r"(?<!\S)\S*@")
_USER_WITH_SLASH = re.compile(
    r"(?:(?<=\bs3)|(?<=\bs3a))://[^/:@\s]+:|://(?!\[[\da-f:.]+\])[^/:@\s]+:(?!\d+(?:[/?#:,;.)'\"\s]|$))", re.IGNORECASE
)
"""Where a user begins whose password may hold a slash, as S3's secret keys do. A number after the colon is a port,
which S3's addresses lack, and colons in brackets belong to the number of a host."""
_QUERY = re.compile(r"\?[^\s'\"]*")
_SIGNATURE = re.compile(
    r"([?&]|\\u0026)(?:amp;)?(?:[\w.-]*[_.-])?(?:sig|signature|accesskeyid|awsaccesskeyid)=", re.IGNORECASE
)
_SECRET = re.compile(
    r"((?:[?&]|\\u0026)(?:amp;)?(?:[\w.-]*[_.-])?(?:token|credential|secret|password|apikey|key)=)([^\s'\"&]*)",
    re.IGNORECASE,
)
"""HTML writes & as "&amp;", and some servers' JSON writes it as "\\u0026"."""
_MAY_NAME_AN_OBJECT = re.compile(r"(?<!api)(?<!api[_.-])key=$", re.IGNORECASE)
_IMAGE = re.compile(
    r"(?:[^?#,;<>|\\()]|\([^?#,;<>|\\()]*\))*\.(?:jpe?g|png|webp|bmp|tiff?|gif|avif)[.,:;)]*", re.IGNORECASE
)
"""The name of an image, perhaps with the punctuation of a sentence behind it. A name of an image that stands behind a
character such as a comma may belong to another address."""


def without_user(text: str) -> str:
    """Return an address, or a text with addresses, without users and passwords."""
    return _UP_TO_THE_LAST_AT.sub(_without_user_with_slash, _USER.sub(_without_user, text))


def without_secrets(text: str, hide: Callable[[str], str] = lambda _secret: "...") -> str:
    """Return an address, or a text with addresses, without users, passwords, and queries that hold a signature.

    A parameter `key` that ends as the name of an image does is shown: many servers of images call an object's name so.

    Two addresses may look the same then: nothing is to be told apart by what this returns.

    Args:
        text: the address or text.
        hide: returns what stands in the place of a parameter that may be a secret, such as a token.
    """

    def hidden(found: re.Match[str]) -> str:
        name, value = found.groups()
        names_an_image = _MAY_NAME_AN_OBJECT.search(name) and _IMAGE.fullmatch(value)
        return found[0] if names_an_image else f"{name}{hide(value)}"

    return _SECRET.sub(hidden, _QUERY.sub(_without_signature, without_user(text)))


def _without_user(found: re.Match[str]) -> str:
    azure, slashes, user, one_slash = found.groups()
    if azure and ":" not in user:  # container@account
        return found[0]
    return f"{one_slash or (azure or '') + slashes}...@"


def _without_user_with_slash(found: re.Match[str]) -> str:
    begins = _USER_WITH_SLASH.search(found[0])
    return f"{found[0][: begins.start()]}://...@" if begins else found[0]


def _without_signature(query: re.Match[str]) -> str:
    """Cut a query with a signature: all of it, or from the question mark in it that stands before the signature."""
    begins = [found.start() if found[1] == "?" else 0 for found in _SIGNATURE.finditer(query[0])]
    return f"{query[0][: min(begins)]}?..." if begins else query[0]
