"""What is done with an image by workers elsewhere: threads stand for them, and what they get and give is pickled."""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.command.plan import Wanted, make_plan
from backend.command.prototypes import read_categories
from backend.command.segment import segment_images
from backend.errors import RequestError
from ovdiff.distributed import engine_worker
from ovdiff.distributed.engine_worker import use_engine
from ovdiff.engines import SegmentationEngine
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import red_and_blue

PIXELS = 10_000


class Pickling(ThreadPoolExecutor):
    """Threads that get and give what another machine would."""

    workers = 2

    def submit(self, function: Callable[..., Any], /, *given: Any, **_named: Any) -> "Future[Any]":
        sent = pickle.dumps((function, given))
        return super().submit(_call, sent)


def _call(sent: bytes) -> Any:
    function, given = pickle.loads(sent)
    return pickle.loads(pickle.dumps(function(*given)))


class Elsewhere:
    """As `backend.command.on_ray.OnRay` is to a command."""

    @contextmanager
    def segmenters(self, engine: SegmentationEngine) -> Iterator[Pickling]:
        use_engine(engine)
        with Pickling(2) as pool:
            yield pool
        engine_worker._of_this_process.clear()

    def built(self, engine: SegmentationEngine, categories: Any, _report: object) -> Iterator[Any]:
        for category in categories:
            engine.build(category)
            yield category, 0.0


def test_workers_elsewhere_give_the_bytes_of_this_process(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(9):
        Image.fromarray(red_and_blue()[: 40 + number]).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "4.png").write_text("no picture")
    written = []
    for name, ray in (("here", None), ("there", Elsewhere())):
        out = tmp_path / name
        wanted = Wanted(out, indexed=True, coco=out / "masks.json", panoptic=out / "panoptic", split_parts=False)
        engine = FakeEngine(tmp_path / f"bank-{name}")
        with pytest.raises(RequestError, match="1 of 9 images could not be segmented"):
            plan = make_plan([tmp_path / "photos"], wanted)
            segment_images(plan, read_categories("red, blue"), engine, max_px=PIXELS, ray=ray)  # type: ignore[arg-type]
        assert engine.segmented == 8 and sorted(engine.built) == ["blue", "red"]
        files = sorted(file for file in out.rglob("*") if file.is_file())
        written.append({file.relative_to(out).as_posix(): file.read_bytes() for file in files})
    assert len(written[0]) >= 8 * 3 + 2 and written[0] == written[1]
