"""The same service under label-studio-ml 2.x, for those whose deployment is built around it.

That framework makes an instance of a model class for each request, so the class made here holds nothing: it hands
everything to one `Service`, which lives as long as the process.

    # model.py
    from backend.serving.label_studio_ml import adapter_class, make_service
    OVDiff = adapter_class(make_service())

Version 2 exists only in the repository HumanSignal/label-studio-ml-backend; what the package index has under that
name is 1.0.9, of 2022, with another interface. Its server answers errors with tracebacks, has no limits, and shortens
project names to their number; prefer `ovdiff serve` where there is a choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.serving.app import create_app
from backend.serving.predictions import Item, Task
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
    """Return a `LabelStudioMLBase` that answers with a service.

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
        """Hands each request to the service."""

        def setup(self) -> None:
            """Prepare the project and tell the framework the model version."""
            if self.label_config:
                self.set("model_version", service.setup(self.project_id, self.label_config)["model_version"])

        def predict(self, tasks: Sequence[Task], context: Mapping[str, Any] | None = None, **_: Any) -> list[Item]:
            """Return one item a task."""
            return service.predict(self.project_id, tasks, self.label_config or "", context)

        def fit(self, event: str, data: Mapping[str, Any], **_: Any) -> dict[str, str]:
            """Take note of an event."""
            return service.event(event, data)

    return OVDiffBackend
