"""A scripted Label Studio, and an asker of it."""

from collections.abc import Callable, Iterator

import pytest

from backend.doctor.asking import Asker
from backend.settings import LabelStudioSettings
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        yield script


@pytest.fixture
def asker_of() -> Callable[..., Asker]:
    """Return an asker of an address."""

    def make(url: str, token: str = LEGACY_TOKEN, within_s: float = 5.0) -> Asker:
        return Asker(LabelStudioClient(LabelStudioSettings(url=url, api_key=token)), within_s=within_s)

    return make


@pytest.fixture
def asker(server: ScriptedServer, asker_of: Callable[..., Asker]) -> Asker:
    return asker_of(server.url)
