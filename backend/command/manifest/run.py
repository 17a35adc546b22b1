"""`ovdiff segment --manifest`: segment the images of a manifest, a shard at a time, and go on where a run was ended."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend import __version__
from backend.command.complaints import Complaints
from backend.command.console import Progress, complain, notice, progress_bar, say
from backend.command.manifest.making import Making, RowResult, shard_of
from backend.command.manifest.reading import Manifest
from backend.command.manifest.rows import BadRow, Batch, RowMaker, batches
from backend.command.manifest.shards import ShardFolder
from backend.command.manifest.working import Item, Results, working
from backend.command.plan import Wanted
from backend.command.prototypes import build_missing, say_aside, say_missing_anchors
from backend.command.segment import require_finder
from backend.errors import LabelStudioDownError, LabelStudioSlowError, RequestError, UsageError
from backend.serving.model_version import HASH_DIGITS, PREFIX
from converters.console import answer
from converters.files.json_values import Json, JsonObject
from converters.files.output import JsonList
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.learning import engine_state
from ovdiff.errors import StorageError
from ovdiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from backend.command.on_processes import Segmenters
    from backend.command.on_ray import OnRay

AGAIN = "Run the same command again: finished shards stay, and it goes on with the others."
MENDED = "Finished shards stay: when that is mended, the same command goes on with the others."
FEWEST_ROWS = 10  # of which none can be segmented, before a run ends: then something else is wrong than these rows


@dataclass(frozen=True)
class Orders:
    """What somebody wants of a run.

    Attributes:
        manifest: where the rows are.
        folder: where the shards go.
        wanted: what is asked for of an image.
        shard_rows: how many rows are a shard.
        retry_failed: whether shards are made anew in which images failed.
        overwrite: whether shards of another run are made anew, too.
    """

    manifest: Manifest
    folder: ShardFolder
    wanted: Wanted
    shard_rows: int
    retry_failed: bool = False
    overwrite: bool = False


def prepare(engine: SegmentationEngine, vocabulary: Vocabulary, wanted: Wanted, ray: OnRay | None = None) -> str:
    """Make the prototypes that are missing, and return the model version of what follows.

    The version holds a hash of all that decides about the results besides rows and images.

    Raises:
        UsageError: objects are wanted, but the engine does not tell them apart.
        OVDiffError: prototypes cannot be made or read.
    """
    require_finder(engine, wanted)
    build_missing(vocabulary.categories, engine, ray=ray)
    say_missing_anchors(engine)
    say_aside(vocabulary, engine)
    shaping = [wanted.split_parts, wanted.instances, wanted.min_area_px]
    leasts = [wanted.thresholds.of(name) for name in vocabulary.names]
    keys = [[category.name, engine.category_key(category)] for category in vocabulary.categories]
    parts = [keys, engine_state(engine, vocabulary), shaping, leasts]
    return f"{PREFIX}{__version__}+{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:HASH_DIGITS]}"


def segment_manifest(
    orders: Orders, making: Making, engine: SegmentationEngine, elsewhere: Segmenters | None = None
) -> None:
    """Segment the images of a manifest, and print what was found, also after Ctrl-C or an error.

    Args:
        orders: the rows, and where the results go.
        making: what is done with each row; `prepare` has given the version.
        engine: the method.
        elsewhere: a Ray cluster, or processes of this machine, whose engines, like this one, do the work; this process
            writes the shards.

    Raises:
        UsageError: the folder holds results of another run, or the manifest cannot be read.
        RequestError: rows have no result, each was named; or no row at all can be segmented; or a shard cannot be
            written.
        OVDiffError: the engine cannot segment at all.
    """
    there = _there(orders, making.version)
    counts, maker, index = _Counts(), RowMaker(orders.manifest.columns), _Index()
    finished, next_step = False, ""
    try:
        found = batches(orders.manifest.read(), maker, orders.shard_rows)
        items = _items(found, there, orders, making)
        with (
            progress_bar(orders.manifest.count(), "row") as bar,
            working(items, making, engine, elsewhere) as results,
        ):
            for batch, info, is_new in _shards(_told(results, bar, orders.folder), orders, making):
                counts.add(batch, info, is_new)
                index.add(orders.folder.name(batch.index), info)
        finished = True
    except BaseException as error:
        next_step = AGAIN if _passes(error) else MENDED if counts.rows else ""
        raise
    finally:
        maker.close()
        if finished and counts.rows:
            orders.folder.write_index(index.document(orders, making, counts))
        _tell(orders, making, counts, finished, next_step)
    _require_whole(orders, counts, there)


def _passes(error: BaseException) -> bool:
    """Return whether a run ended by what is over when it is run again: Ctrl-C, or a server that was away."""
    if isinstance(error, KeyboardInterrupt | LabelStudioDownError | LabelStudioSlowError):
        return True
    return isinstance(error, StorageError) and error.is_away


def _there(orders: Orders, version: str) -> frozenset[int]:
    """Return the shards that are there.

    Raises:
        UsageError: they are of another run.
    """
    folder = orders.folder
    there = folder.shards()
    if orders.overwrite or not there:
        return there
    readable = (info for each in sorted(there) if (info := folder.info(each)) is not None)
    made = (folder.index() or next(readable, {})).get("model_version")
    if made not in (None, version):
        raise UsageError(
            f"{folder.path} holds results of another run: their model version is {made}, and this run's is {version}. "
            "The categories, the preset, what the categories mean, or the options differ. Name a new folder with "
            "--out, or replace the results with --overwrite."
        )
    return there


def _items(found: Iterable[Batch], there: frozenset[int], orders: Orders, making: Making) -> Iterator[Item]:
    """Yield the rows of each batch, or its shard where that is kept."""
    for batch in found:
        info = orders.folder.info(batch.index) if batch.index in there else None
        if info is not None and _is_same(info, batch, orders, making):
            yield Item(batch, None, info)
        else:
            yield from (Item(batch, row) for row in batch.rows)


def _told(results: Results, bar: Progress, folder: ShardFolder) -> Results:
    """Yield results, and tell how far they are; the rows of a shard that is kept took no time."""
    for item, result in results:
        bar.set_description(folder.name(item.batch.index), refresh=False)
        if item.kept is not None:
            bar.initial += len(item.batch.rows)
        bar.update(1 if item.kept is None else len(item.batch.rows))
        yield item, result


def _shards(results: Results, orders: Orders, making: Making) -> Iterator[tuple[Batch, Json, bool]]:
    """Write shards of results; yield each batch with the `info` of its shard, and whether the shard is new."""
    folder, is_indexed, any_image = orders.folder, True, False
    made: list[RowResult | BadRow] = []
    for item, result in results:
        batch, info = item.batch, item.kept
        if info is None:
            assert result is not None, "only a shard that is kept has no result"
            made.append(result)
            if len(made) < len(batch.rows):
                continue
            dataset, made = shard_of(batch, made, making), []
            info = dataset["info"]
            _require_some(batch, info, any_image)
            if is_indexed:
                folder.remove_index()
                is_indexed = False
            folder.write(batch.index, dataset)
            notice(f"{folder.name(batch.index)}: rows {batch.first} to {batch.last}, {_in_words(info)}")
        any_image = any_image or info["counts"]["images"] > 0
        yield batch, info, item.kept is None


def _is_same(info: Json, batch: Batch, orders: Orders, making: Making) -> bool:
    """Return whether a shard that is there is the one that this run would write."""
    digest = batch.digest(making.images.source_of)
    if info.get("model_version") != making.version or info.get("rows", {}).get("sha256") != digest:
        return False
    return not (orders.retry_failed and info["counts"]["failed_images"])


def _require_some(batch: Batch, info: Json, any_image: bool) -> None:
    """End a run of which no row has a result so far: something else is wrong than a few rows."""
    if any_image or info["counts"]["images"] or len(batch.rows) < FEWEST_ROWS:
        return
    first = info["left_out"][0]
    raise RequestError(
        f"None of the rows {batch.first} to {batch.last} has a result, and none before them. Row {first['number']}, "
        f"{first['value']}: {first['reason']} Look at --image-column and --root, which say where the images are."
    )


def _in_words(info: Json) -> str:
    counts = info["counts"]
    left_out = f", {counts['left_out']} without a result" if counts["left_out"] else ""
    return f"{counts['images']} images, {counts['annotations']} masks{left_out}"


@dataclass
class _Counts:
    """What a run did."""

    rows: int = 0
    made: int = 0
    kept: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    categories: dict[str, list[int]] = field(default_factory=dict)
    left_out: Complaints = field(
        default_factory=lambda: Complaints("Further rows without a result are counted; the index names them.")
    )

    def add(self, batch: Batch, info: Json, is_new: bool) -> None:
        """Count a shard, and name its rows that have no result."""
        self.rows += len(batch.rows)
        self.made += is_new
        self.kept += not is_new
        self.sums.update(info["counts"])
        for name, counts in info["categories"].items():
            before = self.categories.get(name, [0, 0, 0])
            self.categories[name] = [old + new for old, new in zip(before, counts, strict=True)]
        for row in info["left_out"]:
            self.left_out.add(f"row {row['number']}, {row['value']}: {row['reason']}", row)


class _Index:
    """The lists of the index, which wait on the disk."""

    def __init__(self) -> None:
        self._shards, self._left_out = JsonList(), JsonList()

    def add(self, name: str, info: Json) -> None:
        """Add a shard."""
        self._shards.append({"file": name, **info["rows"], **info["counts"]})
        for row in info["left_out"]:
            self._left_out.append(row)

    def document(self, orders: Orders, making: Making, counts: _Counts) -> JsonObject:
        """Return the index."""
        run = {
            "manifest": orders.manifest.name,
            "format": orders.folder.format,
            "shard_rows": orders.shard_rows,
            "model_version": making.version,
            "categories": list(making.vocabulary.names),
        }
        return {
            "run": run,
            "counts": {"rows": counts.rows, **counts.sums},
            "shards": self._shards,
            "left_out": self._left_out,
        }


def _tell(orders: Orders, making: Making, counts: _Counts, finished: bool, next_step: str) -> None:
    """Print what was found and done, and the next step if the run did not finish ("" if there is none)."""
    if counts.sums["annotations"]:
        say(_table(making.vocabulary, counts))
    for key, text in (
        ("dropped_parts", f"parts smaller than {orders.wanted.min_area_px} px dropped"),
        ("hidden_masks", "masks below their threshold hidden"),
    ):
        if counts.sums[key]:
            say(f"{text}: {counts.sums[key]}")
    rows = f"rows: {counts.rows}{' so far' if not finished else ''}, {counts.sums['images']} segmented"
    say(f"{rows}, {counts.sums['left_out']} without a result")
    say(f"shards: {counts.made} written, {counts.kept} of an earlier run kept")
    if last := f"results: {orders.folder.path}" if finished else next_step:
        say(last)
    answer(
        {
            "manifest": orders.manifest.name,
            "out": str(orders.folder.path),
            "format": orders.folder.format,
            "model_version": making.version,
            "finished": finished,
            "rows": counts.rows,
            **{name: counts.sums[name] for name in _SUMS},
            "shards": {"written": counts.made, "kept": counts.kept},
            "categories": {
                name: {"images": found[0], "annotations": found[1], "area_px": found[2]}
                for name, found in counts.categories.items()
            },
            "rows_left_out": counts.left_out.told,
        }
    )


_SUMS = ("images", "annotations", "left_out", "failed_images", "dropped_parts", "hidden_masks")


def _table(vocabulary: Vocabulary, counts: _Counts) -> str:
    width = max(len("category"), *(len(name) for name in vocabulary.names))
    lines = [f"{'category':{width}}    images     masks"]
    for name in vocabulary.names:
        images, masks, _ = counts.categories.get(name, (0, 0, 0))
        lines.append(f"{name:{width}}  {images:8}  {masks:8}")
    return "\n".join(lines)


def _require_whole(orders: Orders, counts: _Counts, there: frozenset[int]) -> None:
    """Raise what is to be told of a run that ended and did not do everything.

    Raises:
        UsageError: the manifest has no row.
        RequestError: rows have no result.
    """
    if not counts.rows:
        raise UsageError(f"{orders.manifest.name} has no row.")
    beyond = sorted(index for index in there if index >= counts.made + counts.kept)
    if beyond:
        complain(
            f"{len(beyond)} shards of an earlier run have rows that the manifest no longer has, from "
            f"{orders.folder.name(beyond[0])} on. The index leaves them out; delete them."
        )
    if counts.sums["left_out"]:
        raise RequestError(
            f"{counts.sums['left_out']} of {counts.rows} rows have no result; they are named above and in the index. "
            "Correct the manifest, or run the command again with --retry-failed for images that could not be had."
        )
