import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from backend.errors import ImageBlockedError, ImageFetchError, ImageReferenceError, ImageTooLargeError
from backend.settings import ImageSettings, LabelStudioSettings
from backend.sources.fetch import Fetcher, image_url, shown
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, FakeLabelStudio, running

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
    limits = replace(LIMITS, private_image_hosts=("127.0.0.1",))
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
    "reference", ["http://[", "http://ls:99999/a.png", "http://a b/a.png", "https://", "http://[::1"]
)
def test_a_malformed_address_is_named(label_studio: FakeLabelStudio, reference: str) -> None:
    with pytest.raises(ImageReferenceError, match="is no image that can be fetched"):
        fetcher(label_studio).fetch(reference)


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
    with pytest.raises(ImageFetchError, match=r"cannot reach http://127\.0\.0\.1:9/data/upload/1/a\.png"):
        fetcher(unreachable).fetch("/data/upload/1/a.png")


@pytest.mark.parametrize("path", ["/data/upload/1/big.png", "/data/endless/big.png"])
def test_too_many_bytes_are_not_read(label_studio: FakeLabelStudio, path: str) -> None:
    label_studio.files[path] = ("image/png", b"x" * 200_000)
    with pytest.raises(ImageTooLargeError, match=r"more than 100000 bytes \(OVDIFF_IMAGE_MAX_BYTES\)"):
        fetcher(label_studio, replace(LIMITS, image_max_bytes=100_000)).fetch(path)


def test_a_slow_server_is_given_up(label_studio: FakeLabelStudio) -> None:
    label_studio.files["/data/slow/a.png"] = ("image/png", b"x" * 1600)  # five seconds of drops
    with pytest.raises(ImageFetchError, match=r"took longer than 0\.3 s|broke off"):
        fetcher(label_studio, replace(LIMITS, image_timeout_s=0.3)).fetch("/data/slow/a.png")


@pytest.mark.timeout(20)  # without the limit it would wait forever
def test_a_server_that_never_answers_is_given_up(label_studio: FakeLabelStudio) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        limits = replace(LIMITS, private_image_hosts=("127.0.0.1",), image_timeout_s=0.3)
        with pytest.raises(ImageFetchError, match="cannot reach"):
            fetcher(label_studio, limits).fetch(url)


def test_shown_hides_credentials_and_signatures() -> None:
    url = "https://ann:secret@images.example.org:8443/a.png?signature=secret#secret"
    assert shown(url) == "https://images.example.org:8443/a.png"
