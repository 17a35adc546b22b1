from pathlib import Path

from backend.command.refusals import cannot
from tests.fakes.engine import FakeEngine


def test_a_refusal_names_engine_and_preset_and_says_what_can(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, name="mine")
    assert str(cannot(engine, "makes no forecasts")) == (
        "The engine 'fake' of the preset 'mine' makes no forecasts. Take a preset of the engine ovdiff, such as "
        "tinyworld or fast."
    )
    assert str(cannot(engine, "does not learn", "train it")).endswith("such as tinyworld or fast, or train it.")
