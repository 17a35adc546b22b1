"""A head in a folder: ``head.safetensors`` in half precision, and ``head.json``, which says what it was trained for."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from converters.files.atomic import write_whole
from ovdiff.errors import WeightsError
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.naming import Label
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets.mapping import to_mapping

WEIGHTS, CARD = "head.safetensors", "head.json"


@dataclass(frozen=True)
class HeadCard:
    """What a head is.

    Attributes:
        labels: the labels of the training, whose synonyms decide between alpha and beta (C.3).
        architecture: the preset's fields that the weights fit.
        training: how it was made: steps, seed, command, figures. For people.
    """

    labels: tuple[Label, ...]
    architecture: dict[str, Any]
    training: dict[str, Any]

    def words(self) -> frozenset[str]:
        """Return all words of the training, casefolded."""
        return frozenset(word.casefold() for label in self.labels for word in label.synonyms)


_TAPS = frozenset(("vae_encoder", "vae_decoder", "unet", "strides", "input_px", "fitting", "timestep", "noise_seed"))


def architecture(preset: OdisePreset) -> dict[str, Any]:
    """Return the preset's fields that the weights of a head fit, by name: their shapes, and what they were fed with."""
    generator, names = to_mapping(preset.mask_generator), to_mapping(preset.classifier)
    generator.pop("dropout")
    kept = ("embedding", "mlp_layers", "projection", "void")
    taps = {name: value for name, value in to_mapping(preset.taps).items() if name in _TAPS}
    return {
        **{f"mask_generator.{name}": value for name, value in generator.items()},
        **{f"classifier.{name}": names[name] for name in kept},
        **{f"taps.{name}": value for name, value in taps.items()},
        **{f"captioner.{name}": getattr(preset.captioner, name) for name in ("condition", "standardise", "statistics")},
    }


def write_head(folder: Path, weights: dict[str, Tensor], card: HeadCard) -> None:
    """Write a head; each of the two files appears whole.

    Where another head is replaced, its card goes first: weights are never beside the card of other words, and a
    process that is killed in between leaves a folder that is refused.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_of_same_words(folder, card):
        (folder / CARD).unlink(missing_ok=True)
    half = {name: value.half().contiguous().cpu() for name, value in weights.items()}
    write_whole(folder / WEIGHTS, save(half))
    write_whole(folder / CARD, (json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n").encode())


def _is_of_same_words(folder: Path, card: HeadCard) -> bool:
    """Say whether the head in a folder is of the same labels and architecture, as an earlier one of a training is."""
    try:
        there = read_card(folder)
    except WeightsError:
        return False
    return (there.labels, there.architecture) == (card.labels, card.architecture)


def read_card(folder: Path) -> HeadCard:
    """Read what a head was trained for.

    Raises:
        WeightsError: there is no such file, or it is damaged.
    """
    try:
        found = json.loads((folder / CARD).read_text("utf-8"))
        labels = tuple(Label(each["name"], tuple(each["synonyms"]), bool(each["stuff"])) for each in found["labels"])
        return HeadCard(labels, dict(found["architecture"]), dict(found["training"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder / CARD} does not say what the head was trained for ({type(error).__name__}: {error}). Give a "
            f"folder that `ovdiff odise train` wrote."
        ) from error


def load_head(folder: Path, head: OdiseHead, preset: OdisePreset) -> HeadCard:
    """Load the weights of a folder into an untrained head, and return its card.

    Raises:
        WeightsError: the files are missing or damaged, or are of another architecture than the preset's; the message
            names the field.
    """
    card = read_card(folder)
    for name, value in architecture(preset).items():
        # A card that does not say a field is an older one; the shapes of the weights are compared in any case.
        if (found := card.architecture.get(name, value)) != value:
            raise WeightsError(f"The head in {folder} has {name} = {found!r}; preset {preset.name!r} has {value!r}.")
    try:
        weights = load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors raises its own errors, which are no OSError.
        raise WeightsError(f"{folder / WEIGHTS} cannot be read: {error}") from error
    expected = head.state_dict()
    wrong = [name for name in expected if name not in weights or weights[name].shape != expected[name].shape]
    if wrong or set(weights) - set(expected):
        name = (wrong or sorted(set(weights) - set(expected)))[0]
        raise WeightsError(f"{folder / WEIGHTS} does not fit the preset {preset.name!r}: tensor {name!r}.")
    head.load_state_dict({name: value.to(torch.float32) for name, value in weights.items()})
    return card
