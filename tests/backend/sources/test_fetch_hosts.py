"""Which hosts and IP addresses an image is fetched from: presigned links, listed hosts, private ones."""

import socket
from dataclasses import replace

import pytest
import urllib3

from backend.errors import ImageBlockedError
from backend.settings import ImageSettings, LabelStudioSettings
from backend.sources.fetch import Fetcher
from backend.sources.label_studio import LabelStudioClient
from backend.sources.transport import Network, Request
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.transport import FakeTransport, answer, offline_fetcher

LIMITS = ImageSettings()


PRESIGNED = (
    "https://bucket.s3.eu-central-1.amazonaws.com/a.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a"
    "&X-Amz-Date=b&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=secret"
)


def test_a_presigned_link_is_followed_without_the_token() -> None:
    def reply(request: Request) -> urllib3.HTTPResponse:
        return answer(303, Location=PRESIGNED) if request.url.host == "ls" else answer(200, b"picture")

    transport = FakeTransport(reply)
    assert offline_fetcher(transport).fetch("s3://bucket/a.png", task_id=5) == b"picture"
    first, second = transport.requests
    assert (first.headers, second.headers) == ({"Authorization": f"Token {LEGACY_TOKEN}"}, {})
    assert str(second.url) == PRESIGNED
    first.judge("127.0.0.1")  # Label Studio may be anywhere
    with pytest.raises(ImageBlockedError, match=r"leads to 10\.0\.0\.1, no public address"):
        second.judge("10.0.0.1")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        (PRESIGNED.partition("?")[0], "but is no presigned https link of s3. If it is a public bucket of yours, add"),
        (PRESIGNED.replace("https", "http"), "but is no presigned https link of s3"),
        (PRESIGNED.replace("bucket.s3", "ec2-1-2-3-4"), "from which images are not fetched. If it is meant, add"),
        (
            "http://minio.local:9001/a.png",
            "OVDIFF_PRIVATE_IMAGE_HOSTS allows minio.local:9000 alone. If it is meant, add minio.local:9001.",
        ),
        (
            "http://minio.local/a.png",
            "OVDIFF_PRIVATE_IMAGE_HOSTS allows minio.local:9000 alone. If it is meant, add minio.local:80.",
        ),
        ("http://other.local/a.png", "if its IP address is private, other.local:80 to OVDIFF_PRIVATE_IMAGE_HOSTS"),
    ],
)
def test_a_blocked_address_says_what_to_write(url: str, advice: str) -> None:
    transport = FakeTransport(lambda _request: answer(200))
    with pytest.raises(ImageBlockedError) as caught:
        offline_fetcher(transport, replace(LIMITS, private_image_hosts=("minio.local:9000",))).fetch(url)
    assert advice in str(caught.value)
    assert "secret" not in str(caught.value)
    assert transport.requests == []


def test_a_private_host_is_reached_at_its_port() -> None:
    transport = FakeTransport(lambda _request: answer(200, b"picture"))
    limits = replace(LIMITS, private_image_hosts=("minio.local:9000", "[fd00::1]:9000"))
    for host in limits.private_image_hosts:
        assert offline_fetcher(transport, limits).fetch(f"http://{host}/a.png") == b"picture"
        transport.requests[-1].judge("10.0.0.1")


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("images.example.org", "images.example.org", True),
        ("images.example.org", "IMAGES.example.org.", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("images.example.org", "a.images.example.org", False),
        ("[2606:4700::1]", "[2606:4700::1]", True),
    ],
)
def test_listed_hosts_are_judged(pattern: str, host: str, allowed: bool) -> None:
    transport = FakeTransport(lambda _request: answer(200, b"picture"))
    listed = offline_fetcher(transport, replace(LIMITS, image_hosts=(pattern,)))
    if not allowed:
        with pytest.raises(ImageBlockedError):
            listed.fetch(f"https://{host}/a.png")
        return
    assert listed.fetch(f"https://{host}/a.png") == b"picture"
    with pytest.raises(ImageBlockedError, match="If that is meant, add "):
        transport.requests[-1].judge("127.0.0.1")


@pytest.mark.parametrize(
    "address",
    ["64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:808:808::80ff:fffe", "::7f00:1", "fec0::1", "::ffff:127.0.0.1"],
)
def test_a_name_that_means_an_inner_address_in_other_words_is_refused(address: str) -> None:
    connected: list[object] = []
    network = Network(
        resolve=lambda _host, port, _timeout_s: [(socket.AF_INET6, (address, port, 0, 0))],
        connect=lambda *where: connected.append(where) or pytest.fail("it was connected to"),
    )
    client = LabelStudioClient(LabelStudioSettings(url="http://ls:8080", api_key=LEGACY_TOKEN))
    with pytest.raises(ImageBlockedError, match=r"images\.example\.org leads to .*, no public address"):
        Fetcher(client, replace(LIMITS, image_hosts=("images.example.org",)), network).fetch(
            "https://images.example.org/a.png"
        )
    assert connected == []
