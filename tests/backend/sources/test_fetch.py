import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import (
    ImageBlockedError,
    ImageFetchError,
    ImageReferenceError,
    ImageSourceError,
    ImageTooLargeError,
)
from backend.settings import ImageSettings, LabelStudioSettings
from backend.sources.fetch import Fetcher, image_url
from backend.sources.label_studio import LabelStudioClient
from backend.sources.transport import Request
from tests.fakes.hostile_server import Victim, hostile_server
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, FakeLabelStudio, running
from tests.fakes.transport import FakeTransport, answer, offline_fetcher
from tests.fakes.waiting import SLACK_S

LIMITS = ImageSettings(connect_timeout_s=0.5, image_timeout_s=2.0)


@pytest.fixture
def elsewhere() -> Iterator[FakeLabelStudio]:
    """A second server, on another port of loopback: a private address that is not Label Studio's."""
    with running(FakeLabelStudio(files={"/public/picture.png": ("image/png", b"from elsewhere")})) as fake:
        yield fake


def fetcher(fake: FakeLabelStudio, limits: ImageSettings = LIMITS, token: str = LEGACY_TOKEN) -> Fetcher:
    return Fetcher(LabelStudioClient(LabelStudioSettings(url=fake.url, api_key=token)), limits)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/data/upload/1/a.png", "http://ls:8080/data/upload/1/a.png"),
        ("/data/local-files/?d=imgs/a.png", "http://ls:8080/data/local-files/?d=imgs/a.png"),
        ("/tasks/5/resolve/?fileuri=abc", "http://ls:8080/tasks/5/resolve/?fileuri=abc"),
        ("https://images.example.org/a.png", "https://images.example.org/a.png"),
        ("s3://bucket/a b.png", "http://ls:8080/tasks/5/presign/?fileuri=czM6Ly9idWNrZXQvYSBiLnBuZw=="),
    ],
)
def test_references_become_urls(reference: str, url: str) -> None:
    assert image_url(reference, label_studio_url="http://ls:8080", task_id=5) == url


@pytest.mark.parametrize("path", ["/data/upload/1/a.png", "/studio/data/upload/1/a.png"])
def test_a_label_studio_below_a_path_is_reached(path: str) -> None:
    url = image_url(path, label_studio_url="http://ls/studio", task_id=5)
    assert url == "http://ls/studio/data/upload/1/a.png"


@pytest.mark.parametrize(
    ("reference", "is_lasting"),
    [
        ("/data/upload/1/1f2e3d4c-a.png", True),
        ("/studio/data/upload/1/1f2e3d4c-a.png", True),
        ("http://ls:8080/studio/data/upload/1/1f2e3d4c-a.png", True),
        ("http://ls:8080/data/upload/1/1f2e3d4c-a.png", False),  # not below Label Studio's path
        ("http://elsewhere:8080/studio/data/upload/1/1f2e3d4c-a.png", False),
        ("/data/local-files/?d=imgs/a.png", False),
        ("s3://bucket/upload/1/1f2e3d4c-a.png", False),
        ("/etc/passwd", False),
        ("http://[::1", False),
    ],
)
def test_an_upload_of_this_label_studio_alone_has_a_lasting_address(reference: str, is_lasting: bool) -> None:
    client = LabelStudioClient(LabelStudioSettings(url="http://ls:8080/studio"))
    assert Fetcher(client, LIMITS).is_lasting(reference, task_id=5) is is_lasting


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "picture.png",
        "/etc/passwd",
        "/api/projects/1/",
        "/data/../api/projects/1/",
        "/data/%2e%2e/api/projects/1/",
        "//evil.example/data/a.png",
        "file:///etc/passwd",
        "ftp://images.example.org/a.png",
        "data:image/png;base64,AAAA",
    ],
)
def test_other_references_are_refused(reference: str) -> None:
    with pytest.raises(ImageReferenceError, match="is no"):
        image_url(reference, label_studio_url="http://ls:8080", task_id=5)


def test_a_cloud_uri_needs_a_task_id() -> None:
    with pytest.raises(ImageReferenceError):
        image_url("s3://bucket/a.png", label_studio_url="http://ls:8080", task_id=None)


@pytest.mark.parametrize("token", [LEGACY_TOKEN, PERSONAL_TOKEN])
def test_uploads_are_fetched_with_either_token(label_studio: FakeLabelStudio, token: str) -> None:
    _, body = label_studio.files["/data/upload/1/picture.png"]
    assert fetcher(label_studio, token=token).fetch("/data/upload/1/picture.png") == body


def test_a_refused_access_token_is_renewed_once(label_studio: FakeLabelStudio) -> None:
    personal = fetcher(label_studio, token=PERSONAL_TOKEN)
    personal.fetch("/data/upload/1/picture.png")
    label_studio.new_access_token()  # the one in use is valid no more
    personal.fetch("/data/upload/1/picture.png")
    assert label_studio.paths().count("/api/token/refresh/") == 2


def test_local_files_and_cloud_uris_go_through_label_studio(label_studio: FakeLabelStudio) -> None:
    label_studio.files["/data/local-files/?d=a.png"] = ("image/png", b"local")
    label_studio.files["/public/bucket/a.png"] = ("image/png", b"cloud")
    assert fetcher(label_studio).fetch("/data/local-files/?d=a.png") == b"local"
    assert fetcher(label_studio).fetch("s3://bucket/a.png", task_id=3) == b"cloud"


def test_only_image_paths_carry_the_token(label_studio: FakeLabelStudio) -> None:
    label_studio.files["/public/a.png"] = ("image/png", b"public")
    fetcher(label_studio).fetch(f"{label_studio.url}/public/a.png")
    fetcher(label_studio).fetch(f"{label_studio.url}/data/upload/1/picture.png")
    tokens = {path: authorization for _, path, authorization in label_studio.requests}
    assert tokens == {"/public/a.png": None, "/data/upload/1/picture.png": f"Token {LEGACY_TOKEN}"}


def test_an_encoded_way_out_of_the_image_paths_carries_no_token(label_studio: FakeLabelStudio) -> None:
    with pytest.raises(ImageFetchError):
        fetcher(label_studio).fetch(f"{label_studio.url}/data/%2e%2e/api/projects/1/")
    assert [authorization for *_, authorization in label_studio.requests] == [None]


@pytest.mark.parametrize(
    "path", ["/data/a.png", "/studio/../data/a.png", "/studio/%2e%2e/data/a.png", "/studiodata/a.png"]
)
def test_beside_a_label_studio_below_a_path_no_token_is_sent(label_studio: FakeLabelStudio, path: str) -> None:
    below = LabelStudioClient(LabelStudioSettings(url=f"{label_studio.url}/studio", api_key=LEGACY_TOKEN))
    with pytest.raises(ImageFetchError):
        Fetcher(below, LIMITS).fetch(label_studio.url + path)
    assert [authorization for *_, authorization in label_studio.requests] == [None]


def test_a_redirect_does_not_take_the_token_along(label_studio: FakeLabelStudio, elsewhere: FakeLabelStudio) -> None:
    label_studio.redirects["/data/upload/1/moved.png"] = f"{elsewhere.url}/public/picture.png"
    limits = replace(LIMITS, private_image_hosts=(elsewhere.url.removeprefix("http://"),))
    assert fetcher(label_studio, limits).fetch("/data/upload/1/moved.png") == b"from elsewhere"
    assert elsewhere.requests == [("GET", "/public/picture.png", None)]


def test_a_redirect_to_a_host_that_is_not_allowed_is_refused(
    label_studio: FakeLabelStudio, elsewhere: FakeLabelStudio
) -> None:
    label_studio.redirects["/data/upload/1/moved.png"] = f"{elsewhere.url}/public/picture.png"
    with pytest.raises(ImageBlockedError, match=r"127\.0\.0\.1, from which images are not fetched"):
        fetcher(label_studio).fetch("/data/upload/1/moved.png")
    assert elsewhere.requests == []


def test_a_redirect_to_a_private_address_is_refused_although_its_name_is_allowed(
    label_studio: FakeLabelStudio, elsewhere: FakeLabelStudio
) -> None:
    by_name = elsewhere.url.replace("127.0.0.1", "localhost")
    label_studio.redirects["/data/upload/1/moved.png"] = f"{by_name}/public/picture.png"
    limits = replace(LIMITS, image_hosts=("localhost",))
    with pytest.raises(ImageBlockedError, match=r"localhost leads to .*no public address"):
        fetcher(label_studio, limits).fetch("/data/upload/1/moved.png")
    assert elsewhere.requests == []


@pytest.mark.parametrize("host", ["images.example.org", "169.254.169.254", "[::1]", "evil-amazonaws.com"])
def test_hosts_outside_the_allow_list_are_not_contacted(label_studio: FakeLabelStudio, host: str) -> None:
    with pytest.raises(ImageBlockedError, match="OVDIFF_IMAGE_HOSTS"):
        fetcher(label_studio).fetch(f"http://{host}/a.png")


@pytest.mark.parametrize("is_redirect", [False, True])
def test_the_host_that_is_judged_is_the_one_that_is_connected_to(
    label_studio: FakeLabelStudio, is_redirect: bool
) -> None:
    """For `urlsplit` the host is what follows the "@"; urllib3 ends it at the backslash."""
    reference = label_studio.url.replace("http://", "http://127.0.0.2\\@") + "/data/upload/1/picture.png"
    if is_redirect:
        label_studio.redirects["/data/upload/1/moved.png"] = reference
        reference = "/data/upload/1/moved.png"
    with pytest.raises(ImageBlockedError, match=r"127\.0\.0\.2, from which images are not fetched"):
        fetcher(label_studio).fetch(reference)


@pytest.mark.parametrize(
    "reference",
    [
        "http://[",
        "http://ls:99999/a.png",
        "http://a b/a.png",
        "https://",
        "http://[::1",
        "http://\ud800/a.png",
        "s3://bucket/\ud800.png",
        "\ud800",
        f"http://{'a' * 300}/a.png",
        "/data/" + "a" * 20_000,
        "data:image/png;base64," + "A" * 20_000,
        "http://ann:secret@ls/a.png",
        "ftp://ann:secret@ls/a.png?sig=secret",
        "/else/a.png?sig=secret",
    ],
)
def test_a_malformed_address_is_named(label_studio: FakeLabelStudio, reference: str) -> None:
    with pytest.raises(
        ImageReferenceError, match=r"is no (image that can be fetched: |path where Label Studio)"
    ) as caught:
        fetcher(label_studio).fetch(reference, task_id=5)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://[::1", "'http://[::1', which is no image that can be fetched: it is no valid URL."),
        (f"http://{'a' * 300}/", "its host has 300 characters"),
        ("ftp://ls/a.png", "it does not begin with http:// or https://"),
        ("", "'', which is no image that can be fetched: it is empty."),
    ],
)
def test_a_redirect_to_a_malformed_address_is_named(label_studio: FakeLabelStudio, location: str, reason: str) -> None:
    label_studio.redirects["/data/upload/1/moved.png"] = location
    with pytest.raises(ImageReferenceError) as caught:
        fetcher(label_studio).fetch("/data/upload/1/moved.png")
    assert str(caught.value).startswith(f"{label_studio.url}/data/upload/1/moved.png redirects to ")
    assert reason in str(caught.value)


ANY_TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF), max_size=30)  # lone surrogates too
STARTS = ("", "/data/", "http://", "http://ls:8080/data/", "s3://", "http://[", "/tasks/1/presign/?fileuri=")


@given(st.sampled_from(STARTS), ANY_TEXT)
def test_no_address_is_an_unexpected_error(start: str, text: str) -> None:
    transport = FakeTransport(lambda _request: answer(404))
    with pytest.raises(ImageSourceError) as caught:
        offline_fetcher(transport).fetch(start + text, task_id=1)
    assert all(request.url.host == "ls" for request in transport.requests)
    str(caught.value).encode()  # half a character would break the log


@given(st.sampled_from(STARTS), st.text(st.characters(max_codepoint=255), max_size=30))
def test_no_redirect_is_an_unexpected_error(start: str, text: str) -> None:
    transport = FakeTransport(lambda _request: answer(302, Location=start + text))
    with pytest.raises(ImageSourceError):
        offline_fetcher(transport).fetch("/data/a.png")
    assert all(request.url.host == "ls" for request in transport.requests)


def test_all_redirects_share_one_deadline() -> None:
    now_s = 0.0

    def reply(_request: Request) -> urllib3.HTTPResponse:
        nonlocal now_s
        now_s += 0.5
        return answer(302, Location="/data/b.png")

    transport = FakeTransport(reply)
    with pytest.raises(ImageFetchError, match="redirects more than 4 times"):
        offline_fetcher(transport, LIMITS, lambda: now_s).fetch("/data/a.png")
    assert [deadline.at_s for deadline in transport.deadlines] == [LIMITS.image_timeout_s] * 5


@pytest.mark.parametrize(("within_s", "limit_s"), [(0.7, 0.7), (60.0, LIMITS.image_timeout_s)])
def test_the_time_that_a_caller_has_left_is_a_limit_too(within_s: float, limit_s: float) -> None:
    transport = FakeTransport(lambda _request: answer(200, b"x"))
    offline_fetcher(transport, LIMITS, lambda: 0.0).fetch("/data/a.png", within_s=within_s)
    assert [deadline.at_s for deadline in transport.deadlines] == [limit_s]


def test_a_packed_picture_that_lies_about_its_size_is_stopped() -> None:
    transport = FakeTransport(lambda _request: answer(200, b"x" * 200, **{"Content-Length": "1"}))
    with pytest.raises(ImageTooLargeError, match="more than 100 bytes"):
        offline_fetcher(transport, replace(LIMITS, image_max_bytes=100)).fetch("/data/a.png")


@pytest.mark.parametrize("within_s", [0.2, 0.0])
def test_the_time_that_is_left_of_a_request_is_named(label_studio: FakeLabelStudio, within_s: float) -> None:
    label_studio.files["/data/slow/a.png"] = ("image/png", b"x" * 1600)  # five seconds of drops
    with pytest.raises(ImageFetchError, match=rf"did not arrive in the {within_s} s that were left of the re"):
        fetcher(label_studio).fetch("/data/slow/a.png", within_s=within_s)


@pytest.mark.timeout(60)
def test_redirects_that_dawdle_end_at_the_deadline() -> None:
    def dawdle(victim: Victim) -> None:
        victim.over.wait(0.4)
        victim.send(b"HTTP/1.1 302 Found\r\nLocation: /b.png\r\nContent-Length: 0\r\n\r\n")

    with hostile_server(dawdle) as server:
        limits = replace(LIMITS, private_image_hosts=(server.host_and_port,), image_timeout_s=1.5, max_redirects=20)
        with pytest.raises(ImageFetchError, match=r"took longer than 1\.5 s, redirects included"):
            fetcher(FakeLabelStudio(url="http://ls"), limits).fetch(server.url)
    assert 2 <= len(server.requests) <= 4


@pytest.mark.timeout(60)
def test_a_redirect_whose_body_never_ends_is_followed(label_studio: FakeLabelStudio) -> None:
    def redirect(victim: Victim) -> None:
        location = f"Location: {label_studio.url}/public/a.png\r\n".encode()
        victim.send(b"HTTP/1.1 302 Found\r\n" + location + b"Transfer-Encoding: chunked\r\n\r\n")
        victim.flood(b"10000\r\n" + bytes(65536) + b"\r\n")

    label_studio.files["/public/a.png"] = ("image/png", b"picture")
    with hostile_server(redirect) as server:
        limits = replace(LIMITS, private_image_hosts=(server.host_and_port,))
        assert fetcher(label_studio, limits).fetch(server.url) == b"picture"
    assert server.sent_bytes < 20 * 2**20  # what sockets hold


@pytest.mark.timeout(60)
def test_a_dripping_exchange_of_tokens_counts_too() -> None:
    def drip(victim: Victim) -> None:
        victim.send(b"HTTP/1.1 200 OK\r\n\r\n")
        victim.drip(b" " * 1000)

    with hostile_server(drip) as server:
        client = LabelStudioClient(LabelStudioSettings(url=f"http://{server.host_and_port}", api_key=PERSONAL_TOKEN))
        slow = Fetcher(client, replace(LIMITS, image_timeout_s=0.3))
        failures: list[ImageFetchError] = []

        def fetch() -> None:
            with pytest.raises(ImageFetchError) as caught:
                slow.fetch("/data/upload/1/a.png")
            failures.append(caught.value)

        started_s = time.monotonic()
        threads = [threading.Thread(target=fetch) for _ in range(4)]  # one exchanges, the others wait for it
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started_s < SLACK_S
    assert len(failures) == 4
    assert all(str(failure).startswith("cannot fetch http://127.0.0.1:") for failure in failures)
    assert all("token" in str(failure) for failure in failures)


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_no_proxy_of_the_environment_is_asked(
    monkeypatch: pytest.MonkeyPatch, label_studio: FakeLabelStudio, variable: str
) -> None:
    with hostile_server(lambda victim: victim.send(b"HTTP/1.1 200 OK\r\n\r\n")) as proxy:
        monkeypatch.setenv(variable, f"http://{proxy.host_and_port}")
        monkeypatch.setenv("no_proxy", "")
        fetcher(label_studio, token=PERSONAL_TOKEN).fetch("/data/upload/1/picture.png")
    assert proxy.requests == []


def test_too_many_redirects_end(label_studio: FakeLabelStudio) -> None:
    label_studio.redirects["/data/upload/1/round.png"] = "/data/upload/1/round.png"
    with pytest.raises(ImageFetchError, match="redirects more than 4 times"):
        fetcher(label_studio).fetch("/data/upload/1/round.png")
    assert len(label_studio.requests) == LIMITS.max_redirects + 1


@pytest.mark.parametrize(
    ("token", "path", "message"),
    [
        (LEGACY_TOKEN, "/data/upload/1/missing.png", "answered 404. It is gone, or (for /data/local-files/)"),
        ("wrong", "/data/upload/1/picture.png", "answered 401. Set LABEL_STUDIO_API_KEY"),
    ],
)
def test_a_refusal_says_what_to_do(label_studio: FakeLabelStudio, token: str, path: str, message: str) -> None:
    with pytest.raises(ImageFetchError) as caught:
        fetcher(label_studio, token=token).fetch(path)
    assert message in str(caught.value)


def test_an_unreachable_host_is_an_error() -> None:
    unreachable = FakeLabelStudio(url="http://127.0.0.1:9")
    with pytest.raises(ImageFetchError, match=r"cannot fetch http://127\.0\.0\.1:9/.*/a\.png \(ConnectionRefused"):
        fetcher(unreachable).fetch("/data/upload/1/a.png")


@pytest.mark.parametrize("path", ["/data/upload/1/big.png", "/data/endless/big.png"])
def test_too_many_bytes_are_not_read(label_studio: FakeLabelStudio, path: str) -> None:
    label_studio.files[path] = ("image/png", b"x" * 200_000)
    with pytest.raises(ImageTooLargeError, match=r"more than 100000 bytes \(OVDIFF_IMAGE_MAX_BYTES\)"):
        fetcher(label_studio, replace(LIMITS, image_max_bytes=100_000)).fetch(path)


def test_a_slow_server_is_given_up(label_studio: FakeLabelStudio) -> None:
    label_studio.files["/data/slow/a.png"] = ("image/png", b"x" * 1600)  # five seconds of drops
    with pytest.raises(
        ImageFetchError, match=r"took longer than 0\.3 s, redirects included \(OVDIFF_IMAGE_TIMEOUT_S\)"
    ):
        fetcher(label_studio, replace(LIMITS, image_timeout_s=0.3)).fetch("/data/slow/a.png")


@pytest.mark.timeout(60)  # without the limit it would wait forever
def test_a_server_that_never_answers_is_given_up(label_studio: FakeLabelStudio) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        limits = replace(LIMITS, private_image_hosts=(url.split("/")[2],), image_timeout_s=0.3)
        with pytest.raises(ImageFetchError, match=r"took longer than 0\.3 s, redirects included"):
            fetcher(label_studio, limits).fetch(url)


TAGGED = "/data/local-files/?d=boat.png"


def test_an_image_that_is_still_the_one_of_its_tag_is_not_fetched(label_studio: FakeLabelStudio) -> None:
    label_studio.files[TAGGED], label_studio.tags[TAGGED] = ("image/png", b"bytes"), 'W/"17-5"'
    client = fetcher(label_studio)
    first = client.fetch_unless("", TAGGED)
    assert first is not None and (first.data, first.tag) == (b"bytes", 'W/"17-5"')
    assert client.fetch_unless(first.tag, TAGGED) is None
    label_studio.files[TAGGED], label_studio.tags[TAGGED] = ("image/png", b"others"), 'W/"18-6"'
    second = client.fetch_unless(first.tag, TAGGED)
    assert second is not None and (second.data, second.tag) == (b"others", 'W/"18-6"')


def test_a_tag_goes_with_a_redirect_and_with_a_new_token(label_studio: FakeLabelStudio) -> None:
    label_studio.files["/public/bucket/boat.png"] = ("image/png", b"bytes")
    label_studio.tags["/public/bucket/boat.png"] = '"1"'
    client = fetcher(label_studio, token=PERSONAL_TOKEN)
    assert client.fetch_unless('"1"', "s3://bucket/boat.png", task_id=5) is None
    label_studio.new_access_token()  # the client's is refused from now on
    label_studio.files[TAGGED], label_studio.tags[TAGGED] = ("image/png", b"bytes"), '"2"'
    assert client.fetch_unless('"2"', TAGGED) is None


@pytest.mark.parametrize("tag", ["boat", '"a b"', '""', f'"{"x" * 201}"', 'w/"a"', '"\x07"'])
def test_what_is_no_tag_is_not_kept(label_studio: FakeLabelStudio, tag: str) -> None:
    label_studio.files[TAGGED], label_studio.tags[TAGGED] = ("image/png", b"bytes"), tag
    found = fetcher(label_studio).fetch_unless("", TAGGED)
    assert found is not None and found.tag == ""


def test_a_server_that_says_unasked_that_nothing_changed_is_refused() -> None:
    transport = FakeTransport(lambda request: answer(304))
    with pytest.raises(ImageFetchError, match="answered 304"):
        offline_fetcher(transport).fetch("/data/a.png")
