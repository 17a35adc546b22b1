"""A real Label Studio in a process of its own, on loopback, with its state in one folder.

At its first start Label Studio makes its database, which takes half a minute and more; later it starts in three
seconds. So a data folder is made once for each version of Label Studio (:func:`ensure_template`) and then copied.

The environment of Label Studio holds only the variables that are set here. Label Studio looks up every setting as
``LABEL_STUDIO_X``, ``HEARTEX_X`` and bare ``X``, so a stray ``HOST`` or ``PASSWORD`` of the shell would change it.
"""

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from backend.demo.api import LabelStudioApi
from backend.demo.console import Console
from backend.demo.errors import ApiError, ServerError
from backend.demo.processes import LOOPBACK, Child, ProcessGroups, free_port, is_up, wait_until_ready
from converters.files.atomic import delete_left_overs, whole_folder

_EMAIL = "demo@example.com"
_LOGIN_FILE = "login.json"
_FIRST_START_TIMEOUT_S = 600.0
_START_TIMEOUT_S = 180.0

_SETTINGS = {
    # The backend runs on this machine, and Label Studio 1.23 refuses backends on private addresses by
    # default; its webhooks have a guard of their own. Off only because this one is on loopback alone.
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
    # Checks every prediction against the label config and refuses a batch with a bad one; otherwise a wrong
    # label or a misspelt key is stored without a word.
    "fflag_feat_utc_210_prediction_validation_15082025": "true",
    # No calls to the outside.
    "LATEST_VERSION_CHECK": "false",
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Login:
    """The login of the user in a Label Studio data folder; ``token`` is the key for the HTTP API."""

    email: str
    password: str
    token: str


@dataclass(frozen=True)
class LabelStudio:
    """A running Label Studio."""

    url: str
    login: Login
    child: Child

    def api(self) -> LabelStudioApi:
        """Return a client of this Label Studio's HTTP API."""
        return LabelStudioApi(self.url, self.login.token)


def installed_version(executable: Path) -> str:
    """Return the version of the Label Studio to which ``executable`` belongs, read from the folder of its environment.

    Raises:
        ServerError: there is no installed Label Studio at that path.
    """
    if not executable.is_file():
        raise ServerError(f"There is no Label Studio at {executable}. `make setup` installs it.")
    environment = executable.absolute().parent.parent
    folders = sorted(environment.glob("lib/python*/site-packages/label_studio-*.dist-info"))
    if not folders:
        raise ServerError(
            f"{executable} is not an installed Label Studio: {environment} holds no label_studio package."
        )
    return folders[0].name.removeprefix("label_studio-").removesuffix(".dist-info")


def ensure_template(executable: Path, cache: Path, groups: ProcessGroups, console: Console) -> Path:
    """Return a data folder with a database and a user; make it if ``cache`` has none for this version.

    It appears under its final name only when complete, so an interrupted run leaves nothing half made. Takes
    about a minute the first time.
    """
    template = cache / f"label-studio-{installed_version(executable)}"
    if template.is_dir():
        return template
    console.say("Making Label Studio's database (once, about a minute) ...")
    delete_left_overs(cache)
    # Private, because it holds the login and the secret key. Another run may finish first; its folder is as good.
    with whole_folder(template, mode=0o700, keep_existing=True) as partial:
        _write_login(partial, Login(_EMAIL, secrets.token_hex(6), secrets.token_hex(20)))
        groups.stop(start(executable, partial, groups, console, timeout_s=_FIRST_START_TIMEOUT_S).child)
    return template


def ensure_data_dir(template: Path, data_dir: Path) -> None:
    """Copy the template to ``data_dir`` unless that exists already."""
    if data_dir.is_dir():
        return
    delete_left_overs(data_dir.parent, data_dir.name)
    with whole_folder(data_dir, mode=0o700) as partial:
        shutil.copytree(template, partial, dirs_exist_ok=True)


def start(
    executable: Path,
    data_dir: Path,
    groups: ProcessGroups,
    console: Console,
    *,
    timeout_s: float = _START_TIMEOUT_S,
    preferred_port: int = 8080,
) -> LabelStudio:
    """Start Label Studio on a data folder and wait until it answers.

    Raises:
        ServerError: Label Studio did not start; the message ends with the end of its log.
    """
    login = _read_login(data_dir)
    port = free_port(preferred_port)
    url = f"http://{LOOPBACK}:{port}"
    command: list[str | Path] = [
        executable,
        "start",
        "--no-browser",
        "--data-dir",
        data_dir.absolute(),
        "--internal-host",
        LOOPBACK,
    ]
    child = groups.start(
        "Label Studio",
        [*command, "--port", str(port)],
        _environment(data_dir, login),
        data_dir / "label-studio.log",
    )
    wait_until_ready(
        child,
        lambda: is_up(url),
        timeout_s,
        lambda s: console.progress(f"Label Studio is starting: {s // 5 * 5:.0f} s"),
    )
    _ensure_ours(LabelStudioApi(url, login.token), login, child)
    return LabelStudio(url, login, child)


def _environment(data_dir: Path, login: Login) -> dict[str, str]:
    # Login by environment, not by arguments: those show in the process list of everyone on the machine.
    home = str(data_dir.absolute())
    return _SETTINGS | {
        "PATH": os.defpath,
        "HOME": home,
        "LABEL_STUDIO_BASE_DATA_DIR": home,
        "LABEL_STUDIO_USERNAME": login.email,
        "LABEL_STUDIO_PASSWORD": login.password,
        "LABEL_STUDIO_USER_TOKEN": login.token,
    }


def _ensure_ours(api: LabelStudioApi, login: Login, child: Child) -> None:
    # If another program takes the port first, Label Studio silently moves to the next one, and what answers
    # here is somebody else: only our own knows our token.
    try:
        email = api.whoami()
    except ApiError as error:
        raise ServerError(f"What answers at {api.url} is not the Label Studio just started: {error}") from error
    if email != login.email:
        raise ServerError(f"{api.url} answers as {email}, but {child.name} was started for {login.email}.")


def _write_login(data_dir: Path, login: Login) -> None:
    path = data_dir / _LOGIN_FILE
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(login)))


def _read_login(data_dir: Path) -> Login:
    path = data_dir / _LOGIN_FILE
    try:
        return Login(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ServerError(
            f"{path} does not hold the login of a demo ({error}). Remove {data_dir} to begin anew."
        ) from error
