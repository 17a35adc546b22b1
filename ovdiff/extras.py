"""The optional libraries: which extra of the distribution installs each, and the error that names this extra.

Without extras the distribution installs the libraries that the converters need. This module imports none of the
optional libraries. It is tested by tests/boundaries/test_extras.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ovdiff.errors import MissingExtraError

LIBRARIES = {
    "cpu": (
        "certifi",
        "diffusers",
        "flask",
        "huggingface_hub",
        "itsdangerous",
        "markupsafe",
        "prometheus_client",
        "requests",
        "safetensors",
        "scipy",
        "shtab",
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
    "crf": ("pydensecrf",),
    "cloud": ("fsspec", "s3fs"),
    "azure": ("adlfs",),
    "google": ("gcsfs",),
    "ray": ("pyarrow", "ray"),
    "train": ("tokenizers",),
}
"""For each extra, the names by which its libraries are imported."""

_EXTRA_OF = {library: extra for extra, libraries in LIBRARIES.items() for library in libraries}


@contextmanager
def naming_the_extra(purpose: str) -> Iterator[None]:
    """Turn the failed import of an optional library into an error with the command that installs it.

    Args:
        purpose: the part that needs the library; the error's message begins with it.

    Raises:
        MissingExtraError: a library of :data:`LIBRARIES` is not installed. Other failed imports keep their own error.
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
