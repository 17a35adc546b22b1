"""Train the CLIPModel on images, and on captions that name some or all parts of an image.

Command: ``python -m ovdiff.tinyworld.training.clip RUNS``. The loss of the first round is InfoNCE, in which a caption
is no negative for an image of which it is also true. In the second round, half of which are crowded scenes, the caption
that names exactly the things of an image competes with captions that leave a thing out, add one or exchange one.

Without the second round the model rarely preferred the complete caption of a scene of three things, and the prefilter's
second stage dropped things that were there. After a second round on crowded scenes alone, the model no longer
recognised scenes of one thing.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from ovdiff.tinyworld.captions import full_caption, template, thing_phrase
from ovdiff.tinyworld.training import tokenizer as tokenizers
from ovdiff.tinyworld.training.data import COUNT, SIZE_PX, load_training_set
from ovdiff.tinyworld.training.data import main as render_scenes
from ovdiff.tinyworld.training.loop import ON_THE_CPU, Place, Plan, to_input, train
from ovdiff.tinyworld.world import COLOURS, NAMES, THINGS

PLAN = Plan(steps=2600, batch=128, learning_rate=1.5e-3, ema_decay=0.99, seed=2)
SECOND_PLAN = Plan(steps=2800, batch=112, learning_rate=8e-4, warmup=50, ema_decay=0.98, seed=7)
CROWDED = 14_000
"""The number of scenes of the second round, each with three things if they fit. They are numbered after the first's."""
_RIVALS = 5
_FACTS = [*NAMES, *((thing, colour) for thing in THINGS for colour in COLOURS)]
_FACT_INDEX = {fact: i for i, fact in enumerate(_FACTS)}
Thing = tuple[str, str | None]


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Build the untrained model: text 128 x 2, vision 128 x 4 with patches of 8 pixels, projection 96."""
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": tokenizers.MAX_LENGTH, "projection_dim": 96,
        "pad_token_id": tokenizer.pad_token_id, **special,
    }  # fmt: skip
    vision = {
        "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4,
        "image_size": SIZE_PX, "patch_size": 8, "projection_dim": 96,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=96, attn_implementation="eager")
    return CLIPModel(config)


def _facts(things: list[Thing], regions: list[str]) -> NDArray[np.bool_]:
    """Return which facts hold of a scene, as a vector over names and (thing, colour) pairs."""
    facts = np.zeros(len(_FACTS), dtype=bool)
    for name, colour in things:
        facts[_FACT_INDEX[name]] = True
        if colour:
            facts[_FACT_INDEX[name, colour]] = True
    facts[[_FACT_INDEX[region] for region in regions]] = True
    return facts


def _caption(
    rng: np.random.Generator, things: list[tuple[str, str]], regions: list[str]
) -> tuple[str, list[Thing], list[str]]:
    """Choose a caption, and return it with the things and regions that it names."""
    kind = rng.random()
    if kind < 0.15 or (not things and kind < 0.4):
        return full_caption(rng, things, regions), list(things), regions
    said: list[Thing] = [(name, colour if rng.random() < 0.4 else None) for name, colour in things]
    areas: list[str] = []
    if kind > 0.65 or not things:
        everything: list[Thing | str] = [*said, *regions]
        keep = rng.permutation(len(everything))[: int(rng.integers(1, min(3, len(everything)) + 1))]
        said = [item for i in keep if not isinstance(item := everything[i], str)]
        areas = [item for i in keep if isinstance(item := everything[i], str)]
    said = [said[i] for i in rng.permutation(len(said))]
    phrases = [thing_phrase(name, colour) for name, colour in said] + [f"a {area}" for area in areas]
    return template(rng).format(" and ".join(phrases)), said, areas


def _contrast(logits: Tensor, positive: Tensor) -> Tensor:
    """Return InfoNCE with other positives left out of the denominator; ``positive`` (B, B) bool says which they are."""
    other = positive & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    masked = logits.masked_fill(other, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(masked, target) + F.cross_entropy(masked.T, target)) / 2


def main(runs: Path, place: Place = ON_THE_CPU) -> None:
    """Train and leave the checkpoints ``runs/clip.pt`` and ``runs/clip_second.pt``."""
    data, tokenizer = load_training_set(runs), tokenizers.build()
    torch.manual_seed(PLAN.seed)
    model = build(tokenizer).to(place.device)

    def step(number: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = np.sort(rng.choice(len(data), PLAN.batch, replace=False))
        rows = [_caption(rng, data.things[i], data.regions[i]) for i in chosen]
        holds = np.stack([_facts(list(data.things[i]), data.regions[i]) for i in chosen])
        stated = np.stack([_facts(said, areas) for _, said, areas in rows])
        positive = torch.from_numpy(~(stated[None, :, :] & ~holds[:, None, :]).any(-1)).to(place.device)
        images = data.images[chosen]
        mirrored = rng.random(PLAN.batch) < 0.5
        images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        texts = tokenizer([caption for caption, _, _ in rows], padding=True, return_tensors="pt").to(place.device)
        out = model(input_ids=texts.input_ids, attention_mask=texts.attention_mask,
                    pixel_values=to_input(images).contiguous().to(place.device))  # fmt: skip
        loss = _contrast(out.logits_per_image.float(), positive)
        right = (
            positive[torch.arange(PLAN.batch, device=place.device), out.logits_per_image.argmax(dim=1)].float().mean()
        )
        return loss, {"loss": loss.item(), "right": right.item(), "scale": model.logit_scale.exp().item()}

    train("clip", model, step, PLAN, runs, place)
    _second_round(model, tokenizer, runs, place)


def _rivals(rng: np.random.Generator, things: list[tuple[str, str]]) -> list[str]:
    """Return the caption of exactly these things, and then wrong captions: a thing is left out, added or exchanged."""
    names = list(dict.fromkeys(name for name, _ in things))
    absent = [name for name in THINGS if name not in names]
    colours = dict(things) if rng.random() < 0.3 else {}
    chosen = template(rng)

    def caption(said: list[str]) -> str:
        ordered = [said[i] for i in rng.permutation(len(said))]
        return chosen.format(" and ".join(thing_phrase(name, colours.get(name)) for name in ordered))

    captions = [caption(names)]
    while len(captions) <= _RIVALS:
        gone, new = rng.choice(names), str(rng.choice(absent))
        kept = [name for name in names if name != gone]
        change = len(captions) % 3 if len(names) > 1 else 1 + len(captions) % 2
        captions.append(caption([kept, [*names, new], [*kept, new]][change]))
    return captions


def _second_round(model: CLIPModel, tokenizer: CLIPTokenizer, runs: Path, place: Place) -> None:
    """Continue the training on crowded and usual scenes, and leave the checkpoint ``runs/clip_second.pt``."""
    if not (runs / "crowded" / "seen.json").exists():
        render_scenes(runs / "crowded", CROWDED, things=3, first=COUNT)
    halves = [load_training_set(runs / "crowded"), load_training_set(runs)]
    usable = [np.array([i for i, things in enumerate(half.things) if things]) for half in halves]

    def step(number: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        things, regions, images = [], [], []
        for half, rows in zip(halves, usable, strict=True):
            chosen = rng.choice(rows, SECOND_PLAN.batch // 2, replace=False)
            things += [half.things[i] for i in chosen]
            regions += [half.regions[i] for i in chosen]
            images.append(half.images[chosen])
        captions = [caption for seen in things for caption in _rivals(rng, seen)]
        texts = tokenizer(captions, padding=True, return_tensors="pt").to(place.device)
        out = model(
            input_ids=texts.input_ids,
            attention_mask=texts.attention_mask,
            pixel_values=to_input(np.concatenate(images)).contiguous().to(place.device),
        )
        logits = out.logits_per_image.float().view(SECOND_PLAN.batch, SECOND_PLAN.batch, _RIVALS + 1)
        own = logits.diagonal().T
        first = torch.zeros(SECOND_PLAN.batch, dtype=torch.long, device=place.device)
        exact = F.cross_entropy(own, first)
        # Exact captions compete among the images of the batch too, so that scenes of one thing are not forgotten.
        holds = np.stack([_facts(list(seen), areas) for seen, areas in zip(things, regions, strict=True)])
        names = holds[:, : len(NAMES)] & np.isin(NAMES, THINGS)
        positive = torch.from_numpy(~(names[None] & ~names[:, None]).any(-1)).to(place.device)
        loss = exact + _contrast(logits[:, :, 0], positive)
        right = (own.argmax(dim=1) == 0).float().mean()
        return loss, {"loss": loss.item(), "exact": exact.item(), "right": right.item()}

    train("clip_second", model, step, SECOND_PLAN, runs, place)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main(Path(sys.argv[1]))
