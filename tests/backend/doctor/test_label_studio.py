"""Whatever answers in Label Studio's place, the finding says what it is and what to set."""

from collections.abc import Callable

import pytest

from backend.doctor.asking import Asker, Reply
from backend.doctor.label_studio import check_address, check_clock, check_token, check_version
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, FakeLabelStudio, jwt
from tests.fakes.scripted_server import ScriptedServer

NOON_GMT, NOON_S = "Sun, 22 Nov 2026 12:00:00 GMT", 1795348800.0


def test_a_label_studio_that_is_up(server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /health"] = (200, {"status": "UP"})
    found, reply = check_address(asker)
    assert found.state == "ok" and reply is not None and reply.date  # by which the clock is judged


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b"<html>Welcome to nginx</html>"), "answers 200, and not as Label Studio does"),
        ((200, {"status": "DOWN"}), "answers 200"),
        ((502, b"Bad Gateway"), "answers 502"),
        ((301, b""), "redirects (301)"),
    ],
)
def test_another_server_is_told_apart(
    answer: tuple[int, object], said: str, server: ScriptedServer, asker: Asker
) -> None:
    server.answers["GET /health"] = answer
    found, reply = check_address(asker)
    assert found.state == "failed" and said in found.found and "LABEL_STUDIO_URL" in found.advice and reply is None


def test_nobody_there(asker_of: Callable[..., Asker]) -> None:
    found, reply = check_address(asker_of("http://127.0.0.1:9"))
    assert found.state == "failed" and "ConnectionRefusedError" in found.found and reply is None
    assert "Start Label Studio" in found.advice


def test_an_address_that_cannot_be_asked(asker_of: Callable[..., Asker]) -> None:
    found, _ = check_address(asker_of("http://127.0.0.1:0"))
    assert found.state == "failed" and "LABEL_STUDIO_URL cannot be asked: port 0" in found.found


def test_the_token_says_whose_it_is(server: ScriptedServer, asker: Asker) -> None:
    server.answers["GET /api/current-user/whoami"] = (200, {"email": "ann@example.org"})
    assert check_token(asker).found == "a legacy token of ann@example.org"


def test_without_a_token(server: ScriptedServer, asker_of: Callable[..., Asker]) -> None:
    found = check_token(asker_of(server.url, token=""))
    assert found.state == "failed" and "LABEL_STUDIO_API_KEY is not set" in found.found and found.advice
    assert server.requests == []


def test_a_legacy_token_where_they_are_off(server: ScriptedServer, asker: Asker) -> None:
    said = "legacy token authentication has been disabled for this organization"
    server.answers["GET /api/current-user/whoami"] = (401, {"detail": said})
    found = check_token(asker)
    assert found.state == "failed" and said in found.found and "personal access token" in found.advice
    assert LEGACY_TOKEN not in str(found)


def test_a_personal_token_is_exchanged_and_a_revoked_one_named(
    label_studio: FakeLabelStudio, asker_of: Callable[..., Asker]
) -> None:
    revoked = jwt(token_type="refresh", jti="revoked")
    found = check_token(asker_of(label_studio.url, token=revoked))
    assert found.state == "failed" and "cannot be exchanged" in found.found and "revoked" in found.advice
    assert revoked not in str(found)
    fine = check_token(asker_of(label_studio.url, token=PERSONAL_TOKEN))
    assert fine.state == "failed" and "answers 404" in fine.found  # exchanged; this fake knows no person


def test_versions(server: ScriptedServer, asker: Asker) -> None:
    for answer, state in (
        ((200, {"release": "1.23.2"}), "ok"),
        ((200, {"release": "1.230.0"}), "warning"),
        ((200, {"release": "2.0"}), "warning"),
        ((200, [1]), "warning"),
        ((500, b""), "warning"),
    ):
        server.answers["GET /api/version"] = answer
        assert check_version(asker).state == state, answer


@pytest.mark.parametrize(
    ("ahead_s", "state", "said"),
    [
        (0.0, "ok", "0 s"),
        (59.0, "ok", "59 s ahead of"),
        (-61.0, "warning", "61 s behind"),
        (901.0, "failed", "901 s ahead of"),
    ],
)
def test_the_clock_is_held_against_label_studios(ahead_s: float, state: str, said: str) -> None:
    found = check_clock(Reply(200, None, NOON_GMT), now_s=lambda: NOON_S + ahead_s)
    assert found.state == state and said in found.found
    assert bool(found.advice) == (state != "ok")


@pytest.mark.parametrize("date", ["", "yesterday", "99 Foo 2026", "Sun, 22 Nov 99999999999 12:00:00 GMT"])
def test_a_server_without_a_clock_is_no_failure(date: str) -> None:
    assert check_clock(Reply(200, None, date)).state == "skipped"
