"""A scripted server in the place of Label Studio or the backend."""

from collections.abc import Iterator

import pytest

from tests.fakes.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running
