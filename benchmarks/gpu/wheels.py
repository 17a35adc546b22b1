"""Collect the wheels that a machine lacks on which ``make gpu`` is to run: everything but torch and what comes with it.

    python -m benchmarks.gpu.wheels --out gpu-wheels                       # `make gpu-wheels`; needs a network
    python -m benchmarks.gpu.wheels --out gpu-wheels --has there.txt       # less what `pip list` printed there

and on that machine, without a network::

    python3 -m pip install --no-index --no-deps --find-links gpu-wheels --target gpu-site gpu-wheels/*.whl
    PYTHONPATH=gpu-site make gpu GPU_PYTHON=python3

The versions are those of the environment in which this runs, which are the lock's. A package that the machine has is
left out where its version suits all that is carried; packages of torch's own family never travel: they weigh
gigabytes, and fit the machine's driver as they are.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOTS = ("ovdiff[cuda,train]", "pytest", "pytest-timeout", "hypothesis")
"""What ``make gpu`` imports: the product, its training and its tests."""

_OF_TORCH = re.compile(r"(torch|torchvision|torchgen|triton|pytorch-triton|nvidia-.+|cuda-.+)$")
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_OWN = "ovdiff"


def lacking(roots: Iterable[str], has: Mapping[str, str], python: str) -> dict[str, str]:
    """Return the packages that a machine lacks, by name, with the versions that are installed here.

    Args:
        roots: requirements.
        has: the machine's packages and their versions, by canonical name.
        python: the machine's Python, such as "3.12".

    Raises:
        PackageNotFoundError: a package that is needed is not installed here.
    """
    wanted: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    pending = [Requirement(root) for root in roots]
    while pending:
        asked = pending.pop()
        name = canonicalize_name(asked.name)
        if (name, frozenset(asked.extras)) in seen or _OF_TORCH.match(name):
            continue
        seen.add((name, frozenset(asked.extras)))
        if name in has and asked.specifier.contains(has[name], prereleases=True):
            continue
        if name != _OWN:
            wanted[name] = version(name)
        pending += _needs(name, asked.extras, python)
    return dict(sorted(wanted.items()))


def _needs(name: str, extras: Iterable[str], python: str) -> list[Requirement]:
    environments = [{"extra": extra, "python_version": python} for extra in ("", *extras)]
    found = [Requirement(text) for text in requires(name) or ()]
    return [each for each in found if each.marker is None or any(each.marker.evaluate(one) for one in environments)]


def read_packages(text: str) -> dict[str, str]:
    """Return the packages that ``pip list`` or ``pip freeze`` printed, by canonical name.

    Raises:
        ValueError: there is none in the text.
    """
    lines = (re.match(r"([A-Za-z0-9._-]+)(?:==|\s+)([0-9][^\s]*)", line.strip()) for line in text.splitlines())
    found = {canonicalize_name(line[1]): line[2] for line in lines if line}
    if not found:
        raise ValueError("There is no package in the list: give what `pip list` printed on that machine.")
    return found


def download(packages: Mapping[str, str], out: Path, python: str) -> None:
    """Fetch wheels for a Linux machine with an x86-64 processor."""
    out.mkdir(parents=True, exist_ok=True)
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    pins = [f"{name}=={pinned}" for name, pinned in packages.items()]
    pip = ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    asked = [*pip, "--python-version", python, *platforms, "--dest", str(out), *pins]
    subprocess.run([sys.executable, "-m", *asked] if _has_pip() else ["python3", "-m", *asked], check=True)


def _has_pip() -> bool:
    try:
        return bool(version("pip"))
    except PackageNotFoundError:
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch what is lacking, and say how large it is."""
    options = _options(arguments)
    has = read_packages(options.has.read_text()) if options.has else {}
    packages = lacking(ROOTS, has, options.python)
    if not options.dry:
        download(packages, options.out, options.python)
        print("\n".join(listing(options.out)))
    else:
        print("\n".join(f"{name}=={pinned}" for name, pinned in packages.items()))


def listing(folder: Path) -> list[str]:
    """Return the wheels of a folder, the largest first, and the size of all."""
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.whl")}
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)
    lines = [f"{sizes[name] / (1 << 20):8.2f} MiB  {name}" for name in largest]
    return [*lines, f"{sum(sizes.values()) / (1 << 20):8.2f} MiB  in {len(sizes)} wheels, in {folder}"]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the wheels")
    parser.add_argument(
        "--has", type=Path, help="what `pip list` printed on the machine; else nothing but torch is there"
    )
    parser.add_argument("--python", default="3.12", help="the machine's Python (3.12)")
    parser.add_argument("--dry", action="store_true", help="print what is lacking and fetch nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
