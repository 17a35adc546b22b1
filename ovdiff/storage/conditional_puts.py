"""One put by condition, as each storage knows it: a file is made if there is none, or replaced if it is of a version.

::

    s3://      If-None-Match: *        If-Match: ETAG                  conditional puts
    abfs://    If-None-Match: *        If-Match: ETAG                  access conditions of a blob
    gs://      ifGenerationMatch=0     ifGenerationMatch=GENERATION    preconditions of an object

Tested by tests/ovdiff/storage/test_conditional.py and, on servers that speak these, by test_leases.py beside it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

UNKNOWN = ""
"""What a put answers where the storage says that it knows no conditions: nothing was written."""

ConditionalPut = Callable[[Any, str, bytes, str | None], str | None]
"""Puts bytes by a file system of fsspec at a path, if the file is of a version; ``None``: if there is no such file.

It returns the file's new version, ``None`` if the condition is not fulfilled, or `UNKNOWN`.
"""

_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_NOT_IMPLEMENTED = {"NotImplemented", "501"}
_PRECONDITION_FAILED = 412


def _put_s3(fs: Any, at: str, data: bytes, version: str | None) -> str | None:
    condition = {"mode": "create"} if version is None else {"IfMatch": version}
    try:
        return str(fs.pipe_file(at, data, **condition)["ETag"])
    except FileExistsError:
        return None
    except OSError as error:
        code = s3_code(error)
        if code in _REFUSED or (version is not None and code == "NoSuchKey"):
            return None
        if code in _NOT_IMPLEMENTED:
            return UNKNOWN
        raise


def _put_azure(fs: Any, at: str, data: bytes, version: str | None) -> str | None:
    from azure.core import MatchConditions
    from azure.core.exceptions import HttpResponseError

    condition: dict[str, Any] = {"mode": "create"}
    if version is not None:
        condition = {"etag": version, "match_condition": MatchConditions.IfNotModified}
    try:
        return str(fs.pipe_file(at, data, **condition)["etag"])
    except FileExistsError:
        return None
    except HttpResponseError as error:
        if error.status_code == _PRECONDITION_FAILED:
            return None
        raise


def _put_gcs(fs: Any, at: str, data: bytes, version: str | None) -> str | None:
    """Put a file by one upload: gcsfs's own `pipe_file` knows no version."""
    bucket, key, _ = fs.split_path(at)
    url = f"{fs._location}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
    wanted = {"uploadType": "media", "name": key, "ifGenerationMatch": version or "0"}
    headers = {"Content-Type": "application/octet-stream"}
    try:
        return str(fs.call("POST", url, headers=headers, data=data, json_out=True, **wanted)["generation"])
    except FileExistsError:  # as gcsfs calls a precondition that failed
        return None


CONDITIONAL_PUTS: Mapping[str, ConditionalPut] = MappingProxyType(
    {
        "s3": _put_s3,
        "s3a": _put_s3,
        "abfs": _put_azure,
        "abfss": _put_azure,
        "az": _put_azure,
        "gs": _put_gcs,
        "gcs": _put_gcs,
    }
)
"""By what precedes the colon of an address, such as "s3"."""


def s3_code(error: BaseException | None) -> str:
    """Return S3's own code for an error; "" if the error is none of S3's answers."""
    response = getattr(getattr(error, "__cause__", None), "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_not_implemented(error: BaseException | None) -> bool:
    """Say whether a storage, or fsspec's library for it, does not know how to make a file only if there is none."""
    return isinstance(error, NotImplementedError | TypeError | ValueError) or s3_code(error) in _NOT_IMPLEMENTED
