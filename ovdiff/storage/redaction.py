"""Addresses in messages and in stored results, without what gives access: users, passwords and signatures.

s3://AKIA:se/cret@bucket/a.png                  s3://...@bucket/a.png
https://host/a.png?X-Amz-Signature=5f2c&e=1     https://host/a.png?...
"""

import re

_USER = re.compile(r"://[^/\s]*@")
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
    return _USER_WITH_SLASH.sub("://...@", _USER.sub("://...@", text))


def without_secrets(text: str) -> str:
    """Return an address, or a text with addresses, without users, passwords, and queries that hold a signature."""
    return _SIGNED.sub("?...", without_user(text))
