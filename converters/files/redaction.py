"""Addresses in messages and in stored results, without what gives access: users, passwords and signatures.

All that commands print and all that is logged goes through `without_secrets` at its outlet; what is stored in files
goes through it where it is written.

s3://AKIA:se/cret@bucket/a.png                  s3://...@bucket/a.png
https://host/a.png?X-Amz-Signature=5f2c&e=1     https://host/a.png?...
"""

import re

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
    r"\?(?=(?:[^\s'\"]*&)?(?:[\w.-]*[_.-])?"
    r"(?:sig|signature|token|credential|secret|password|accesskeyid|awsaccesskeyid|apikey|key)=)[^\s'\"]*",
    re.IGNORECASE,
)


def without_user(text: str) -> str:
    """Return an address, or a text with addresses, without users and passwords."""
    return _USER_WITH_SLASH.sub("://...@", _USER.sub(_without_user, text))


def without_secrets(text: str) -> str:
    """Return an address, or a text with addresses, without users, passwords, and queries that hold a signature."""
    return _SIGNED.sub("?...", without_user(text))


def _without_user(found: re.Match[str]) -> str:
    scheme, slashes, _ = re.split("(//?)", found[0], maxsplit=1)
    return f"{scheme}{slashes}...@"
