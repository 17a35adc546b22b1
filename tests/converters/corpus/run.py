"""Run every case of the corpus in this process, which has limited memory; write one JSON line about each.

    python -m tests.converters.corpus.run [WORD]      only cases whose name contains the word

Takes about a minute. Linux only: the peak of memory is /proc's.
"""

import contextlib
import io
import json
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from converters.cli import main as command_line
from tests.converters.corpus import datasets, exports, mutations
from tests.converters.corpus.cases import Case

LIMIT_MIB = 500
LIMIT_S = 20


class TooSlow(BaseException):
    """A case took too long; no Exception, so that nothing takes it for an error of its own."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended; `raised` is the traceback of what must not be raised, "" if all went well."""

    name: str
    status: int | None
    out: str
    err: str
    raised: str
    seconds: float
    peak_mib: float
    left: list[str]


def all_cases() -> Iterator[Case]:
    """Yield the whole corpus."""
    for module in (exports, datasets, mutations):
        yield from module.cases()


def run_case(case: Case, folder: Path) -> Outcome:
    """Lay out the files of a case and run its command."""
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    out, err, raised, status = io.StringIO(), io.StringIO(), "", None
    before_mib = reset_peak()
    start = time.perf_counter()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        try:
            status = command_line(case.command.split())
        except BaseException:  # noqa: BLE001  whatever it is, it must not come so far
            raised = traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    left = sorted(path.name for path in folder.rglob("*.partial"))
    return Outcome(
        case.name, status, ends_of(out.getvalue()), ends_of(err.getvalue()), raised, time.perf_counter() - start,
        peak_mib() - before_mib, left,
    )  # fmt: skip


def ends_of(said: str) -> str:
    """Return the beginning and the end of a long text."""
    return said if len(said) < 8000 else f"{said[:4000]} ... {said[-4000:]}"


def peak_mib() -> float:
    """Return the most memory that this process held since the last reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def reset_peak() -> float:
    """Forget the peak so far and return what is held now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_mib()


def limit_memory() -> None:
    """Let this process have no more than LIMIT_MIB beyond what it has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + LIMIT_MIB * (1 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def stop(signum: int, frame: FrameType | None) -> None:
    """End a case that takes too long."""
    raise TooSlow(f"more than {LIMIT_S} s")


def main() -> None:
    """Run the cases and write their outcomes."""
    warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools under numpy 2
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    signal.signal(signal.SIGALRM, stop)
    limit_memory()
    for case in all_cases():
        if word not in case.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_case(case, Path(folder))
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")


if __name__ == "__main__":
    main()
