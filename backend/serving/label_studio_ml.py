"""The same service under label-studio-ml 2.x, for deployments that are built around that framework.

The framework makes an instance of a model class for each request. The class made here therefore holds no state: it
passes every request to one `Service`, which lives as long as the process.

    # model.py
    from backend.serving.label_studio_ml import adapter_class, make_service
    OVDiff = adapter_class(make_service())

Version 2 exists only in the repository HumanSignal/label-studio-ml-backend; the package index has version 1.0.9 of
2022, with another interface. The framework's server answers errors with tracebacks, has no limits, and shortens
project names to their number. Prefer `ovdiff serve` where there is a choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flask

from backend.serving.http.app import create_app
from backend.serving.predicting.predictions import Item, Task
from backend.serving.service import Service
from backend.settings import read_settings

INSTALL = (
    "label-studio-ml 2.x is needed: install it from its repository, HumanSignal/label-studio-ml-backend "
    "(the package index has only 1.x). `ovdiff serve` works without it."
)


def make_service() -> Service:
    """Return a started service with the settings of the environment."""
    service: Service = create_app(read_settings()).extensions["ovdiff"]
    return service


def adapter_class(service: Service) -> type[Any]:
    """Return a subclass of `LabelStudioMLBase` that passes its requests to a service.

    Raises:
        ImportError: label-studio-ml is not installed or is 1.x.
    """
    try:
        from label_studio_ml.model import LabelStudioMLBase
    except ImportError as error:
        raise ImportError(INSTALL) from error
    if not hasattr(LabelStudioMLBase, "use_label_config"):
        raise ImportError(INSTALL)

    class OVDiffBackend(LabelStudioMLBase):
        """Passes each request to the service."""

        own_config = ""

        def use_label_config(self, label_config: str) -> None:
            """Remember the label config of this request; the framework keeps one that all requests share."""
            self.own_config = label_config
            super().use_label_config(label_config)

        def setup(self) -> None:
            """Tell the framework the model version, and prepare the project if the request is a /setup.

            The framework calls this for every request, also for /predict, whose label config may be an old one, and
            for /webhook, whose label config anybody may have sent.
            """
            if not self.own_config:
                return
            if _is_setup_request():
                version = service.setup(self.project_id, self.own_config)["model_version"]
            else:
                version = service.version_of(self.own_config)
            self.set("model_version", version)

        def predict(self, tasks: Sequence[Task], context: Mapping[str, Any] | None = None, **_: Any) -> list[Item]:
            """Return one item for each task."""
            return service.predict(self.project_id, tasks, self.own_config, context)

        def fit(self, event: str, data: Mapping[str, Any], **_: Any) -> dict[str, str]:
            """Record an event."""
            return service.event(event, data)

    return OVDiffBackend


def _is_setup_request() -> bool:
    return flask.has_request_context() and flask.request.path.rstrip("/").endswith("/setup")
