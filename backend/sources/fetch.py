"""Download the image of a task, only from addresses that the settings allow, and within one deadline.

The address in a task was written by whoever imported the data, so it must not make this service reach into the network
that it runs in. Each address, also after each redirect, is one of:

- a path under which Label Studio serves images (`/data/...`, `/tasks/<id>/presign/...`): only there our token is sent;
- any other path of Label Studio's host: no token is sent;
- a host and port of `private_image_hosts`: no token is sent, and the IP address may be private;
- a presigned link of a cloud of `cloud_links`, or a host of `image_hosts`: no token is sent, and no connection is made
  if the host has an inner IP address. The address that is judged is the one that is connected to, so a name that
  resolves differently the second time gains nothing.

Every other address is refused. The time of one image counts from the look-up of the first name to the last byte, all
redirects and an exchange of tokens included, however slowly a server sends. The body of a redirect is not read.
"""

from __future__ import annotations

import base64
import math
import posixpath
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import urllib3

from backend.errors import (
    ImageBlockedError,
    ImageFetchError,
    ImageReferenceError,
    ImageTooLargeError,
    LabelStudioAPIError,
    NoAnswerError,
)
from backend.settings import CLOUDS, ImageSettings
from backend.sources.cloud_links import cloud_of, is_presigned
from backend.sources.deadline import Deadline
from backend.sources.images import Fetched
from backend.sources.inner_addresses import is_inner
from backend.sources.label_studio import TOKEN_ADVICE, LabelStudioClient
from backend.sources.transport import Network, Request, Transport, any_address, read_body
from backend.sources.upload_addresses import is_upload
from backend.sources.web_url import MOST_CHARACTERS, WebUrl
from converters.files.redaction import without_user

REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_MODIFIED = 304
_TAG = re.compile(r'(W/)?"[!-~]{1,200}"')  # real ones have 20 to 60 characters
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
    if len(reference) > MOST_CHARACTERS:
        raise ImageReferenceError(
            f"{_cut(reference)[:60]!r}... is no image that can be fetched: its address has {len(reference)} "
            f"characters, more than {MOST_CHARACTERS}."
        )
    scheme = reference.partition(":")[0].strip().lower()
    if scheme in ("http", "https"):
        return reference
    if reference.startswith("/") and not reference.startswith("//"):
        return _label_studio_url(reference, label_studio_url)
    if scheme in CLOUDS and "://" in reference and task_id is not None:
        uri = base64.urlsafe_b64encode(_utf8(reference)).decode()
        return f"{label_studio_url}/tasks/{task_id}/presign/?fileuri={uri}"
    raise ImageReferenceError(
        f"{_cut(reference)!r} is no image that can be fetched: expected a path of Label Studio (/data/...), "
        f"an http(s) URL or a cloud URI ({', '.join(sorted(CLOUDS))})."
    )


@dataclass(frozen=True)
class Fetcher:
    """Downloads images under the rules of this module. Threads may share a fetcher."""

    label_studio: LabelStudioClient
    limits: ImageSettings
    transport: Transport = field(default_factory=Network)
    clock_s: Callable[[], float] = time.monotonic

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = math.inf) -> bytes:
        """Return the bytes of an image, at most `image_max_bytes`, within `image_timeout_s` and within `within_s`.

        Raises:
            ImageReferenceError: the reference is not an address of an image.
            ImageBlockedError: the reference leads to a host or an address that is not allowed.
            ImageFetchError: a server could not be reached, or did not deliver the image in time.
            ImageTooLargeError: the image has more bytes than allowed.
        """
        found = self.fetch_unless("", reference, task_id=task_id, within_s=within_s)
        assert found is not None, "without a tag nothing can still be the one of it"
        return found.data

    def fetch_unless(
        self, tag: str, reference: str, *, task_id: int | None = None, within_s: float = math.inf
    ) -> Fetched | None:
        """Return an image, as `fetch` does; None if its server says that it still is the one of a tag ("": of none).

        Raises:
            ImageSourceError: as `fetch` raises it.
        """
        first = url = self._url(reference, task_id)
        limit_s = min(self.limits.image_timeout_s, within_s)
        deadline = Deadline.within(limit_s, self.clock_s)
        for _ in range(self.limits.max_redirects + 1):
            try:
                found = self._step(url, tag, deadline)
            except NoAnswerError as error:
                raise ImageFetchError(self._why_no_answer(url, error, deadline, limit_s)) from error
            if not isinstance(found, WebUrl):
                return found
            url = found
        raise ImageFetchError(f"{first.shown} redirects more than {self.limits.max_redirects} times.")

    def is_lasting(self, reference: str, *, task_id: int | None = None) -> bool:
        """Return whether an address means the same bytes for as long as it exists: that of an upload does."""
        try:
            url = self._url(reference, task_id)
            return self.label_studio.owns(url) and is_upload(url, urlsplit(self.label_studio.base_url).path)
        except (ImageReferenceError, LabelStudioAPIError):
            return False

    def _url(self, reference: str, task_id: int | None) -> WebUrl:
        """Return the URL of an image.

        Raises:
            ImageReferenceError: the reference is not an address of an image.
        """
        address = image_url(reference, label_studio_url=self.label_studio.base_url, task_id=task_id)
        try:
            return WebUrl.parse(address)
        except ValueError as error:
            raise ImageReferenceError(f"{_cut(address)!r} is no image that can be fetched: {error}.") from error

    def _step(self, url: WebUrl, tag: str, deadline: Deadline) -> Fetched | WebUrl | None:
        """Return the image at a URL, the URL that it redirects to, or None if it still is the one of a tag."""
        try:
            judge = self._judge(url)
            return self._ask(url, tag, judge, deadline, may_renew=self._carries_token(url))
        except LabelStudioAPIError as error:
            raise ImageFetchError(f"cannot fetch {url.shown}: {error}") from error

    def _why_no_answer(self, url: WebUrl, error: NoAnswerError, deadline: Deadline, limit_s: float) -> str:
        if not deadline.has_passed:
            return f"cannot fetch {url.shown} ({error})."
        if limit_s < self.limits.image_timeout_s:
            return f"{url.shown} did not arrive in the {max(0.0, limit_s):.1f} s that were left of the request."
        return f"{url.shown} took longer than {limit_s:g} s, redirects included (OVDIFF_IMAGE_TIMEOUT_S)."

    def _ask(
        self, url: WebUrl, tag: str, judge: Callable[[str], None], deadline: Deadline, *, may_renew: bool
    ) -> Fetched | WebUrl | None:
        """Send a request; if Label Studio refuses the access token, send it once more with a new token."""
        headers = self.label_studio.authorization(deadline) if self._carries_token(url) else {}
        headers = {**headers, **({"If-None-Match": tag} if tag else {})}
        request = Request(url, headers=headers, judge=judge, connect_timeout_s=self.limits.connect_timeout_s)
        with self.transport.send(request, deadline) as answer:
            if not (answer.status == 401 and may_renew):
                return None if tag and answer.status == NOT_MODIFIED else self._read(answer, url)
        self.label_studio.forget_access()
        return self._ask(url, tag, judge, deadline, may_renew=False)

    def _read(self, answer: urllib3.HTTPResponse, url: WebUrl) -> Fetched | WebUrl:
        """Return the image of an answer, or where it redirects to; the body of a redirect is left unread."""
        if answer.status in REDIRECTS:
            return _target(url, answer.headers.get("Location", ""))
        if not 200 <= answer.status < 300:
            advice = ""
            if self.label_studio.owns(url):
                advice = {401: TOKEN_ADVICE, 403: TOKEN_ADVICE, 404: _MISSING_ADVICE}.get(answer.status, "")
            raise ImageFetchError(f"{url.shown} answered {answer.status}. {advice}".rstrip())
        body = read_body(answer, self.limits.image_max_bytes)
        if body is None:
            limit = self.limits.image_max_bytes
            raise ImageTooLargeError(f"{url.shown} has more than {limit} bytes (OVDIFF_IMAGE_MAX_BYTES).")
        return Fetched(body, _tag(answer.headers.get("ETag", "")))

    def _judge(self, url: WebUrl) -> Callable[[str], None]:
        """Return the judge of the IP addresses of an allowed URL.

        Raises:
            ImageBlockedError: the URL is not allowed, wherever it leads.
        """
        if self.label_studio.owns(url) or url.host_and_port in self.limits.private_image_hosts:
            return any_address
        if any(_matches(url.host, pattern) for pattern in self.limits.image_hosts):
            return _judge_of(url)
        cloud = cloud_of(url, self.limits.cloud_links)
        if cloud is not None and is_presigned(url, cloud):
            return _judge_of(url)
        raise ImageBlockedError(f"{url.shown} is on {url.host}, {self._why_blocked(url, cloud)}")

    def _why_blocked(self, url: WebUrl, cloud: str | None) -> str:
        if cloud is not None:
            return (
                f"but is no presigned https link of {cloud}. If it is a public bucket of yours, add {url.host} to "
                "OVDIFF_IMAGE_HOSTS."
            )
        other_ports = [listed for listed in self.limits.private_image_hosts if listed.rpartition(":")[0] == url.host]
        if other_ports:
            return (
                f"of which OVDIFF_PRIVATE_IMAGE_HOSTS allows {', '.join(other_ports)} alone. If it is meant, add "
                f"{url.host_and_port}."
            )
        return (
            f"from which images are not fetched. If it is meant, add {url.host} to OVDIFF_IMAGE_HOSTS, or, if its IP "
            f"address is private, {url.host_and_port} to OVDIFF_PRIVATE_IMAGE_HOSTS. If it is Label Studio's, correct "
            "LABEL_STUDIO_URL."
        )

    def _carries_token(self, url: WebUrl) -> bool:
        """Return whether the URL is a path under which this Label Studio serves images."""
        base_path = urlsplit(self.label_studio.base_url).path
        return self.label_studio.owns(url) and _is_image_path(url.path, base_path)


_MISSING_ADVICE = (
    "It is gone, or (for /data/local-files/) the token's user sees no project whose local storage covers it."
)


def _tag(header: str) -> str:
    """Return a tag that can be kept and sent back; "" if there is none."""
    return header if _TAG.fullmatch(header) else ""


def _target(url: WebUrl, location: str) -> WebUrl:
    """Return the URL that a redirect leads to.

    Raises:
        ImageReferenceError: the redirect names no valid URL.
    """
    try:
        return url.join(location)
    except ValueError as error:
        raise ImageReferenceError(
            f"{url.shown} redirects to {_cut(location)!r}, which is no image that can be fetched: {error}."
        ) from error


def _cut(address: str) -> str:
    """Return an address that could not be read, for a message: without what gives access to it."""
    return without_user(address.partition("?")[0][:2000])[:200]


def _utf8(reference: str) -> bytes:
    try:
        return reference.encode()
    except UnicodeEncodeError as error:
        raise ImageReferenceError(
            f"{_cut(reference)!r} is no image that can be fetched: half a character is at place {error.start}."
        ) from error


def _label_studio_url(path: str, base_url: str) -> str:
    """Return the URL of a path that Label Studio wrote; such a path may or may not begin with the base path."""
    base_path = urlsplit(base_url).path
    bare_path = re.split(r"[?#]", path, maxsplit=1)[0]
    has_base_path = _is_image_path(bare_path, base_path)
    if not (has_base_path or _is_image_path(bare_path)):
        raise ImageReferenceError(
            f"{_cut(path)!r} is no path where Label Studio has images (/data/... or /tasks/<id>/...)."
        )
    return base_url + (path.removeprefix(base_path) if has_base_path else path)


def _is_image_path(path: str, base_path: str = "") -> bool:
    """Return whether Label Studio serves images at a path; `..`, also percent-encoded, is resolved first."""
    resolved = posixpath.normpath(unquote(path)) + "/"
    return resolved.startswith(f"{base_path}/") and _IMAGE_PATH.match(resolved.removeprefix(base_path)) is not None


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern.strip("[]")


def _judge_of(url: WebUrl) -> Callable[[str], None]:
    """Return what refuses the inner IP addresses of a host."""

    def judge(address: str) -> None:
        if is_inner(address):
            raise ImageBlockedError(
                f"{url.host} leads to {address}, no public address. If that is meant, add {url.host_and_port} to "
                "OVDIFF_PRIVATE_IMAGE_HOSTS."
            )

    return judge
