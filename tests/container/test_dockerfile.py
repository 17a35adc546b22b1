"""The Dockerfile and compose.yaml, as far as files can be checked; rehearsal.py runs the Dockerfile's steps."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from backend.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the steps of each stage of the Dockerfile."""
    found: dict[str, list[tuple[str, str]]] = {}
    joined = re.sub(r"\\\n(\s*#.*\n)*", " ", (ROOT / "Dockerfile").read_text())
    for line in joined.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found[rest.split()[-1]] = []
        elif found and instruction and not line.startswith("#"):
            found[list(found)[-1]].append((instruction, rest.strip()))
    return found


def hadolint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("hadolint")), "--no-color", str(dockerfile)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    found = hadolint(ROOT / "Dockerfile")
    assert (found.returncode, found.stdout) == (0, "")
    worse = tmp_path / "Dockerfile"
    worse.write_text((ROOT / "Dockerfile").read_text().replace("uv==", "uv #"))
    assert "DL3013" in hadolint(worse).stdout  # so it does look


def test_a_build_without_a_target_is_the_one_without_cuda() -> None:
    found = stages()
    assert list(found)[-1] == "cpu" and {"cpu", "cuda"} < set(found)
    installs = {
        name: next(rest for word, rest in found[name] if "pip install" in rest) for name in found if "-env" in name
    }
    assert "${TORCH}" in installs["cpu-environment"] and "${TORCH}" not in installs["cuda-environment"]
    assert all("--constraint requirements.lock" in line for line in installs.values())


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_nobody_is_root_in_the_end(target: str) -> None:
    users = [rest for word, rest in stages()[target] if word == "USER"]
    assert users and users[-1].isdigit() and int(users[-1]) > 0


def test_the_images_environment_is_understood() -> None:
    environment: dict[str, str] = {"OVDIFF_BASIC_USER": "ann", "OVDIFF_BASIC_PASSWORD": "secret"}
    for name in ("runtime", "cuda"):
        for word, rest in stages()[name]:
            if word == "ENV":
                environment |= dict(pair.split("=", 1) for pair in rest.split())
    settings = Settings.from_environment(environment)
    assert (settings.data_dir, settings.server.host, settings.device) == (Path("/data"), "0.0.0.0", "cuda")


def test_compose_gives_the_backend_settings_that_it_knows(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a-secret")
    given = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", text) for name, text in SERVICES["ovdiff"]["environment"].items()}
    files = {name: text for name, text in given.items() if name.endswith("_FILE")}
    assert len(files) == 2
    assert {Path(path).name for path in files.values()} == set(SERVICES["ovdiff"]["secrets"])
    here = given | dict.fromkeys(files, str(tmp_path / "secret")) | {"OVDIFF_HOST": "0.0.0.0"}
    settings = Settings.from_environment(here)
    assert settings.server.basic_password == settings.label_studio.api_key == "a-secret"
    assert settings.label_studio.url == "http://label-studio:8080" and settings.preset == "tinyworld"


def test_every_secret_of_compose_is_declared_and_none_is_in_the_file() -> None:
    named = {secret for service in SERVICES.values() for secret in service["secrets"]}
    assert named == set(COMPOSE["secrets"])
    said = json.dumps(SERVICES)
    read = set(re.findall(r"/run/secrets/(\w+)", said))
    assert read == named
    given = [pair for service in SERVICES.values() for pair in service["environment"].items()]
    assert {text for name, text in given if re.search("PASSWORD|USER_TOKEN|API_KEY|SECRET", name)} == {
        f"/run/secrets/{name}" for name in ("postgres_password", "label_studio_token", "ovdiff_password")
    }


def test_what_compose_names_is_in_the_file() -> None:
    """Volumes, services that are waited for, and a value for each variable that nobody set."""
    mounted = {place.partition(":")[0] for service in SERVICES.values() for place in service.get("volumes", ())}
    assert mounted == set(COMPOSE["volumes"])
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            assert wanted == {"condition": "service_healthy"} and "healthcheck" in SERVICES[name]
    said = "\n".join(
        line for line in (ROOT / "compose.yaml").read_text().splitlines() if not line.lstrip().startswith("#")
    )
    variables = re.findall(r"(?<!\$)\$(?!\$)(\{[^}]*\}|\w+)", said)
    assert variables and all(re.fullmatch(r"\{[A-Z_]+:-[^}]+\}", each) for each in variables)
    target = re.sub(r"\$\{\w+:-(.*)\}", r"\1", SERVICES["ovdiff"]["build"]["target"])
    assert re.search(rf"^FROM .* AS {target}$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_the_database_is_healthy_by_tcp_alone() -> None:
    """While the image makes a database, a server answers on the socket, and is stopped again."""
    assert "--host 127.0.0.1" in " ".join(SERVICES["database"]["healthcheck"]["test"])


def test_label_studio_is_the_version_that_is_tested_and_is_reached_from_this_machine_alone() -> None:
    tested = re.search(r"LABEL_STUDIO_VERSION := (\S+)", (ROOT / "Makefile").read_text())
    assert tested and SERVICES["label-studio"]["image"] == f"heartexlabs/label-studio:{tested[1]}"
    published = {port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", ())}
    assert published == {"8080", "9090"}  # Label Studio, and the backend's page
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", ()))


def test_label_studio_knows_the_variables_that_compose_gives_it() -> None:
    packages = list((ROOT / ".venv-label-studio").glob("lib/python*/site-packages/label_studio"))
    if not packages:
        pytest.skip("Label Studio is not installed here")
    sources = [packages[0] / "server.py", packages[0] / "core/argparser.py", *packages[0].glob("core/settings/*.py")]
    known = "\n".join(path.read_text() for path in sources)
    exported = re.findall(r"([A-Z_]+)=\"", SERVICES["label-studio"]["entrypoint"][2])
    assert len(exported) == 3
    for name in (*SERVICES["label-studio"]["environment"], *exported):
        assert f"'{name.removeprefix('LABEL_STUDIO_')}'" in known or f"'{name}'" in known, name
