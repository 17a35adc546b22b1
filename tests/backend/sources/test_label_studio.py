import contextlib
import socket
import threading
import time

import pytest
import urllib3

from backend.errors import LabelStudioAPIError, LabelStudioSlowError, NoSuchProjectError
from backend.settings import LabelStudioSettings
from backend.sources.deadline import Deadline
from backend.sources.label_studio import LabelStudioClient, Project
from backend.sources.web_url import WebUrl
from tests.fakes.hostile_server import Behaviour, Victim, hostile_server
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, PROJECT_UID, FakeLabelStudio, jwt
from tests.fakes.transport import FakeTransport, answer
from tests.fakes.waiting import SLACK_S


def client(fake: FakeLabelStudio, token: str) -> LabelStudioClient:
    return LabelStudioClient(LabelStudioSettings(url=fake.url, api_key=token))


def test_a_legacy_token_is_sent_as_it_is(label_studio: FakeLabelStudio) -> None:
    assert client(label_studio, LEGACY_TOKEN).authorization() == {"Authorization": f"Token {LEGACY_TOKEN}"}
    assert label_studio.requests == []


def test_without_a_token_nothing_is_shown(label_studio: FakeLabelStudio) -> None:
    assert client(label_studio, "").authorization() == {}


def test_a_personal_token_is_exchanged_once(label_studio: FakeLabelStudio) -> None:
    personal = client(label_studio, PERSONAL_TOKEN)
    first, second = personal.authorization(), personal.authorization()
    assert first == second == {"Authorization": f"Bearer {label_studio.access_tokens[0]}"}
    assert label_studio.paths() == ["/api/token/refresh/"]


def test_an_access_token_is_renewed_before_it_expires(label_studio: FakeLabelStudio) -> None:
    now_s = 0.0
    settings = LabelStudioSettings(url=label_studio.url, api_key=PERSONAL_TOKEN)
    personal = LabelStudioClient(settings, clock_s=lambda: now_s)
    personal.authorization()
    now_s = 269.0
    assert personal.authorization() == {"Authorization": f"Bearer {label_studio.access_tokens[0]}"}
    now_s = 271.0
    assert personal.authorization() == {"Authorization": f"Bearer {label_studio.access_tokens[1]}"}


def test_a_refused_personal_token_is_explained_without_showing_it(label_studio: FakeLabelStudio) -> None:
    wrong = jwt(token_type="refresh", jti="wrong")
    with pytest.raises(LabelStudioAPIError) as caught:
        client(label_studio, wrong).authorization()
    assert "refused the token" in str(caught.value)
    assert "LABEL_STUDIO_API_KEY" in str(caught.value)
    assert wrong not in str(caught.value)
    label_studio.requests.clear()
    with pytest.raises(LabelStudioAPIError):
        client(label_studio, wrong).project(1)
    assert label_studio.paths() == ["/api/token/refresh/"], "a token that is refused is not asked about twice"


@pytest.mark.parametrize("token", [LEGACY_TOKEN, PERSONAL_TOKEN])
def test_a_project_is_read(label_studio: FakeLabelStudio, token: str) -> None:
    label_studio.label_config = "<View/>"
    assert client(label_studio, token).project(1) == Project(PROJECT_UID, "<View/>")


def test_an_access_token_that_ended_early_is_renewed_and_the_request_is_sent_again(
    label_studio: FakeLabelStudio,
) -> None:
    personal = client(label_studio, PERSONAL_TOKEN)
    label_studio.label_config = "<View/>"
    personal.project(1)
    label_studio.access_tokens.append("another one")  # so the first one is refused, as after this machine slept
    assert personal.project(1) == Project(PROJECT_UID, "<View/>")
    personal.patch("/api/projects/1/", {"label_config": "<View></View>"})
    assert label_studio.label_config == "<View></View>"
    assert label_studio.paths().count("/api/token/refresh/") == 2


def test_a_token_that_stays_refused_is_told_after_one_more_try(label_studio: FakeLabelStudio) -> None:
    personal, legacy = client(label_studio, PERSONAL_TOKEN), client(label_studio, "0" * 40)
    personal.authorization()
    label_studio.admits = lambda _authorization: False  # type: ignore[method-assign]
    for asked, times in ((personal, 2), (legacy, 1)):
        label_studio.requests.clear()
        with pytest.raises(LabelStudioAPIError, match=r"refused the token at .* \(401\)"):
            asked.project(1)
        assert label_studio.paths().count("/api/projects/1/") == times


@pytest.mark.parametrize(
    ("token", "content_type"),
    [(LEGACY_TOKEN, "text/html"), (PERSONAL_TOKEN, "text/html"), (PERSONAL_TOKEN, "application/json")],
)
def test_the_404_of_another_server_does_not_say_that_a_project_is_missing(token: str, content_type: str) -> None:
    other = FakeTransport(lambda _request: answer(404, b"{}", **{"Content-Type": content_type}))
    settings = LabelStudioSettings(url="http://ls", api_key=token)
    with pytest.raises(LabelStudioAPIError, match=r"Label Studio (answered 404 at|has no) http://ls/api/") as caught:
        LabelStudioClient(settings, transport=other).project(7)
    assert not isinstance(caught.value, NoSuchProjectError)


def test_a_missing_project_is_an_error(label_studio: FakeLabelStudio) -> None:
    with pytest.raises(NoSuchProjectError, match=r"answered 404 at .*/api/projects/7/"):
        client(label_studio, LEGACY_TOKEN).project(7)


def test_a_project_needs_a_token(label_studio: FakeLabelStudio) -> None:
    with pytest.raises(LabelStudioAPIError, match="LABEL_STUDIO_API_KEY is not set"):
        client(label_studio, "").project(1)


def test_an_absent_label_studio_is_an_error() -> None:
    absent = LabelStudioClient(LabelStudioSettings(url="http://127.0.0.1:9", api_key=LEGACY_TOKEN))
    with pytest.raises(LabelStudioAPIError, match=r"did not answer .*Check LABEL_STUDIO_URL"):
        absent.project(1)


@pytest.mark.parametrize(
    ("url", "owned"),
    [
        ("http://labels.example.org/data/x", True),
        ("http://labels.example.org:80/data/x", True),
        ("https://labels.example.org/data/x", False),
        ("http://labels.example.org:81/data/x", False),
        ("http://labels.example.org.evil.example/data/x", False),
        ("http://labels.example.org\\@evil.example/data/x", True),
        ("http://evil.example\\@labels.example.org/data/x", False),
    ],
)
def test_owns_compares_scheme_host_and_port(url: str, owned: bool) -> None:
    assert LabelStudioClient(LabelStudioSettings(url="http://labels.example.org")).owns(WebUrl.parse(url)) is owned


@pytest.mark.timeout(60)  # without the limit it would wait forever
def test_a_label_studio_that_accepts_and_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for token, ask in ((LEGACY_TOKEN, _project), (PERSONAL_TOKEN, LabelStudioClient.authorization)):
            impatient = LabelStudioClient(LabelStudioSettings(url=url, api_key=token), answer_within_s=0.2)
            with pytest.raises(LabelStudioSlowError, match=r"did not answer at .* \(no time was left\)"):
                ask(impatient)


def _project(client: LabelStudioClient) -> object:
    return client.project(1)


OK = b"HTTP/1.1 200 OK\r\n"


def drip_headers(victim: Victim) -> None:
    victim.send(OK)
    victim.drip(b"X: y\r\n" * 1000)


def drip_body(victim: Victim) -> None:
    victim.send(OK + b"\r\n")
    victim.drip(b" " * 1000)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("behave", [drip_headers, drip_body])
def test_a_label_studio_that_drips_is_given_up(behave: Behaviour) -> None:
    started_s = time.monotonic()
    with hostile_server(behave) as server:
        settings = LabelStudioSettings(url=f"http://{server.host_and_port}", api_key=LEGACY_TOKEN)
        with pytest.raises(LabelStudioSlowError, match="no time was left"):
            LabelStudioClient(settings, answer_within_s=0.3).project(1)
    assert time.monotonic() - started_s < SLACK_S


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (answer(200, b" " * 200), LabelStudioSlowError, "answered with more than 100 bytes at http://ls/api/x."),
        (answer(200, b"[" * 90), LabelStudioAPIError, "did not answer with JSON"),
        (answer(200, b"[]"), LabelStudioAPIError, "answered with list, expected an object"),
        (answer(200, b"\xff"), LabelStudioAPIError, "did not answer with JSON"),
        (answer(503), LabelStudioSlowError, "answered 503 at http://ls/api/x."),
        (answer(401), LabelStudioAPIError, "refused the token at http://ls/api/x (401). Set LABEL_STUDIO_API_KEY"),
        (answer(401), LabelStudioAPIError, "Label Studio shows tokens under Account & Settings, behind your picture."),
        (
            answer(301, Location="https://ls/api/x?token=secret"),
            LabelStudioAPIError,
            "redirects http://ls/api/x to 'https://ls/api/x'. Set LABEL_STUDIO_URL to its address there.",
        ),
    ],
)
def test_an_unusable_answer_is_explained(
    reply: urllib3.HTTPResponse, error: type[LabelStudioAPIError], message: str
) -> None:
    transport = FakeTransport(lambda _request: reply)
    asking = LabelStudioClient(LabelStudioSettings(url="http://ls", api_key=LEGACY_TOKEN), transport=transport)
    with pytest.raises(error) as caught:
        asking.get("/api/x", {"query": "secret"}, most_bytes=100)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert [str(request.url) for request in transport.requests] == ["http://ls/api/x?query=secret"]


def test_lists_nested_deeply_are_no_json() -> None:
    transport = FakeTransport(lambda _request: answer(200, b"[" * 100_000))
    with pytest.raises(LabelStudioAPIError, match="did not answer with JSON"):
        LabelStudioClient(LabelStudioSettings(url="http://ls", api_key=LEGACY_TOKEN), transport=transport).project(1)


def test_an_address_that_cannot_be_asked_is_named() -> None:
    asking = LabelStudioClient(LabelStudioSettings(url="http://a b", api_key=LEGACY_TOKEN))
    with pytest.raises(LabelStudioAPIError, match="LABEL_STUDIO_URL cannot be asked: it is no valid URL"):
        asking.project(1)


def test_a_token_that_another_thread_exchanges_is_not_waited_for_beyond_the_deadline() -> None:
    with hostile_server(drip_body) as server:
        settings = LabelStudioSettings(url=f"http://{server.host_and_port}", api_key=PERSONAL_TOKEN)
        personal = LabelStudioClient(settings, answer_within_s=20.0)

        def exchange() -> None:
            with contextlib.suppress(LabelStudioAPIError):
                personal.authorization()

        exchanging = threading.Thread(target=exchange)
        exchanging.start()
        while not server.sent_bytes:
            time.sleep(0.005)
        started_s = time.monotonic()
        with pytest.raises(LabelStudioSlowError, match="access token, and did not answer in time"):
            personal.authorization(Deadline.within(0.1))
        assert time.monotonic() - started_s < SLACK_S
    exchanging.join()
