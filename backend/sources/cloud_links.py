"""What presigned links look like, by which Label Studio shows images of S3, Google Cloud Storage and Azure.

Whose bucket a link leads to cannot be seen, and a stranger may have one. What is kept out are strangers' machines: most
names under amazonaws.com (EC2, load balancers, API gateways) lead to whatever program somebody runs there, which could
answer without end, or redirect. The hosts below are served by the storage itself: a stranger's bucket can hold a
picture that nobody wants, and no more than that, for bytes, pixels and time are limited. Hosts on which a bucket is a
web site with redirects (s3-website) are not among them.

Only https counts, on its own port, and only with the parameters of a signature, which all links of Label Studio have.
Whether the signature is valid, the storage decides. A public bucket needs no signature: its host is to be listed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backend.sources.web_url import WebUrl

_REGION = r"[a-z]{2,4}(?:-[a-z]+){1,3}-\d{1,2}"  # us-east-1, us-gov-west-1, cn-north-1
_BUCKET = r"[a-z0-9][a-z0-9._-]*"
_S3_ENDPOINTS = (
    r"s3\.amazonaws\.com",
    r"s3-external-1\.amazonaws\.com",
    r"s3-accelerate(?:\.dualstack)?\.amazonaws\.com",
    rf"s3-{_REGION}\.amazonaws\.com",  # as regions were named until 2019
    rf"s3(?:-accesspoint)?(?:-fips)?(?:\.dualstack)?\.{_REGION}\.amazonaws\.com",
    r"s3(?:-accesspoint)?(?:\.dualstack)?\.cn-[a-z]+-\d\.amazonaws\.com\.cn",  # the partition of China
    r"s3(?:-accesspoint)?(?:\.dualstack)?\.eusc-[a-z]+-[a-z]+-\d\.amazonaws\.eu",  # the European sovereign one
)
_S3 = re.compile(rf"(?:{_BUCKET}\.)?(?:{'|'.join(_S3_ENDPOINTS)})")
_GS = re.compile(rf"(?:{_BUCKET}\.)?storage\.googleapis\.com")
_AZURE = re.compile(
    r"[a-z0-9]{3,24}(?:-secondary)?"
    r"\.(?:blob\.core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)|z\d{1,3}\.blob\.storage\.azure\.net)"
)

_S3_SIGNATURES = (
    ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"),
    ("AWSAccessKeyId", "Expires", "Signature"),
)
_GS_SIGNATURES = (
    (
        "X-Goog-Algorithm",
        "X-Goog-Credential",
        "X-Goog-Date",
        "X-Goog-Expires",
        "X-Goog-SignedHeaders",
        "X-Goog-Signature",
    ),
    ("GoogleAccessId", "Expires", "Signature"),
    *_S3_SIGNATURES,  # Google answers to S3's protocol too
)
_AZURE_SIGNATURES = (("sv", "sr", "sig"), ("sv", "ss", "srt", "sig"))  # of a blob or its container; of an account


@dataclass(frozen=True)
class Cloud:
    """A cloud storage.

    Attributes:
        hosts: matches the hosts that the storage serves.
        signatures: the parameters that are together a signature, in each of its versions.
    """

    hosts: re.Pattern[str]
    signatures: tuple[tuple[str, ...], ...]


CLOUDS = {
    "s3": Cloud(_S3, _S3_SIGNATURES),
    "gs": Cloud(_GS, _GS_SIGNATURES),
    "azure-blob": Cloud(_AZURE, _AZURE_SIGNATURES),
}
"""The storages by the scheme of Label Studio's cloud URIs."""


def cloud_of(url: WebUrl, clouds: Sequence[str]) -> str | None:
    """Return which of these clouds serves the host of a URL, signed or not; None if none of them does."""
    return next((name for name in clouds if CLOUDS[name].hosts.fullmatch(url.host)), None)


def is_presigned(url: WebUrl, cloud: str) -> bool:
    """Return whether a URL of a cloud's host looks like a presigned link."""
    given = url.query.keys()
    signed = any(given >= set(names) for names in CLOUDS[cloud].signatures)
    return signed and url.scheme == "https" and url.port == 443
