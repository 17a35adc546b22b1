import pytest
from flask import Flask, request

from backend.errors import BusyError, RequestError
from backend.serving.http.error_answers import PATH_CHARACTERS, REASON_CHARACTERS, add_error_answers


@pytest.fixture
def failing() -> Flask:
    """An application whose routes fail."""
    app = Flask("failing")
    add_error_answers(app)
    errors = {"unusable": RequestError("no\ngood é"), "busy": BusyError("later"), "bug": RuntimeError("secret")}

    @app.get("/<kind>")
    def fail(kind: str) -> str:
        raise errors.get(kind) or RequestError("x" * 1000)

    return app


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/unusable", "400 no good", "no\ngood é"),
        ("/busy", "503 later", "later"),
        ("/two/parts", "404 There is nothing at /two/parts. ", "There is nothing at /two/parts. This is an ML backend"),
        ("/", "404 There is nothing at /. ", "There is nothing at /. This is an ML backend: give Label Studio its"),
    ],
)
def test_the_message_is_in_the_body_and_the_status_line(failing: Flask, path: str, status: str, error: str) -> None:
    response = failing.test_client().get(path)
    assert response.status.startswith(status)
    assert response.get_json()["error"].startswith(error)
    assert response.headers.get("Retry-After") == ("10" if path == "/busy" else None)


def test_a_body_that_is_too_long_names_its_length_the_limit_and_the_setting(
    failing: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    failing.config["MAX_CONTENT_LENGTH"] = 8

    @failing.post("/body")
    def body() -> bytes:
        return request.get_data()

    response = failing.test_client().post("/body", data=b"123456789")
    assert response.status == "413 The body has 9 bytes, more than 8 (OVDIFF_MAX_BODY_BYTES)."
    assert "POST /body: The body has 9 bytes, more than 8" in caplog.text


def test_a_bug_is_answered_by_a_number_that_the_log_has(failing: Flask, caplog: pytest.LogCaptureFixture) -> None:
    response = failing.test_client().get("/bug")
    number = response.get_json()["error"].split()[2].strip(";")
    assert response.status_code == 500
    assert f"Error {number} in GET /bug" in caplog.text
    assert "secret" not in response.get_data(as_text=True)


@pytest.mark.parametrize("kind", ["unusable", "busy", "bug"])
def test_a_long_path_does_not_make_a_long_line_in_the_log(
    failing: Flask, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing.add_url_rule("/x/<path:rest>", view_func=lambda rest: failing.view_functions["fail"](kind))
    failing.test_client().get("/x/" + "a" * 5000)
    (line,) = caplog.messages
    assert "GET /x/aaa" in line and len(line) < PATH_CHARACTERS + 40


def test_a_long_message_does_not_make_a_long_status_line(failing: Flask) -> None:
    assert len(failing.test_client().get("/long").status) == REASON_CHARACTERS + 4
