"""`ovdiff segment --manifest`: results in shards; a run that was killed goes on, to the same bytes."""

import json
import os
import pickle
import re
import shutil
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from backend.command import cli
from backend.command.console import NoProgress
from backend.command.manifest import shards
from backend.command.manifest.run import AGAIN, MENDED, _Index
from backend.errors import LabelStudioDownError, RequestError
from converters.files import atomic
from ovdiff.errors import StorageError
from ovdiff.storage import place
from tests.fakes.engine import FakeEngine, TogetherEngine
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.project_studio import ProjectStudio, running_project

WORDS = ["--categories", "blue, red"]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine(tmp_path / "bank")
    monkeypatch.setattr("backend.engine.make_engine", lambda *_: made)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    return made


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest of twelve rows, of which two have no result."""
    (tmp_path / "p").mkdir()
    for number in range(3):
        (tmp_path / f"p/{number}.png").write_bytes(encoded(red_and_blue(64 + 8 * number)))
    rows = [{"image": f"p/{number % 3}.png", "id": 100 + number, "source": "x"} for number in range(12)]
    rows[4] = {"id": 104}  # type: ignore[assignment]
    rows[7]["image"] = "p/gone.png"
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def segment(manifest: Path | str, out: Path, *more: str, rows: int = 4) -> int:
    return cli.main(["segment", "--manifest", str(manifest), *WORDS, "--out", str(out), f"--shard-size={rows}", *more])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def test_rows_become_shards_and_bad_rows_are_named_counted_and_told_by_the_status(
    manifest: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert segment(manifest, out) == cli.FAILED
    said = capsys.readouterr()
    assert [line.split() for line in said.out.splitlines()[-6:-3]] == [
        ["category", "images", "masks"], ["blue", "10", "10"], ["red", "10", "10"]
    ]  # fmt: skip
    assert said.out.splitlines()[-3:] == [
        "rows: 12, 10 segmented, 2 without a result",
        "shards: 3 written, 0 of an earlier run kept",
        f"results: {out}",
    ]
    named = [line for line in said.err.splitlines() if ": row " in line]
    assert named[0].startswith("ovdiff: row 5, None: expected the path or address of an image under 'image'; correct")
    assert named[1].startswith("ovdiff: row 8, p/gone.png: ") and "No such file or directory" in named[1]
    assert "2 of 12 rows have no result; they are named above and in the index" in said.err
    assert sorted(files(out)) == ["index.json", "shard-000000.json", "shard-000001.json", "shard-000002.json"]
    index = json.loads((out / "index.json").read_text())
    assert index["run"]["manifest"] == str(manifest) and index["run"]["categories"] == ["blue", "red"]
    assert [(each["file"], each["first"], each["last"], each["images"]) for each in index["shards"]] == [
        ("shard-000000.json", 1, 4, 4), ("shard-000001.json", 5, 8, 2), ("shard-000002.json", 9, 12, 4)
    ]  # fmt: skip
    assert [row["number"] for row in index["left_out"]] == [5, 8]
    ids = [each["id"] for name in sorted(files(out))[1:] for each in COCO(str(out / name)).dataset["annotations"]]
    assert len(ids) == len(set(ids)) == 20


def test_a_second_run_keeps_every_shard_and_changes_no_byte(
    manifest: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("coco", "parquet"):
        out = tmp_path / form
        segment(manifest, out, "--format", form)
        before, count, times = files(out), engine.segmented, [path.stat().st_mtime_ns for path in out.glob("shard*")]
        capsys.readouterr()
        assert segment(manifest, out, "--format", form, "--json") == cli.FAILED
        told = json.loads(capsys.readouterr().out)
        assert told["shards"] == {"written": 0, "kept": 3} and told["finished"] is True
        assert [row["number"] for row in told["rows_left_out"]] == [5, 8]
        assert files(out) == before and engine.segmented == count
        assert [path.stat().st_mtime_ns for path in out.glob("shard*")] == times
        shutil.rmtree(out)
        segment(manifest, out, "--format", form)
        assert files(out) == before


def test_the_rate_and_the_time_left_are_told_without_the_rows_of_an_earlier_run(
    manifest: Path, tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = list[NoProgress]()

    @contextmanager
    def bar(total: float | None, unit: str) -> Iterator[NoProgress]:
        assert (total, unit) == (12, "row")
        bars.append(NoProgress())
        yield bars[-1]

    monkeypatch.setattr("backend.command.manifest.run.progress_bar", bar)
    segment(manifest, tmp_path / "out")
    (tmp_path / "out/shard-000001.json").unlink()
    segment(manifest, tmp_path / "out")
    assert [(bar.n, bar.initial) for bar in bars] == [(12, 0), (12, 8)]


@pytest.mark.parametrize("too_many", [False, True])
def test_images_that_are_segmented_at_once_give_the_bytes_of_one_after_another(
    too_many: bool, manifest: Path, tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment(manifest, tmp_path / "alone")
    together = TogetherEngine(engine.folder, too_many=too_many)
    monkeypatch.setattr("backend.engine.make_engine", lambda *_: together)
    assert segment(manifest, tmp_path / "together") == cli.FAILED
    assert together.groups == [3, 2, 2, 3] and together.segmented == 10  # rows 5 and 8 have no image
    assert files(tmp_path / "together") == files(tmp_path / "alone")


def killed_at(moment: str, run: Callable[[], object]) -> None:
    """Run in a process of its own, which kills itself at a moment as `kill -9` does."""
    child = os.fork()
    if child == 0:
        try:
            _arm(moment)
            run()
        finally:
            os._exit(99)  # it was not killed
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def _arm(moment: str) -> None:
    what, _, times = moment.partition(" ")
    module, name = {
        "segmenting": (FakeEngine, "segment"),
        "syncing": (atomic, "_sync"),
        "renaming": (Path, "replace"),
        "renamed": (atomic, "sync_folder"),
        "writing": (shards.ShardFolder, "write_index"),
    }[what]
    left, real = [int(times)], getattr(module, name)

    def dying(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **more)

    setattr(module, name, dying)


MOMENTS = ["segmenting 1", "segmenting 6", "syncing 1", "renaming 2", "renamed 2", "writing 1"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_was_killed_goes_on_and_the_bytes_are_those_of_a_run_that_was_not(
    manifest: Path, tmp_path: Path, engine: FakeEngine, moment: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    segment(manifest, whole)
    killed_at(moment, lambda: segment(manifest, out))
    finished = {path: path.stat().st_mtime_ns for path in out.glob("shard*")}
    assert all(path.read_bytes() == (whole / path.name).read_bytes() for path in finished), "whole files only"
    engine.segmented = 0
    assert segment(manifest, out) == cli.FAILED
    assert files(out) == files(whole)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    images = {"shard-000000.json": 4, "shard-000001.json": 2, "shard-000002.json": 4}
    assert engine.segmented == 10 - sum(images[path.name] for path in finished), "nothing finished is done twice"


def test_only_shards_whose_rows_changed_are_made_anew(
    manifest: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    segment(manifest, out)
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*lines, json.dumps({"image": "p/0.png", "id": 900})]))
    before = files(out)
    capsys.readouterr()
    segment(manifest, out, "--json")
    assert json.loads(capsys.readouterr().out)["shards"] == {"written": 1, "kept": 3}
    assert all(files(out)[name] == before[name] for name in before if name != "index.json")
    manifest.write_text("\n".join([*lines[:5], lines[5].replace("105", "905"), *lines[6:8]]))
    segment(manifest, out, "--json")
    said = capsys.readouterr()
    assert json.loads(said.out)["shards"] == {"written": 1, "kept": 1}
    assert "2 shards of an earlier run have rows that the manifest no longer has, from shard-000002.json on" in said.err
    assert len(json.loads((out / "index.json").read_text())["shards"]) == 2


def test_shards_of_other_images_with_the_same_names_are_made_anew(
    manifest: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    segment(manifest, out)
    (other / "p").mkdir(parents=True)
    for number in range(3):
        (other / f"p/{number}.png").write_bytes(encoded(red_and_blue(40)))
    capsys.readouterr()
    segment(manifest, out, "--root", str(other), "--json")
    assert json.loads(capsys.readouterr().out)["shards"] == {"written": 3, "kept": 0}
    assert {image["width"] for image in json.loads((out / "shard-000000.json").read_text())["images"]} == {40}
    segment(manifest, out, "--root", str(other), "--json")
    assert json.loads(capsys.readouterr().out)["shards"] == {"written": 0, "kept": 3}


def test_results_of_another_run_are_not_mixed_with_this_one(
    manifest: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    segment(manifest, out)
    before = files(out)
    (out / "index.json").unlink()
    first = out / "shard-000000.json"
    first.write_bytes(before[first.name][:40])  # Another shard says of which run they are.
    assert segment(manifest, out, "--min-area", "5") == cli.WRONG_USE
    first.write_bytes(before[first.name])
    assert "holds results of another run: their model version is ovdiff-" in capsys.readouterr().err
    before.pop("index.json")
    assert files(out) == before
    assert segment(manifest, out, "--min-area", "5", "--overwrite") == cli.FAILED
    assert all(files(out)[name] != data for name, data in before.items())


def test_images_that_failed_are_tried_again_when_asked(
    manifest: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    segment(manifest, out)
    shutil.copy(tmp_path / "p/0.png", tmp_path / "p/gone.png")
    capsys.readouterr()
    segment(manifest, out, "--json")
    assert json.loads(capsys.readouterr().out)["left_out"] == 2
    assert segment(manifest, out, "--json", "--retry-failed") == cli.FAILED, "a row without an image stays one"
    told = json.loads(capsys.readouterr().out)
    assert (told["left_out"], told["shards"]) == (1, {"written": 1, "kept": 2})


def test_an_index_is_there_only_while_it_is_true(
    manifest: Path, tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    segment(manifest, out)
    (out / "shard-000001.json").unlink()
    monkeypatch.setattr(engine, "on_segment", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    (out / "shard-000000.json").write_text("damaged")
    assert segment(manifest, out) == cli.INTERRUPTED
    assert "index.json" in files(out), "no shard was changed yet"
    monkeypatch.setattr(shards.ShardFolder, "write", _refuse)
    monkeypatch.setattr(engine, "on_segment", lambda: None)
    assert segment(manifest, out) == cli.FAILED
    assert "index.json" not in files(out)


def _refuse(*_: object) -> None:
    raise RequestError("no")


def test_a_run_in_which_nothing_works_ends_after_the_first_shard(
    tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"image": f"nowhere/{number}.png"}) for number in range(100)))
    assert segment(path, tmp_path / "out", rows=20) == cli.FAILED
    said = capsys.readouterr().err
    assert "None of the rows 1 to 20 has a result, and none before them. Row 1, nowhere/0.png: " in said
    assert "Look at --image-column and --root, which say where the images are." in said
    assert not (tmp_path / "out").exists()


def test_ten_bad_rows_end_no_run_in_which_an_image_was_segmented(
    manifest: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [json.dumps({"image": "p/0.png", "id": number}) for number in range(10)]
    bad = [json.dumps({"image": f"nowhere/{number}.png", "id": 10 + number}) for number in range(10)]
    manifest.write_text("\n".join([*good, *bad, json.dumps({"image": "p/1.png", "id": 99})]))
    for _ in range(2):  # in the second run the good shard is one that was kept
        assert segment(manifest, tmp_path / "out", rows=10) == cli.FAILED
        said = capsys.readouterr()
        assert "rows: 21, 11 segmented, 10 without a result" in said.out and "10 of 21 rows" in said.err
        (tmp_path / "out/shard-000001.json").unlink()


def test_odd_rows_are_named_and_the_others_go_on(
    manifest: Path, tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text('{"image": "p/0.png", "x": "\\ud800"}\n{"image": "\\ud800.png"}\n{"image": "http://[a"}')
    for form in ("coco", "parquet"):
        assert segment(manifest, tmp_path / form, "--format", form) == cli.FAILED
        said = capsys.readouterr()
        assert "rows: 3, 1 segmented, 2 without a result" in said.out
        assert "row 2, '\\ud800.png': expected the path" in said.err and "row 3, http://[a: " in said.err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), AGAIN),
        (LabelStudioDownError("away"), AGAIN),
        (RequestError("the disk is full"), MENDED),
        (pickle.loads(pickle.dumps(StorageError("away", is_away=True))), AGAIN),  # as it comes from another process
        (pickle.loads(pickle.dumps(StorageError("refused"))), MENDED),
    ],
)
def test_a_run_that_ended_says_whether_it_is_to_be_run_again_as_it_is(
    manifest: Path,
    tmp_path: Path,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    told: str,
) -> None:
    def write(folder: shards.ShardFolder, index: int, dataset: Any) -> None:
        if index:
            raise error

    monkeypatch.setattr(shards.ShardFolder, "write", write)
    segment(manifest, tmp_path / "out")
    assert capsys.readouterr().out.splitlines()[-1] == told


def test_a_run_that_kept_nothing_does_not_speak_of_finished_shards(
    manifest: Path, tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(shards.ShardFolder, "write", _refuse)
    assert segment(manifest, tmp_path / "out") == cli.FAILED
    assert "inished shards" not in capsys.readouterr().out


def test_a_project_is_a_manifest_with_its_labels_as_the_words(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = ProjectStudio()
    studio.add_tasks(3)
    with running_project(studio):
        monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
        assert cli.main(["segment", "--project", "1", "--out", str(tmp_path / "out")]) == 0
        # An empty list, as of a shell's variable that was not set, is a mistake and not the project's labels.
        assert cli.main(["segment", "--project", "1", "--out", str(tmp_path / "no"), "--categories", ""]) == 2
    dataset = json.loads((tmp_path / "out/shard-000000.json").read_text())
    assert [category["name"] for category in dataset["categories"]] == ["red", "blue"]
    assert [image["id"] for image in dataset["images"]] == [1, 2, 3]
    assert len(dataset["annotations"]) == 6


def test_rows_without_a_result_wait_for_the_index_on_the_disk() -> None:
    index = _Index()
    tracemalloc.start()
    try:
        for number in range(400):
            left_out = [{"number": 100 * number + each, "value": "x" * 50, "reason": "y"} for each in range(100)]
            index.add(f"shard-{number}", {"rows": {}, "counts": {}, "left_out": left_out})
        del left_out
        assert tracemalloc.get_traced_memory()[0] < 2 * 2**20, "bytes for 40,000 rows"
    finally:
        tracemalloc.stop()


def test_manifest_images_and_shards_may_all_lie_in_a_storage(
    manifest: Path, tmp_path: Path, engine: FakeEngine, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (manifest, *(tmp_path / "p").iterdir()):
        place(f"{bucket}/{path.relative_to(tmp_path).as_posix()}").write_bytes(path.read_bytes())
    for form in ("coco", "parquet"):
        here, there = tmp_path / form, place(f"{bucket}/out/{form}")
        segment(manifest, here, "--format", form, "--root", bucket)
        capsys.readouterr()
        assert segment(f"{bucket}/rows.jsonl", there, "--format", form) == cli.FAILED, capsys.readouterr().err
        stored = {path.name: path.read_bytes() for path in there.iterdir()}
        assert sorted(stored) == sorted(files(here))
        first, *others = [name for name in stored if name.startswith("shard")]
        for name in (first, *others):
            assert stored[name] == files(here)[name]
        engine.segmented = 0
        (there / first).unlink()
        assert segment(manifest, there, "--format", form, "--root", bucket) == cli.FAILED
        assert engine.segmented == 4, "what is in the storage is not done again"


@pytest.fixture
def cases(manifest: Path, tmp_path: Path) -> Iterator[dict[str, list[str]]]:
    out, given = ["--out", str(tmp_path / "out")], ["--manifest", str(manifest), *WORDS]
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "no.json").write_text('{"annotations": []}')
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    yield {
        "empty.jsonl has no row": ["--manifest", str(tmp_path / "empty.jsonl"), *WORDS, *out],
        "broken.parquet cannot be read as a Parquet file": [
            "--manifest",
            str(tmp_path / "broken.parquet"),
            *WORDS,
            *out,
        ],
        "--out is .*rows.jsonl', which cannot be listed": [*given, "--out", str(manifest)],
        "--id-column names 'nope', which the first row": [*given, *out, "--id-column", "nope"],
        "--carry names 'camera', which the first row": [*given, *out, "--carry", "source,camera"],
        "--id-column does not go with --project": ["--project", "1", *out, "--id-column", "id"],
        "Say with --out where the shards are to go": given,
        "--coco does not go with --manifest, which writes shards into --out": [*given, *out, "--coco", "x.json"],
        "Name the images in one way": [*given, *out, "--project", "1"],
        "--root is .*nowhere.; expected the folder": [*given, *out, "--root", str(tmp_path / "nowhere")],
        "Say with --categories what is to be found": ["--manifest", str(manifest), *out],
        "--instances and --split-parts are two ways": [*given, *out, "--instances", "--split-parts"],
        "--shard-size concerns --manifest and --project": ["p", *WORDS, "--shard-size", "3"],
        "Say which images \\(files, folders, --manifest or --project\\) and": WORDS,
        "pictures go to a folder of this machine": ["p", *WORDS, "--out", "memory://out"],
    }


def test_what_contradicts_itself_is_refused_before_anything_runs(
    cases: dict[str, list[str]], tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    for message, arguments in cases.items():
        assert cli.main(["segment", *arguments]) == cli.WRONG_USE, message
        assert re.search(message, capsys.readouterr().err), message
    coco = ["--manifest", str(tmp_path / "no.json"), *WORDS, "--out", str(tmp_path / "out")]
    assert cli.main(["segment", *coco]) != 0 and "no.json" in capsys.readouterr().err
    assert engine.built == [] and not (tmp_path / "out").exists()
