"""Which tests run in one process where there are several (pytest-xdist): a file's, and all that share the servers."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

SERVERS = "tests/end_to_end/"
"""The folder whose tests share a Label Studio and a backend, which are started once a process."""
RAY = (
    "tests/ovdiff/distributed/",
    "tests/backend/command/test_ray",
    "tests/backend/command/test_more_on_ray",
    "tests/backend/serving/test_on_ray",
)
"""What the tests' ids begin with that share a Ray cluster, which is started once a process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(SERVERS))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Keep files together; marks of pytest-xdist 3.8, which would do it too, have no effect on pytest 9."""
    return ServersTogether(config, log)


class ServersTogether(LoadFileScheduling):
    """Files, and a bundle of those that share the servers, and one of those that share the Ray cluster."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(RAY):
            return RAY[0]
        return SERVERS if nodeid.startswith(SERVERS) else super()._split_scope(nodeid)
