"""How fsspec's libraries for storages are asked: once and with time limits, for `ovdiff.storage.patience` asks again.

Each library asks again by itself, Azure's for a minute and a half, and what waits for a lease would wait for that. Of
gcsfs it cannot be changed: it gives up after half a minute.
"""

from typing import Any

from ovdiff.extras import naming_the_extra
from ovdiff.storage.conditional_puts import s3_code

S3, AZURE, GCS = ("s3", "s3a"), ("abfs", "abfss", "az"), ("gs", "gcs")

_FULL = {"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "507"}
"""S3's codes for a storage that has no room: those of MinIO and Ceph, for AWS's own has no limit."""

_CONNECT_S, _READ_S = 10, 60
"""Time limits of one question. The libraries' own would let a silent server hold a call for minutes."""
_S3_CONFIG = {
    "connect_timeout": _CONNECT_S,
    "read_timeout": _READ_S,
    "retries": {"mode": "standard", "total_max_attempts": 1},
}


def options_of(protocol: str) -> dict[str, Any]:
    """Return the options of fsspec's file system for a kind of storage, whose library is there.

    Raises:
        MissingExtraError: it is not.
    """
    if protocol in S3:
        return _s3_options()
    if protocol in AZURE:
        with naming_the_extra("Keeping files in Azure"):
            import adlfs  # noqa: F401
        return {"connection_timeout": _CONNECT_S, "read_timeout": _READ_S}
    if protocol in GCS:
        with naming_the_extra("Keeping files in Google Cloud Storage"):
            import gcsfs  # noqa: F401
        from aiohttp import ClientTimeout

        return {"requests_timeout": ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S)}
    return {}


def _s3_options() -> dict[str, Any]:
    with naming_the_extra("Keeping files in S3"):
        import s3fs  # noqa: F401
    from fsspec.config import conf

    options: dict[str, Any] = {"max_concurrency": 1}  # else each file is asked for its size before it is read
    if "config_kwargs" not in conf.get("s3", {}):
        options["config_kwargs"] = _S3_CONFIG
    return options


def ask_once(fs: Any, protocol: str) -> None:
    """Have Azure's library ask once; it has no option for that which adlfs would hand on."""
    if protocol in AZURE:
        policy = getattr(getattr(fs.service_client, "_config", None), "retry_policy", None)
        if policy is not None:
            policy.total_retries = 0


def advice(protocol: str, error: Exception) -> str:
    """Return what to look at when a storage refuses."""
    if protocol in AZURE:
        return "Azure is asked by AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and its key or login."
    if protocol in GCS:
        return "Google is asked by GOOGLE_APPLICATION_CREDENTIALS, or by the login of gcloud."
    if protocol not in S3:
        return "Its address and the settings of its library decide whether it can be used."
    if isinstance(error, PermissionError):
        return (
            "A bank needs s3:GetObject, s3:PutObject and s3:DeleteObject for the folder and s3:ListBucket for the "
            "bucket; AWS_PROFILE or AWS_ACCESS_KEY_ID say who asks."
        )
    if s3_code(error) in _FULL:
        return "The storage is full, or a quota is used up. Make room, then do the same again: what is stored stays."
    return "S3 is asked as AWS's own tools ask it: AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and the like."
