"""Addresses in messages and in stored results, without what gives access: users, passwords and signatures.

All that commands print and all that is logged goes through `without_secrets` at its outlet; what is stored in files
goes through it where it is written.

s3://AKIA:se/cret@bucket/a.png                  s3://...@bucket/a.png
https://host/a.png?X-Amz-Signature=5f2c&e=1     https://host/a.png?...
https://host/image?token=5f2c&id=7              https://host/image?token=...&id=7
"""

import re
from collections.abc import Callable

_USER = re.compile(
    r"(?<!\babfs)(?<!\babfss)(?<!\baz)(?<!\bwasb)(?<!\bwasbs)://[^/\s]*@|://[^/\s]*:[^/\s]*@|\bhttps?:/[^/\s]+@",
    re.IGNORECASE,
)
"""Azure's container@account is no user. A path that was made of an address has lost a slash."""
_USER_WITH_SLASH = re.compile(
    r"(?:(?<=\bs3)|(?<=\bs3a))://[^/:@\s]+:\S*@|://[^/:@\s]+:(?!\d+(?:[/?#:,;.)'\"\s]|$))\S*@", re.IGNORECASE
)
"""S3's secret keys may hold a slash. A number after the colon is a port, which S3's addresses lack."""
_SIGNED = re.compile(
    r"\?(?=(?:[^\s'\"]*&)?(?:[\w.-]*[_.-])?(?:sig|signature|accesskeyid|awsaccesskeyid)=)[^\s'\"]*", re.IGNORECASE
)
_SECRET = re.compile(
    r"([?&](?:[\w.-]*[_.-])?(?:token|credential|secret|password|apikey|key)=)([^\s'\"&]*)", re.IGNORECASE
)
_IMAGE_KEY = re.compile(
    r".*(?<!api)(?<!api[_.-])key=[^?]*\.(?:jpe?g|png|webp|bmp|tiff?|gif|avif)[.,:;)]*", re.IGNORECASE
)
"""A key that ends as the name of an image does: many servers of images call an object's name so."""


def without_user(text: str) -> str:
    """Return an address, or a text with addresses, without users and passwords."""
    return _USER_WITH_SLASH.sub("://...@", _USER.sub(_without_user, text))


def without_secrets(text: str, hide: Callable[[str], str] = lambda _secret: "...") -> str:
    """Return an address, or a text with addresses, without users, passwords, and queries that hold a signature.

    Two addresses may look the same then: nothing is to be told apart by what this returns.

    Args:
        text: the address or text.
        hide: returns what stands in the place of a parameter that may be a secret, such as a token.
    """

    def hidden(found: re.Match[str]) -> str:
        return found[0] if _IMAGE_KEY.fullmatch(found[0]) else f"{found[1]}{hide(found[2])}"

    return _SECRET.sub(hidden, _SIGNED.sub("?...", without_user(text)))


def _without_user(found: re.Match[str]) -> str:
    scheme, slashes, _ = re.split("(//?)", found[0], maxsplit=1)
    return f"{scheme}{slashes}...@"
