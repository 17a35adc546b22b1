"""The application with its pages, on fakes, as a browser without scripts sees it."""

import html
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def app(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> Flask:
    return make_app(settings, engine, add_pages=add_pages)


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    return app.test_client()


def words(page: str) -> str:
    """Return the text of a page as a person reads it, in one line."""
    body = page.partition('<main id="main" tabindex="-1">')[2].partition("</main>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())
