"""Does the generator know the word? CLIP's agreement on the 19 words of the drawn world, and on words it does not know.

Command: ``python -m benchmarks.tinyworld_words --seeds 42 43 44 --out benchmarks/results/tinyworld_words.json``; it
prints a Markdown table. ``anchors.doubtful_below`` and ``anchors.near_cosine`` were chosen on seeds 45 and 46. It takes
about two seconds for each word and seed on a free core. ``--generator FOLDER`` measures other weights.

A word that the world knows should never be doubtful, and an unknown word always. "floor" and "mountain" are drawn in
the world, but are no words of its vocabulary, so they are in neither list.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ovdiff.bank.judgement import Judgement
from ovdiff.building.drawing import draw_images
from ovdiff.building.judging import judge_images
from ovdiff.building.parts import BuildingParts
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.tinyworld.world import STUFF, THINGS

KNOWN = (*THINGS, *STUFF)
UNKNOWN = ("crab", "horse", "piano", "banana", "bus", "chair", "person", "dog")


def judgements(preset: Preset, models: LoadedModels, words: Sequence[str]) -> Iterator[tuple[str, Judgement]]:
    """Yield each word with its judgement; the support images are drawn and not kept."""
    parts = BuildingParts(preset, models)
    for word in words:
        drawn = draw_images(parts, [word], None, lambda _done: None)
        found = judge_images(parts, [item.image for batch in drawn for item in batch.images], [word], "")
        if found is not None:
            yield word, found


def summary(rows: dict[str, dict[str, Judgement]]) -> dict[str, Any]:
    """Return how many known and unknown words are doubtful, over all seeds, and the extremes of the shares."""
    found: dict[str, Any] = {}
    for name, words in (("known", KNOWN), ("unknown", UNKNOWN)):
        judged = [one for word in words for one in rows.get(word, {}).values()]
        if judged:
            shares = [one.share for one in judged]
            doubtful = sum(one.is_doubtful for one in judged)
            found[name] = {"judged": len(judged), "doubtful": doubtful, "lowest": min(shares), "highest": max(shares)}
    return found


def table(rows: dict[str, dict[str, Judgement]], seeds: Sequence[int]) -> str:
    """Return a Markdown table: the images that CLIP takes for each word, by seed; doubtful ones are marked."""
    lines = [f"| word | {' | '.join(f'seed {seed}' for seed in seeds)} |", f"| --- |{' --- |' * len(seeds)}"]
    for word, by_seed in rows.items():
        cells = (_cell(by_seed.get(str(seed))) for seed in seeds)
        lines.append(f"| {word} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: Judgement | None) -> str:
    if found is None:
        return ""
    rival = f", {found.rival!r}" if found.rival else ""
    return f"{found.agreeing}/{found.images} {'doubtful' if found.is_doubtful else ''} ({found.margin:+.2f}{rival})"


def main() -> None:
    """Measure, print a table and write the figures after each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--words", nargs="+", default=[*KNOWN, *UNKNOWN])
    parser.add_argument("--generator", default="tinyworld:stable_diffusion", help="source of the weights that draw")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset, models = load_preset("tinyworld"), LoadedModels()
    source = replace(preset.models, generator=replace(preset.models.generator, source=options.generator))
    rows: dict[str, dict[str, Judgement]] = {word: {} for word in options.words}
    for seed in options.seeds:
        seeded = replace(preset, models=source, generation=replace(preset.generation, seed=seed))
        for word, found in judgements(seeded, models, options.words):
            rows[word][str(seed)] = found
            print(f"seed {seed}: {word}: {_cell(found)}", flush=True)
        if options.out:
            _write(options.out, rows, preset)
    print(table(rows, options.seeds))
    print(json.dumps(summary(rows)))


def _write(path: Path, rows: dict[str, dict[str, Judgement]], preset: Preset) -> None:
    judged = {
        word: {seed: {**asdict(found), "share": found.share} for seed, found in by_seed.items()}
        for word, by_seed in rows.items()
    }
    settings = {
        "near_cosine": preset.anchors.near_cosine,
        "doubtful_below": preset.anchors.doubtful_below,
        "same_cosine": preset.anchors.same_cosine,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"settings": settings, "summary": summary(rows), "words": judged}
    path.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
