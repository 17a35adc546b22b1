"""`ovdiff doctor` beside a real Label Studio and backend: what is right is said so, and what is wrong is named."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from backend.command import cli
from backend.demo import label_studio
from backend.demo.console import standard_console
from backend.demo.label_studio import LabelStudio
from backend.demo.processes import ProcessGroups
from backend.demo.project import label_config
from backend.demo.session import Session
from tests.conftest import CACHE
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def project(session: Session, tmp_path: Path) -> Iterator[int]:
    """A project with one uploaded image, which is connected."""
    (tmp_path / "sky.png").write_bytes(encoded(red_and_blue()))
    made = session.maker.ensure_project("Doctor", label_config(["sky"]), [tmp_path / "sky.png"])
    session.maker.connect(made)
    yield made
    session.maker.api.disconnect_backends(made)


class Doctor:
    """Runs the command as a person would, on the settings of this environment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, server: LabelStudio, token: str, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Return the exit status, and the findings by name."""
        for name, value in {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": token}.items():
            self._monkeypatch.setenv(name, value)
        self._capsys.readouterr()
        status = cli.main(["doctor", "--json", *arguments])
        out = self._capsys.readouterr().out
        assert token not in out
        return status, {found["name"]: found for found in json.loads(out)["findings"]}


@pytest.fixture
def doctor(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    monkeypatch.setenv("OVDIFF_PORT", session.backend.url.rpartition(":")[2])
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    return Doctor(monkeypatch, capsys)


def test_all_is_well_with_either_kind_of_token(
    session: Session, project: int, personal_token: str, doctor: Doctor
) -> None:
    legacy, ready = session.label_studio.login.token, f"{session.backend.url}/ready"
    assert eventually(lambda: requests.get(ready, timeout=30).status_code == 200, 120.0), "its models load"
    for token, kind in ((legacy, "a legacy token of"), (personal_token, "a personal access token of")):
        status, found = doctor(session.label_studio, token, "--project", str(project))
        assert status == 0, found
        assert {name for name, each in found.items() if each["state"] == "failed"} == set()
        assert kind in found["token"]["found"] and session.label_studio.login.email in found["token"]["found"]
        assert found["version"]["state"] == found["clock"]["state"] == found["service"]["state"] == "ok"
        assert "Label Studio may call it; version ovdiff-" in found[f"project {project}: connection"]["found"]
        assert found[f"project {project}: webhook"]["state"] == "ok"
        assert "64 x 48 px" in found[f"project {project}: uploads"]["found"]


def test_a_refused_token_is_told_what_kind_it_is(session: Session, doctor: Doctor) -> None:
    status, found = doctor(session.label_studio, "f" * 40)
    assert status == 1 and found["projects"]["state"] == "skipped"
    assert (
        "refuses a legacy token (401" in found["token"]["found"] and "personal access token" in found["token"]["advice"]
    )


def test_a_project_without_this_backend_is_named_and_stays_without(
    session: Session, project: int, doctor: Doctor
) -> None:
    api, token = session.maker.api, session.label_studio.login.token
    api.disconnect_backends(project)
    status, found = doctor(session.label_studio, token, "--project", str(project))
    connection = found[f"project {project}: connection"]
    assert status == 1 and connection["state"] == "failed" and "not connected" in connection["found"]
    assert session.backend.url in connection["advice"]
    assert api.backends(project) == []
    assert found[f"project {project}: uploads"]["state"] == "ok"
    session.maker.connect(project)
    for webhook in api.call("GET", "/api/webhooks/", params={"project": project}):
        api.request("DELETE", f"/api/webhooks/{webhook['id']}/")
    status, found = doctor(session.label_studio, token)  # of all projects those that are connected
    webhook = found[f"project {project}: webhook"]
    assert status == 0 and webhook["state"] == "warning" and "is missing" in webhook["found"]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that speaks S3, with one picture: s3://photos/sky.png."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    address = "http://{}:{}".format(*running.get_host_and_port())
    login = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=address, **login)
    client.create_bucket(Bucket="photos")
    client.put_object(Bucket="photos", Key="sky.png", Body=encoded(red_and_blue()))
    yield address
    running.stop()


def test_images_of_s3_are_tried_by_presigned_links(
    session: Session, project: int, s3: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, token, name = session.maker.api, session.label_studio.login.token, f"project {project}: S3"
    login = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    storage = {"project": project, "title": "photos", "bucket": "photos", "s3_endpoint": s3, "presign": True}
    made = api.call("POST", "/api/storages/s3", json={**storage, **login, "use_blob_urls": True})
    task = api.call("POST", "/api/tasks", json={"project": project, "data": {"image": "s3://photos/sky.png"}})["id"]
    try:
        status, found = doctor(session.label_studio, token, "--project", str(project))
        assert status == 1 and found[f"project {project}: uploads"]["state"] == "ok"
        host = s3.removeprefix("http://")
        assert "add 127.0.0.1 to OVDIFF_IMAGE_HOSTS" in found[name]["found"] and host in found[name]["found"]
        monkeypatch.setenv("OVDIFF_PRIVATE_IMAGE_HOSTS", host)
        status, found = doctor(session.label_studio, token, "--project", str(project))
        assert status == 0 and f"task {task} is here, 64 x 48 px" in found[name]["found"]
        assert "secret" not in str(found) and "Signature" not in str(found)
    finally:
        api.request("DELETE", f"/api/tasks/{task}/")
        api.request("DELETE", f"/api/storages/s3/{made['id']}")


def test_a_label_studio_that_refuses_inner_addresses_is_noticed(
    label_studio_executable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    """A Label Studio as it comes: `make demo` alone switches its guard off."""
    for name in ("ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED"):
        monkeypatch.delitem(label_studio._SETTINGS, name)
    with ProcessGroups() as groups:
        console = standard_console()
        template = label_studio.ensure_template(label_studio_executable, CACHE, groups, console)
        label_studio.ensure_data_dir(template, tmp_path / "guarded")
        guarded = label_studio.start(label_studio_executable, tmp_path / "guarded", groups, console)
        made = guarded.api().create_project("Guarded", label_config(["sky"]))
        status, found = doctor(guarded, guarded.login.token, "--project", str(made))
        connection = found[f"project {made}: connection"]
        assert status == 1 and "Label Studio refuses http://127.0.0.1" in connection["found"]
        assert "ML_BLOCK_LOCAL_IP=false" in connection["advice"]
        assert guarded.api().backends(made) == []
