"""The fixtures of these tests are those of all tests on fakes."""

from tests.fakes.fixtures import app, engine, label_studio, make_app, service, settings

__all__ = ["app", "engine", "label_studio", "make_app", "service", "settings"]
