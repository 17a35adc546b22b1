"""The result of an evaluation as one JSON file: what was evaluated by what, on which machine, and every figure.

Whoever reads a figure can tell how it was found: the words with their prompts, every setting, the identity of the
weights, the versions of the libraries.
"""

import json
import platform
import resource
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from converters.files.atomic import write_whole
from ovdiff.engines import EnginePreset, SegmentationEngine
from ovdiff.engines.learning import engine_state
from ovdiff.engines.registry import ENGINES
from ovdiff.errors import EvaluationError, OVDiffError
from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.run import Failure, Protocol, prototypes_key
from ovdiff.evaluation.sums import Totals
from ovdiff.evaluation.upper_line import SeesTruth
from ovdiff.models.weights import weights_identity
from ovdiff.presets.preset import preset_to_mapping

RESULT = "result.json"
SCHEMA = 1
_LIBRARIES = (
    "ovdiff", "torch", "diffusers", "transformers", "open-clip-torch", "torchvision", "numpy", "scikit-learn", "pillow",
    "pycocotools",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """An evaluation.

    Attributes:
        dataset: its name, how many images it has, whether background counts, what is to be known of it.
        categories: the words that were asked for: name, prompts and kind of each.
        preset: the name, every field, what its engine needs and sees of the truth, and the identity of the weights.
        protocol: what was asked besides the whole vocabulary.
        machine: processor, device, threads, peak memory in MiB, and versions.
        images: the names of the images that were evaluated, in order.
        failed: the images that could not be evaluated, and why.
        figures: what follows from the images: see :class:`ovdiff.evaluation.sums.Totals`.
        seconds: the mean of each step for an image.
    """

    dataset: Mapping[str, Any]
    categories: tuple[Mapping[str, Any], ...]
    preset: Mapping[str, Any]
    protocol: Mapping[str, Any]
    machine: Mapping[str, Any]
    images: tuple[str, ...]
    failed: tuple[Mapping[str, str], ...]
    figures: Mapping[str, Any]
    seconds: Mapping[str, float]
    schema: int = field(default=SCHEMA)

    @property
    def measures(self) -> Mapping[str, Any]:
        """The figures of the whole dataset: see :class:`ovdiff.evaluation.sums.Measures`."""
        found: Mapping[str, Any] = self.figures["measures"]
        return found

    @property
    def sees_truth(self) -> str:
        """What of the truth was given, such as "the truth's boxes"; "" for an engine, which is given nothing of it."""
        return str(self.preset.get("sees_truth", ""))

    def write(self, folder: Path) -> None:
        """Write the result into a folder.

        Raises:
            OSError: it cannot be written.
        """
        write_whole(folder / RESULT, (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode())


def read_result(folder: Path) -> Result:
    """Read the result in a folder.

    Raises:
        EvaluationError: there is none, it is damaged, or another version of ovdiff wrote it.
    """
    path = folder / RESULT
    try:
        mapping = json.loads(path.read_bytes())
        if mapping.get("schema") != SCHEMA:
            raise EvaluationError(
                f"{str(path)!r} is of schema {mapping.get('schema')!r}; this version reads {SCHEMA}. Evaluate anew."
            )
        lists = {name: tuple(mapping[name]) for name in ("categories", "images", "failed")}
        return Result(**{**mapping, **lists})
    except OSError as error:
        raise EvaluationError(
            f"{str(folder)!r} holds no finished evaluation ({error}). `ovdiff evaluate` makes one, and finishes one "
            "that was interrupted."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvaluationError(
            f"{str(path)!r} is damaged: {error}. Evaluate anew; the images' figures are kept."
        ) from error


def result_of(
    engine: SegmentationEngine,
    dataset: Dataset,
    protocol: Protocol,
    images: tuple[str, ...],
    failed: tuple[Failure, ...],
    totals: Totals,
    *,
    device: str,
    workers: int,
) -> Result:
    """Return the result of an evaluation.

    Args:
        engine: the method.
        dataset: what it was evaluated on.
        protocol: what was asked besides the whole vocabulary.
        images: the images that were evaluated.
        failed: those that could not be.
        totals: what follows from the images.
        device: the device's name.
        workers: how many processes evaluated.
    """
    figures = {
        "measures": asdict(totals.measures),
        "categories": [asdict(row) for row in totals.categories],
        "confusion": totals.confusion.tolist(),
        "reliability": asdict(totals.reliability),
    }
    return Result(
        dataset={
            "name": dataset.name,
            "images": len(dataset.images),
            "counts_background": dataset.counts_background,
            "measures": sorted(dataset.measures),
            "notes": list(dataset.notes),
        },
        categories=tuple(
            {"name": each.name, "prompts": list(each.phrases), "kind": each.kind}
            for each in dataset.vocabulary.categories
        ),
        preset={
            "name": engine.preset.name,
            "engine": engine.preset.engine,
            "needs": ENGINES[engine.preset.engine].needs if engine.preset.engine in ENGINES else "",
            "sees_truth": engine.given if isinstance(engine, SeesTruth) else "",
            "fields": preset_to_mapping(engine.preset),
            "weights": weights_of(engine.preset),
            "fingerprint": engine_state(engine, dataset.vocabulary),
            "prototypes": prototypes_key(engine, dataset.vocabulary),
        },
        protocol=asdict(protocol),
        machine=machine(device, workers),
        images=images,
        failed=tuple({"image": each.image, "why": each.why} for each in failed),
        figures=json.loads(json.dumps(figures)),
        seconds=totals.seconds,
    )


def weights_of(preset: EnginePreset) -> dict[str, str]:
    """Return what identifies the weights of each model of a preset; those that are missing are left out."""
    models = getattr(preset, "models", None)
    found = {}
    for name, settings in vars(models).items() if is_dataclass(models) else ():
        try:
            found[name] = weights_identity(settings)
        except (OVDiffError, AttributeError, TypeError):  # a model that is not used, or a table of another kind
            continue
    return found


def machine(device: str, workers: int) -> dict[str, Any]:
    """Return what the figures' seconds depend on, and the versions of the libraries."""
    import torch

    from ovdiff.models.devices import device_name

    name = device_name(device)  # Options may follow it.
    on_gpu = name.startswith("cuda") and torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name(name) if on_gpu else device,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "workers": workers,
        "peak_mib": _peak_mib(on_gpu, name),
        "python": platform.python_version(),
        "versions": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def _peak_mib(on_gpu: bool, device: str) -> float:
    """Return the most memory that the process held so far: of the device's, or else resident, of the largest worker."""
    if on_gpu:
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kib / 1024


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
