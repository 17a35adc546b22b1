from pathlib import Path

import pytest

from backend.demo.engines import ENGINES, HINTS, Abilities, abilities
from backend.settings.environment import read_settings
from ovdiff.engines import load_any_preset


def test_each_engine_has_settings_that_load_and_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(ENGINES) == set(HINTS)
    for name, environment in ENGINES.items():
        with monkeypatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            settings = read_settings()
        assert load_any_preset(settings.preset).engine == name
        assert settings.output.regions_per == ("object" if name == "odise" else "category")


@pytest.mark.slow
def test_what_an_engine_can_do_is_asked_of_itself(tmp_path: Path) -> None:
    assert {name: abilities(environment, tmp_path / "bank") for name, environment in ENGINES.items()} == {
        "ovdiff": Abilities(makes_prototypes=True, finds_objects=False),
        "odise": Abilities(makes_prototypes=False, finds_objects=True),
    }
    per_object = {**ENGINES["ovdiff"], "OVDIFF_REGIONS_PER": "object"}
    assert abilities(per_object, tmp_path / "bank") == Abilities(makes_prototypes=True, finds_objects=True)
