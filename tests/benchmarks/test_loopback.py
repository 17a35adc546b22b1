import json
import urllib.error
import urllib.request

import pytest

from benchmarks.loopback import served


def test_what_is_asked_is_answered_until_the_block_ends() -> None:
    def answer(method: str, path: str, sent: object) -> bytes:
        return json.dumps([method, path, sent]).encode()

    with served(answer) as url:
        with urllib.request.urlopen(f"{url}/a?b=1") as response:
            assert json.load(response) == ["GET", "/a?b=1", None]
        with urllib.request.urlopen(f"{url}/c", data=b'{"d": 2}') as response:
            assert json.load(response) == ["POST", "/c", {"d": 2}]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/a", timeout=5)
