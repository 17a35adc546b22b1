import socket

import pytest

from backend.errors import LabelStudioAPIError
from backend.settings import LabelStudioSettings
from backend.sources.label_studio import LabelStudioClient, Project
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, PROJECT_UID, FakeLabelStudio, jwt


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


@pytest.mark.parametrize("token", [LEGACY_TOKEN, PERSONAL_TOKEN])
def test_a_project_is_read(label_studio: FakeLabelStudio, token: str) -> None:
    label_studio.label_config = "<View/>"
    assert client(label_studio, token).project(1) == Project(PROJECT_UID, "<View/>")


def test_a_missing_project_is_an_error(label_studio: FakeLabelStudio) -> None:
    with pytest.raises(LabelStudioAPIError, match=r"answered 404 at .*/api/projects/7/"):
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
        ("http://labels.example.org@evil.example/data/x", False),
    ],
)
def test_owns_compares_scheme_host_and_port(url: str, owned: bool) -> None:
    assert LabelStudioClient(LabelStudioSettings(url="http://labels.example.org")).owns(url) is owned


@pytest.mark.timeout(20)  # without the limit it would wait forever
def test_a_label_studio_that_accepts_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.sources.label_studio.TIMEOUT_S", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = LabelStudioSettings(url=f"http://127.0.0.1:{silent.getsockname()[1]}", api_key=LEGACY_TOKEN)
        with pytest.raises(LabelStudioAPIError, match=r"did not answer at .*ReadTimeout"):
            LabelStudioClient(settings).project(1)
        with pytest.raises(LabelStudioAPIError, match=r"did not answer at .*ReadTimeout"):
            LabelStudioClient(LabelStudioSettings(url=settings.url, api_key=PERSONAL_TOKEN)).authorization()
