"""What Azure's and Google's libraries do when their server goes away; what all storages do is tested beside this."""

import threading
import time
from typing import Any

import pytest

from ovdiff.errors import StorageError
from ovdiff.storage import place
from ovdiff.storage.leases import Leases
from tests.clouds import NOT_ASKED_FOR, ask_azure_at, ask_google_at
from tests.storages import Cable, new_bucket

ASKED_AT = {"abfs": ("azurite", ask_azure_at), "gs": ("google", ask_google_at)}


@pytest.fixture(params=["abfs", "gs"])
def cable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cable to an emulator, and the address of a bucket there."""
    if not request.config.getoption("--clouds"):
        pytest.skip(NOT_ASKED_FOR)
    server, ask_at = ASKED_AT[request.param]
    cable = Cable(request.getfixturevalue(server))
    ask_at(cable.endpoint, monkeypatch)
    yield cable, new_bucket(request.param)
    cable.cut()


def test_a_file_whose_storage_goes_away_in_its_middle_goes_on_at_the_offset(cable: tuple[Cable, str]) -> None:
    path: Any = place(f"{cable[1]}/rows", 60.0)
    data = bytes(range(256)) * 40
    path.write_bytes(data)
    with path.open("rb", 1000) as stream:
        first = stream.read(2500)
        cable[0].cut()
        threading.Timer(1.0, cable[0].mend).start()
        assert first + stream.read() == data
    path.write_bytes(data)
    with path.open("rb", 1000) as stream:
        stream.read(10)
        path.write_bytes(data[::-1])
        with pytest.raises(StorageError, match="was replaced or deleted while it was read"):
            stream.read()


@pytest.mark.parametrize("cable", ["abfs"], indirect=True)  # gcsfs asks for half a minute, and cannot be told otherwise
def test_a_storage_that_stays_away_is_said_and_not_waited_for_by_its_library(cable: tuple[Cable, str]) -> None:
    folder = place(cable[1], 0.0)
    with Leases(folder).held("work"):
        cable[0].cut()
        began_s = time.monotonic()
        with pytest.raises(StorageError, match=r"cannot be written.*: .*onnect.*Look whether the storage runs"):
            folder.joinpath("a").write_bytes(b"x")
        asked_s = time.monotonic() - began_s
    assert asked_s < 20, "by itself Azure's library asks for 83 s"
    cable[0].mend()
