import pytest

from backend.demo.engines import ENGINES, HINTS
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
