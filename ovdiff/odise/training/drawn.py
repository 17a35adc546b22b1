"""Train a head on drawn scenes: the embedded one, and those that the benchmarks compare it with.

Command: ``python -m ovdiff.odise.training.drawn RUNS --out FOLDER``. Two rounds: in the first the captioner learns with
the rest; in the second it is frozen, so that the UNet runs once a view and not once a step. An interrupted run
continues. The scenes have numbers of their own, which no other training and no benchmark uses.
"""

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovdiff.models.loaded import LoadedModels
from ovdiff.models.weights import weights_identity
from ovdiff.odise.encoding import cut
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.head_file import HeadCard, architecture, write_head
from ovdiff.odise.naming import Label
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.examples import Example, fitted_segments, with_nameless
from ovdiff.odise.training.feature_store import FeatureStore, View
from ovdiff.odise.training.grounding import true_of_others
from ovdiff.odise.training.trainer import CaptionWords, Trainer
from ovdiff.presets.files import read_preset
from ovdiff.presets.mapping import build, digest, to_mapping
from ovdiff.tinyworld.captions import full_caption
from ovdiff.tinyworld.training.data import viewport
from ovdiff.tinyworld.world import STUFF, THINGS, UNNAMED, render, sample_scene, segments_of

_log = logging.getLogger(__name__)

WORDS = (*THINGS, *STUFF)
"""The labels of the drawn world, in the order of the vocabulary."""
FIRST_SCENE = 1_000_000
VIEWS = 8000
_SIDE_PX = 64
_VISIBLE_SHARE = 0.012


def drawn_view(number: int, labels: Sequence[str], preset: OdisePreset) -> View:
    """Draw a view for training: 60 % show a whole scene, 40 % a part of one; 40 % ask for three things."""
    rng = np.random.default_rng([11, number])
    scene = sample_scene(FIRST_SCENE + number, "train", 3 if rng.random() < 0.4 else None)
    rendering = render(scene, _SIDE_PX, viewport(rng, whole=0.6))
    ids, names = segments_of(rendering)
    known = [labels.index(name) if name in labels else None for name in names]
    numbers = np.zeros(len(names) + 1, dtype=np.int32)
    kept = [i for i, label in enumerate(known, 1) if label is not None]
    numbers[kept] = np.arange(1, len(kept) + 1)
    example = Example(rendering.image, numbers[ids], tuple(label for label in known if label is not None))
    if preset.loss.void == "nameless":
        example = with_nameless(example, preset.loss.nameless_area)
    segments, fitted = fitted_segments(example.segment_map, example.names, preset.training.mask_px)
    visible = rendering.visible(_VISIBLE_SHARE)
    things = [(thing.name, thing.colour) for thing in scene.things if thing.name in visible]
    caption = full_caption(rng, things, [name for name in visible if name not in THINGS])
    return View(cut(rendering.image, preset.taps)[0], segments, fitted, [caption], number)


class CaptionNouns:
    """Draws words from the captions of drawn scenes, whose nouns are the world's names."""

    def __init__(self, parts: OdiseParts, without: Sequence[str], preset: OdisePreset) -> None:
        """Embed the names, but those ``without``, which nobody has ever said."""
        names = [name for name in (*WORDS, *UNNAMED) if name not in without]
        labels = [Label(name, (name,), stuff=False) for name in names]
        vectors = parts.label_texts(labels, ("a photo of a {category}.",)).embeddings
        self._vectors = dict(zip(names, vectors, strict=True))
        self._count = preset.loss.words

    def __call__(self, captions: Sequence[Sequence[str]], rng: np.random.Generator) -> CaptionWords:
        """Draw the words of each view's first caption, with replacement (C.2)."""
        heard = [[word for word in first.split() if word in self._vectors] or ["sky"] for first, *_ in captions]
        drawn = [[nouns[i] for i in rng.integers(0, len(nouns), self._count)] for nouns in heard]
        embeddings = torch.stack([torch.stack([self._vectors[word] for word in words]) for words in drawn])
        return CaptionWords(embeddings, true_of_others(list(map(frozenset, drawn)), list(map(frozenset, heard))))


def preset_of(options: argparse.Namespace) -> OdisePreset:
    """Return the embedded preset with what the command line changes."""
    preset = build(OdisePreset, read_preset("odise_tinyworld"), "The embedded preset", {})
    names, loss = preset.classifier, preset.loss
    if options.captions:
        names, loss = replace(names, void="objectness"), replace(loss, grounded="matched")
    if options.without:
        loss = replace(loss, void="nameless")
    captioner = replace(preset.captioner, condition="learned" if options.captioner_steps else "null")
    kept: dict[str, Any] = {
        part: tuple(tap for tap in getattr(preset.taps, part) if not {part, tap} & set(options.without_taps))
        for part in ("vae_encoder", "vae_decoder", "unet")
    }
    return replace(preset, taps=replace(preset.taps, **kept), classifier=names, loss=loss, captioner=captioner)


def keys_of(options: argparse.Namespace, preset: OdisePreset) -> tuple[str, str, str]:
    """Return what identifies the features and the two rounds: weights, tables of the preset, options."""
    frozen = {name: weights_identity(getattr(preset.models, name)) for name in ("diffusion", "clip")}
    of_views = {name: to_mapping(getattr(preset, name)) for name in ("taps", "captioner", "loss")}
    views = digest([frozen, of_views, preset.training.mask_px, options.views, list(options.without)])
    tables = {name: to_mapping(getattr(preset, name)) for name in ("mask_generator", "classifier", "training")}
    first = digest([views, tables, options.seed, options.captioner_steps, options.captions])
    return views, first, digest([first, options.steps])


def train_head(options: argparse.Namespace) -> None:
    """Train as the command line says, and write the head."""
    torch.set_num_threads(1)
    preset, begun = preset_of(options), time.monotonic()
    parts = OdiseParts(preset, LoadedModels())
    labels = [word for word in WORDS if word not in options.without]
    views, first, second = keys_of(options, preset)
    runs = options.runs / views[:12]
    store = FeatureStore(runs / "features", views)
    store.fill(partial(drawn_view, labels=labels, preset=preset), options.views, parts.encoder, _told("features"))
    torch.manual_seed(options.seed)
    head, weights = parts.new_head(), {}
    head.names.begin_null(parts.label_texts([Label("", ("",), stuff=False)], ("{category}",)).embeddings[0])
    rounds = [(options.captioner_steps, "first", first), (options.steps, "second", second)]
    for steps, name, key in rounds:
        if not steps:
            continue
        if name == "second":
            frozen = None if head.captioner is None else head.captioner.requires_grad_(False)
            store.fill_unet(parts.encoder, frozen, first[:16], _told("UNet"))
        weights = _round(
            preset,
            options,
            head,
            parts,
            store,
            labels,
            runs / f"{key[:12]}-{name}.pt",
            key,
            steps,
        )
        head.load_state_dict(weights)
    training = {**vars(options), "minutes": round((time.monotonic() - begun) / 60, 1)}
    card = HeadCard(
        tuple(Label(word, (word,), word in STUFF) for word in labels),
        architecture(preset),
        {name: value for name, value in training.items() if name not in ("runs", "out")},
    )
    write_head(options.out, weights, card)


def _round(
    preset: OdisePreset,
    options: argparse.Namespace,
    head: OdiseHead,
    parts: OdiseParts,
    store: FeatureStore,
    labels: Sequence[str],
    checkpoint: Path,
    key: str,
    steps: int,
) -> dict[str, Tensor]:
    plan = replace(preset.training, steps=steps, seed=options.seed)
    grid = cut(np.zeros((_SIDE_PX, _SIDE_PX, 3), np.uint8), preset.taps)[1]
    texts = parts.label_texts([Label(word, (word,), stuff=False) for word in labels], preset.classifier.templates)
    words = CaptionNouns(parts, options.without, preset) if options.captions else None
    trainer = Trainer(
        replace(preset, training=plan),
        head,
        parts.encoder,
        store,
        grid,
        None if options.captions else texts,
        words,
        checkpoint,
        {"the training": key},
        frozenset(number for number, word in enumerate(labels) if word in STUFF),
    )
    return trainer.run(steps, _report)


def _report(step: int, figures: dict[str, float]) -> None:
    if step % 50 == 0:
        _log.info("step %d: %s", step, " ".join(f"{name} {value:.3f}" for name, value in figures.items()))


def _told(what: str) -> Callable[[float], None]:
    def tell(done: float) -> None:
        if done == 1 or int(done * 1000) % 100 == 0:
            _log.info("%s: %.0f %%", what, 100 * done)

    return tell


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a head on drawn scenes.")
    parser.add_argument("runs", type=Path, help="a folder for features (3 GB) and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="the head's folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--captioner-steps", type=int, default=400, help="steps with a learning captioner; 0: null text"
    )
    parser.add_argument("--steps", type=int, default=2000, help="steps with a frozen captioner")
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--without", type=lambda text: tuple(text.split(",")), default=(), help="words to leave out")
    parser.add_argument(
        "--without-taps",
        type=lambda text: tuple(text.split(",")),
        default=(),
        help="taps to leave out, by their names or by their field of the preset, such as vae_decoder",
    )
    parser.add_argument("--captions", action="store_true", help="learn names from captions")
    return parser.parse_args()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train_head(_arguments())
