from typing import Any

from backend.doctor.asking import Asker
from backend.doctor.findings import Finding
from backend.doctor.projects import Questions, examine
from backend.settings import Settings
from backend.sources.deadline import Deadline
from tests.fakes.scripted_server import ScriptedServer

OURS = {"url": "http://127.0.0.1:9090", "state": "CO", "model_version": "ovdiff-1"}
PROJECT = {"id": 3, "created_at": "2026-11-20T18:41:39Z", "label_config": "<View/>"}


def findings(asker: Asker, questions: Questions, deadline: Deadline | None = None) -> dict[str, Finding]:
    found = list(examine(Settings(), questions, asker, deadline or Deadline.within(60)))
    return {finding.name: finding for finding in found}


def test_one_project_is_looked_at_whole(server: ScriptedServer, asker: Asker) -> None:
    server.answers |= {"GET /api/ml": (200, [OURS]), "GET /api/webhooks/": (200, [])}
    server.answers["GET /api/projects/3/"] = (200, PROJECT)
    found = findings(asker, Questions(project=3))
    states = {name: finding.state for name, finding in found.items()}
    assert states == {
        "project 3: connection": "ok",
        "project 3: webhook": "warning",
        "project 3: label config": "failed",  # without a vocabulary nobody knows where the images are
    }


def test_a_project_that_is_not_there(server: ScriptedServer, asker: Asker) -> None:
    found = findings(asker, Questions(project=9))
    assert {finding.state for finding in found.values()} == {"failed"}
    assert found["project 9: label config"].found.startswith("Label Studio answered 404")


def test_of_all_projects_those_that_are_not_ours_are_left_alone(server: ScriptedServer, asker: Asker) -> None:
    server.answers |= {"GET /api/projects/": (200, {"results": [{"id": 3}, {"id": 4}, {"no": 1}]})}
    server.answers["GET /api/ml"] = (200, [])
    found = findings(asker, Questions())
    assert [found[f"project {number}: connection"].state for number in (3, 4)] == ["skipped", "skipped"]
    assert found["projects"].state == "warning" and "none of the 2 projects" in found["projects"].found
    assert len(found) == 3


def test_rubbish_in_the_place_of_projects(server: ScriptedServer, asker: Asker) -> None:
    answers: list[tuple[int, Any]] = [(200, b"<html>"), (500, b""), (403, {"detail": "No."})]
    for answer in answers:
        server.answers["GET /api/projects/"] = answer
        assert findings(asker, Questions())["projects"].state in ("failed", "warning")


def test_no_project_is_begun_after_the_deadline(server: ScriptedServer, asker: Asker) -> None:
    server.answers |= {"GET /api/projects/": (200, {"results": [{"id": 3}, {"id": 4}]}), "GET /api/ml": (200, [])}
    found = findings(asker, Questions(), Deadline.within(-1))
    assert found["projects"].state == "skipped" and "2 projects: no time" in found["projects"].found
    assert len(found) == 1
