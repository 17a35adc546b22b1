"""An http(s) URL, taken apart once: what is judged is then what is connected to.

Two parsers may disagree: for `urllib.parse`, `http://a\\@b/` is on host b, for others on host a. So no other module
takes a URL apart for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

MOST_CHARACTERS = 16 * 1024  # twice what web servers accept; a presigned link has 1,000 to 3,000
MOST_HOST_CHARACTERS = 253  # of a name (RFC 1035)
MOST_LABEL_CHARACTERS = 63  # of the part of a name between two dots (RFC 1035)
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class WebUrl:
    """An http(s) URL; all of it is ASCII.

    Attributes:
        scheme: http or https.
        host: a name or an address in lower case, without brackets and without a dot at the end.
        port: the TCP port, also where the URL names none.
        target: path and query as they are sent, percent-encoded; `..` is resolved.
    """

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> WebUrl:
        """Take a URL apart.

        Raises:
            ValueError: it is no http(s) URL that a request can be sent to; the message says why.
        """
        text = text.strip()
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"it has {len(text)} characters, more than {MOST_CHARACTERS}")
        try:
            parts = parse_url(text)
        except LocationParseError as error:
            raise ValueError("it is no valid URL") from error
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError("it does not begin with http:// or https://")
        if parts.auth is not None:
            raise ValueError("it holds a user or a password, which browsers do not send for an image either")
        host = _require_host((parts.host or "").strip("[]").lower().removesuffix("."))
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
        if port == 0:
            raise ValueError("port 0 cannot be connected to")
        return cls(parts.scheme, host, port, parts.request_uri)

    def join(self, location: str) -> WebUrl:
        """Return the URL that a redirect from here leads to.

        Raises:
            ValueError: as `parse` does.
        """
        if not location:
            raise ValueError("it is empty")
        if len(location) > MOST_CHARACTERS:
            raise ValueError(f"it has {len(location)} characters, more than {MOST_CHARACTERS}")
        try:
            target = urljoin(str(self), location)
        except ValueError as error:
            raise ValueError("it is no valid URL") from error
        return WebUrl.parse(target)

    @property
    def path(self) -> str:
        """The path, percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query, each with its first value."""
        return {name: values[0] for name, values in parse_qs(self.target.partition("?")[2]).items()}

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: two URLs of the same origin are on the same server."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port as a URL has them: without the scheme's own port, an IPv6 address in brackets."""
        return self._bracketed_host if self.port == DEFAULT_PORTS[self.scheme] else self.host_and_port

    @property
    def host_and_port(self) -> str:
        """Host and port, always both; an IPv6 address in brackets."""
        return f"{self._bracketed_host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL in a form that may be logged: without the query, which can hold a signature."""
        return f"{self.scheme}://{self.authority}{self.path}"[:200]

    def __str__(self) -> str:
        """Return the whole URL."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def _bracketed_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def _require_host(host: str) -> str:
    """Return a host that a name server may be asked for.

    Raises:
        ValueError: there is none, or its name is longer than names are.
    """
    if not host:
        raise ValueError("it names no host")
    if ":" in host:  # an IPv6 address, which `parse_url` has checked
        return host
    if len(host) > MOST_HOST_CHARACTERS or not all(
        1 <= len(label) <= MOST_LABEL_CHARACTERS for label in host.split(".")
    ):
        raise ValueError(
            f"its host has {len(host)} characters; a name has {MOST_HOST_CHARACTERS} at most, and 1 to "
            f"{MOST_LABEL_CHARACTERS} between two dots"
        )
    return host
