"""The libraries that are optional: which extra of the distribution brings each, and the error that says so.

The distribution alone has what the converters need. This module and what it serves never import one of these.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ovdiff.errors import MissingExtraError

LIBRARIES = {
    "cpu": (
        "diffusers",
        "flask",
        "huggingface_hub",
        "requests",
        "safetensors",
        "scipy",
        "sklearn",
        "torch",
        "tqdm",
        "transformers",
        "urllib3",
        "waitress",
        "werkzeug",
    ),
    "photographs": ("open_clip", "torchvision"),
    "lora": ("peft",),
    "train": ("tokenizers",),
}
"""Each extra, and the names by which its libraries are imported."""

_EXTRA_OF = {library: extra for extra, libraries in LIBRARIES.items() for library in libraries}


@contextmanager
def naming_the_extra(purpose: str) -> Iterator[None]:
    """Turn the failed import of an optional library into an error with the command that installs it.

    Args:
        purpose: what needs the library; the error begins with it.

    Raises:
        MissingExtraError: a library of :data:`LIBRARIES` is not installed. Any other failed import goes through.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _EXTRA_OF:
            raise
        raise MissingExtraError(purpose, library, _EXTRA_OF[library]) from error
