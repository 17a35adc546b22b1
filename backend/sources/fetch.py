"""Download the image of a task, only from addresses that the settings allow.

The address in a task was written by whoever imported the data, so it must not make this service reach into the network
that it runs in. Each address, also after each redirect, is one of:

- a path under which Label Studio serves images (`/data/...`, `/tasks/<id>/presign/...`): only there our token is sent;
- any other path of Label Studio's host: no token is sent;
- a host of `image_hosts`: no token is sent, and the connection is dropped before a byte is sent if it leads to a
  private, loopback or reserved address. The check is made on the connected socket, so a name that resolves
  differently the second time gains nothing;
- a host of `private_image_hosts`: no token is sent, and the address may be private.

Every other address is refused. The check is made on the URL as `requests` sends it, because parsers differ: for
`urlsplit`, `http://a\\@b/` is on host b, while urllib3 connects to a.
"""

from __future__ import annotations

import base64
import ipaddress
import posixpath
import re
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from backend.errors import (
    ImageBlockedError,
    ImageFetchError,
    ImageReferenceError,
    ImageTooLargeError,
    LabelStudioAPIError,
)
from backend.settings import ImageSettings
from backend.sources.label_studio import TOKEN_ADVICE, LabelStudioClient

CHUNK_BYTES = 64 * 1024
CLOUD_SCHEMES = frozenset({"s3", "gs", "azure-blob"})  # the cloud storages of Label Studio 1.23.2
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_IMAGE_PATH = re.compile(r"/(data|storage-data)/|/(tasks|projects)/\d+/(presign|resolve)/")


def image_url(reference: str, *, label_studio_url: str, task_id: int | None) -> str:
    """Return the absolute http(s) URL of an image that a task's data refers to.

    Args:
        reference: a path of Label Studio, an http(s) URL, or a cloud URI such as `s3://bucket/key`.
        label_studio_url: the base URL of Label Studio, without a slash at the end.
        task_id: the id of the task; Label Studio needs it to turn a cloud URI into a presigned link.

    Raises:
        ImageReferenceError: the reference has none of these forms.
    """
    scheme = _scheme(reference)
    if scheme in ("http", "https"):
        return reference
    if reference.startswith("/") and not reference.startswith("//"):
        return _label_studio_url(reference, label_studio_url)
    if scheme in CLOUD_SCHEMES and task_id is not None:
        uri = base64.urlsafe_b64encode(reference.encode()).decode()
        return f"{label_studio_url}/tasks/{task_id}/presign/?fileuri={uri}"
    raise ImageReferenceError(
        f"{reference[:200]!r} is no image that can be fetched: expected a path of Label Studio (/data/...), "
        f"an http(s) URL or a cloud URI ({', '.join(sorted(CLOUD_SCHEMES))})."
    )


@dataclass(frozen=True)
class Fetcher:
    """Downloads images under the rules of this module. Threads may share a fetcher."""

    label_studio: LabelStudioClient
    limits: ImageSettings

    def fetch(self, reference: str, *, task_id: int | None = None) -> bytes:
        """Return the bytes of an image, within `image_timeout_s` and at most `image_max_bytes` of them.

        Raises:
            ImageReferenceError: the reference is not an address of an image.
            ImageBlockedError: the reference leads to a host or an address that is not allowed.
            ImageFetchError: a server could not be reached, or did not deliver the image in time.
            ImageTooLargeError: the image has more bytes than allowed.
        """
        url = _sent_url(image_url(reference, label_studio_url=self.label_studio.base_url, task_id=task_id))
        deadline_s = time.monotonic() + self.limits.image_timeout_s
        with requests.Session() as session:
            session.trust_env = False  # neither proxies nor .netrc of the environment
            session.mount("http://", _PublicOnlyAdapter())
            session.mount("https://", _PublicOnlyAdapter())
            for _ in range(self.limits.max_redirects + 1):
                response = self._get(session, url, deadline_s)
                with response:
                    if response.status_code not in REDIRECTS:
                        self._require_success(response, url)
                        return self._read(response, url, deadline_s)
                    url = _sent_url(url, response.headers.get("Location", ""))
        raise ImageFetchError(f"{shown(reference)} redirects more than {self.limits.max_redirects} times.")

    def _get(self, session: requests.Session, url: str, deadline_s: float) -> requests.Response:
        """Send a request; if Label Studio refuses the access token, send it once more with a new token."""
        response = self._send(session, url, deadline_s)
        if response.status_code == requests.codes.unauthorized and self._carries_token(url):
            response.close()
            self.label_studio.forget_access()
            response = self._send(session, url, deadline_s)
        return response

    def _send(self, session: requests.Session, url: str, deadline_s: float) -> requests.Response:
        self._allow(session, url)
        left_s = max(0.05, deadline_s - time.monotonic())
        timeout_s = (min(self.limits.connect_timeout_s, left_s), left_s)
        try:
            headers = self.label_studio.authorization() if self._carries_token(url) else {}
            return session.get(url, headers=headers, timeout=timeout_s, stream=True, allow_redirects=False)
        except LabelStudioAPIError as error:
            raise ImageFetchError(f"cannot fetch {shown(url)}: {error}") from error
        except (requests.RequestException, UnicodeError) as error:
            raise ImageFetchError(f"cannot reach {shown(url)} ({type(error).__name__}).") from error

    def _allow(self, session: requests.Session, url: str) -> None:
        """Refuse a host that is not allowed, and lift the address check for a host that may be private."""
        host = (urlsplit(url).hostname or "").lower()
        if self.label_studio.owns(url) or host in self.limits.private_image_hosts:
            parts = urlsplit(url)
            session.mount(f"{parts.scheme}://{parts.netloc}/", HTTPAdapter())
        elif not any(_matches(host, pattern) for pattern in self.limits.image_hosts):
            raise ImageBlockedError(
                f"{shown(url)} is on {host or 'no host'}, from which images are not fetched. Add it to "
                "OVDIFF_IMAGE_HOSTS if it is meant (or correct LABEL_STUDIO_URL, if it is Label Studio's)."
            )

    def _carries_token(self, url: str) -> bool:
        """Return whether the URL is a path under which this Label Studio serves images."""
        base_path = urlsplit(self.label_studio.base_url).path
        return self.label_studio.owns(url) and _is_image_path(urlsplit(url).path, base_path)

    def _require_success(self, response: requests.Response, url: str) -> None:
        if response.ok:
            return
        advice = ""
        if self.label_studio.owns(url):
            advice = {401: TOKEN_ADVICE, 403: TOKEN_ADVICE, 404: _MISSING_ADVICE}.get(response.status_code, "")
        raise ImageFetchError(f"{shown(url)} answered {response.status_code}. {advice}".rstrip())

    def _read(self, response: requests.Response, url: str, deadline_s: float) -> bytes:
        """Return the body, and check its (decompressed) size and the time while it arrives."""
        limit = self.limits.image_max_bytes
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _too_many_bytes(url, limit)
        body = bytearray()
        try:
            # read1 returns the bytes that have arrived; `iter_content` waits for a full chunk, however slowly it drips.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > limit:
                    raise _too_many_bytes(url, limit)
                if time.monotonic() > deadline_s:
                    seconds = self.limits.image_timeout_s
                    raise ImageFetchError(f"{shown(url)} took longer than {seconds:g} s (OVDIFF_IMAGE_TIMEOUT_S).")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ImageFetchError(f"{shown(url)} broke off ({type(error).__name__}).") from error
        return bytes(body)


def shown(url: str) -> str:
    """Return a URL in a form that may be logged: without credentials and query, which can hold a signature."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url[:200]
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"[:200]


_MISSING_ADVICE = (
    "It is gone, or (for /data/local-files/) the token's user sees no project whose local storage covers it."
)


def _scheme(reference: str) -> str:
    try:
        return urlsplit(reference).scheme.lower()
    except ValueError:  # brackets without an IPv6 address between them
        return ""


def _sent_url(url: str, location: str = "") -> str:
    """Return a URL, or the target of a redirect from it, in the form in which `requests` sends it.

    Raises:
        ImageReferenceError: the text is not a valid URL.
    """
    try:
        return str(requests.Request("GET", urljoin(url, location)).prepare().url)
    except (requests.RequestException, ValueError) as error:
        address = (location or url).partition("?")[0]
        raise ImageReferenceError(
            f"{address[:200]!r} is no image that can be fetched: no valid URL ({type(error).__name__})."
        ) from error


def _label_studio_url(path: str, base_url: str) -> str:
    """Return the URL of a path that Label Studio wrote; such a path may or may not begin with the base path."""
    base_path = urlsplit(base_url).path
    has_base_path = _is_image_path(urlsplit(path).path, base_path)
    if not (has_base_path or _is_image_path(urlsplit(path).path)):
        raise ImageReferenceError(
            f"{path[:200]!r} is no path where Label Studio has images (/data/... or /tasks/<id>/...)."
        )
    return base_url + (path.removeprefix(base_path) if has_base_path else path)


def _is_image_path(path: str, base_path: str = "") -> bool:
    """Return whether Label Studio serves images at a path; `..`, also percent-encoded, is resolved first."""
    resolved = posixpath.normpath(unquote(path)) + "/"
    return resolved.startswith(f"{base_path}/") and _IMAGE_PATH.match(resolved.removeprefix(base_path)) is not None


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _too_many_bytes(url: str, limit: int) -> ImageTooLargeError:
    return ImageTooLargeError(f"{shown(url)} has more than {limit} bytes (OVDIFF_IMAGE_MAX_BYTES).")


def _require_public(address: str, host: str) -> None:
    """Refuse private, loopback, link-local and reserved addresses, also in their IPv6 form."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if not ip.is_global or ip.is_multicast:
        raise ImageBlockedError(
            f"{host} leads to {ip}, no public address. Add it to OVDIFF_PRIVATE_IMAGE_HOSTS if that is meant."
        )


class _PublicHTTPConnection(HTTPConnection):
    """An HTTP connection that checks its address before anything is sent over it."""

    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _PublicHTTPSConnection(HTTPSConnection):
    """An HTTPS connection that checks its address before the TLS handshake."""

    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


def _checked(connected: socket.socket, host: str) -> socket.socket:
    try:
        _require_public(str(connected.getpeername()[0]), host)
    except ImageBlockedError:
        connected.close()
        raise
    return connected


class _PublicHTTPPool(HTTPConnectionPool):
    ConnectionCls = _PublicHTTPConnection


class _PublicHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPSConnection


class _PublicOnlyAdapter(HTTPAdapter):
    """An adapter of `requests` whose connections go to public addresses only."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager with pools of checked connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PublicHTTPPool, "https": _PublicHTTPSPool}
