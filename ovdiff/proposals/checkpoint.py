"""A detector's checkpoint: which weights its file holds, and whether these are the model's.

Nothing is unpickled: ``.safetensors`` files hold only tensors, and other files are read with ``weights_only=True``.
"""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ovdiff.errors import WeightsError

_CONSTANTS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.")
"""Entries that older versions of detectron2 stored beside the weights. They are constants, which are computed here."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return a checkpoint's weights by name: the tensors under its key "model", or else the tensors at its top.

    Raises:
        WeightsError: the file cannot be read without unpickling code, or holds anything but tensors.
    """
    try:
        content = _read(path)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise WeightsError(
            f"{path} cannot be read as a checkpoint: {reason} "
            f"Give a .safetensors file, or a file that torch.load reads with weights_only=True. If you trust a pickle "
            f"of other objects, load it yourself and save its tensors in one of these formats."
        ) from error
    weights = content.get("model", content) if isinstance(content, Mapping) else content
    if not isinstance(weights, Mapping) or not weights:
        raise WeightsError(f"{path} holds {_kind(weights)}; expected tensors by name, at its top or under 'model'.")
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise WeightsError(f"{path} holds {_kind(value)} under {name!r}; expected nothing but tensors.")
    return {str(name): value for name, value in weights.items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a model; the names must be exactly those of the model.

    Args:
        model: the model, which may be on the meta device. The weights keep their dtype.
        weights: the weights by name.
        path: the file of the weights, for the error's message.

    Raises:
        WeightsError: entries are missing, unknown or of another shape. The message gives their number and the first.
    """
    weights = {name: value for name, value in weights.items() if not name.startswith(_CONSTANTS)}
    expected = model.state_dict()
    shapes = [
        f"{name!r} {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    problems = [
        *_problem("missing", [repr(name) for name in expected.keys() - weights.keys()]),
        *_problem("unknown", [repr(name) for name in weights.keys() - expected.keys()]),
        *_problem("of another shape", shapes),
    ]
    if problems:
        raise WeightsError(
            f"{path} is not a checkpoint of this {type(model).__name__} with its {len(expected)} entries: "
            f"{'; '.join(problems)}. Give the file that belongs to the model."
        )
    model.load_state_dict(weights, assign=True)


def _problem(what: str, entries: Iterable[str]) -> list[str]:
    found = sorted(entries)
    return [f"{len(found)} {what}, such as {found[0]}"] if found else []


def _kind(value: Any) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"something of type {type(value).__name__}"


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
