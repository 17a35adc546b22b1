"""The plan of a run: which images it reads and which files it writes, decided before anything runs.

A folder is read with all its subfolders, and the folder of the results gets the same subfolders. The name of an image
is its path below the folder that was given, or the file's own name. Images may lie at an address of a storage; results
are files of this machine. They are named after the image. Pictures that an earlier run wrote are no images of this run,
wherever they lie on this machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend.command.addresses import files_below, looking_at
from backend.command.files import is_own_picture, require_no_photograph, require_writable
from backend.errors import UsageError
from converters.selection import NO_THRESHOLDS, Thresholds
from ovdiff.storage import is_stored

IMAGE_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Files of a folder with these suffixes are images. A file that is given by itself may have any name."""

_EARLIER = "drawn by ovdiff"


@dataclass(frozen=True)
class Wanted:
    """The results that a run is asked for.

    Attributes:
        out: the folder of the pictures, or the file of the only picture; None puts each picture beside its image.
        overlay: whether to write NAME.overlay.png, the image with its categories tinted.
        indexed: whether to write NAME.indexed.png, a palette picture of label ids.
        coco: the COCO file of the whole run; None writes no such file.
        split_parts: whether each connected part of a mask is an annotation of its own in the COCO file.
        min_area_px: connected parts of fewer pixels are background in all results.
        thresholds: masks, or their connected parts if these are split, with lower scores are background, too.
        instances: whether each object is an annotation of its own in the COCO file.
        panoptic: the new folder of a panoptic dataset of the whole run; None writes no such folder.
    """

    out: Path | None = None
    overlay: bool = True
    indexed: bool = False
    coco: Path | None = None
    split_parts: bool = False
    min_area_px: int = 0
    thresholds: Thresholds = NO_THRESHOLDS
    instances: bool = False
    panoptic: Path | None = None

    @property
    def objects(self) -> bool:
        """Whether objects of one kind must be told apart."""
        return self.instances or self.panoptic is not None


@dataclass(frozen=True)
class Job:
    """One image, its name with "/" between folders, and the paths of its pictures; None is a picture not asked for."""

    image: Path
    name: str
    overlay: Path | None
    indexed: Path | None

    @property
    def written(self) -> tuple[Path, ...]:
        """The pictures that this job writes."""
        return tuple(path for path in (self.overlay, self.indexed) if path is not None)


@dataclass(frozen=True)
class Plan:
    """A run: its jobs, the results it is asked for, and how many files are no images of it, by suffix or by reason."""

    jobs: tuple[Job, ...]
    wanted: Wanted
    left_out: Mapping[str, int]

    @property
    def coco(self) -> Path | None:
        """The path of the COCO file, or None."""
        return self.wanted.coco

    def places(self) -> tuple[Path, ...]:
        """Return the paths of the results: a single image's pictures, or the folders of several; and the datasets."""
        pictures = [path for job in self.jobs for path in job.written]
        if len(self.jobs) > 1:
            pictures = [self.wanted.out] if self.wanted.out else [path.parent for path in pictures]
        datasets = [path for path in (self.coco, self.wanted.panoptic) if path is not None]
        return tuple(dict.fromkeys([*pictures, *datasets]))


@dataclass(frozen=True)
class _Input:
    path: Path
    name: str


def plan_report(inputs: Sequence[Path]) -> Plan:
    """Find the images of a run that writes no pictures of them, but one result that names each of them.

    Raises:
        UsageError: an input does not exist, a folder holds no image, or two images have the same name.
    """
    plan = make_plan(inputs, Wanted(overlay=False))
    _refuse_same_names(plan.jobs, "the result")
    return plan


def make_plan(inputs: Sequence[Path], wanted: Wanted) -> Plan:
    """Find the images of a run and choose the paths of their results; nothing is written.

    Raises:
        UsageError: an input does not exist, a folder holds no image, a result cannot be written where it is to go, or
            would overwrite another result, an image of the run, or a file outside the folder of the results.
    """
    _check_out(inputs, wanted)
    left_out: Counter[str] = Counter()
    found = tuple(image for path in inputs for image in _images_of(path, wanted.out, left_out))
    if not found:
        raise UsageError(f"There is no image to segment{_besides(left_out)}; name the image that it was drawn from.")
    jobs = tuple(_job(image, inputs, wanted) for image in found)
    _refuse_clashes(jobs, wanted.coco)
    if wanted.out is not None:
        _refuse_escapes(jobs, wanted.out)
    if wanted.out is not None and _is_one_file(inputs, wanted):
        require_no_photograph("--out", wanted.out)
    _require_places(jobs, wanted)
    return Plan(jobs, wanted, dict(left_out))


def _images_of(path: Path, out: Path | None, left_out: Counter[str]) -> Iterator[_Input]:
    """Yield a file, or the images of a folder in the order of their names, without the results of earlier runs."""
    if not _is_folder(path):
        with looking_at():
            if not path.exists():
                raise UsageError(f"There is no image or folder {str(path)!r}.")
        if _is_earlier(path):  # as with a second `ovdiff segment *.png`
            left_out[_EARLIER] += 1
        else:
            yield _Input(path, path.name)
        return
    images = []
    for file in files_below(path):
        if out and not is_stored(file) and _is_in(file, out):
            continue
        if not _is_image(file):
            left_out[file.suffix or file.name] += 1
        elif _is_earlier(file):
            left_out[_EARLIER] += 1
        else:
            images.append(_Input(file, file.relative_to(path).as_posix()))
    if not images:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UsageError(f"The folder {str(path)!r} holds no image ({kinds}){_besides(left_out)}.")
    yield from images


def _is_folder(path: Path) -> bool:
    with looking_at():
        return path.is_dir()


def _is_earlier(file: Path) -> bool:
    """Say whether an earlier run drew a picture. No run draws in a storage, and asking there costs a request a file."""
    return not is_stored(file) and is_own_picture(file)


def _besides(left_out: Counter[str]) -> str:
    return f", but {left_out[_EARLIER]} {_EARLIER}" if left_out[_EARLIER] else ""


def _looks_like_file(out: Path) -> bool:
    return out.exists() or out.suffix.lower() in IMAGE_SUFFIXES


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")


def _check_out(inputs: Sequence[Path], wanted: Wanted) -> None:
    """Refuse an --out that is missing where it is needed, is a file, looks like a picture, or is one of the inputs."""
    if wanted.split_parts and wanted.coco is None:
        raise UsageError("--split-parts makes annotations of a COCO file; say with --coco FILE where it is to go.")
    if wanted.instances and wanted.coco is None:
        raise UsageError("--instances makes annotations of a COCO file; say with --coco FILE where it is to go.")
    if wanted.instances and wanted.split_parts:
        raise UsageError("--instances and --split-parts are two ways to make annotations of a mask; leave one out.")
    if (panoptic := wanted.panoptic) is not None and _holds_something(panoptic):
        raise UsageError(f"--panoptic is {str(panoptic)!r}; expected a new or an empty folder.")
    folders = [path for path in inputs if _is_folder(path)]
    pictures = wanted.overlay or wanted.indexed
    if wanted.out is None:
        if away := [path for path in inputs if is_stored(path)]:
            folders = folders or away
        if folders and pictures:
            raise UsageError(f"Say with --out where the results of {_what(folders[0])} are to go.")
    elif any(path.resolve() == wanted.out.resolve() for path in folders):
        raise UsageError(f"--out is {str(wanted.out)!r}, the folder of the images; name another one.")
    elif not _is_one_file(inputs, wanted) and not wanted.out.is_dir() and _looks_like_file(wanted.out):
        raise UsageError(
            f"--out is {str(wanted.out)!r}; expected a folder, or for one picture of one image a file NAME.png."
        )
    if wanted.coco is not None and (wanted.coco.is_dir() or not _will_have_folder(wanted.coco, wanted.out)):
        raise UsageError(f"--coco is {str(wanted.coco)!r}; expected the name of a file in a folder that exists.")


def _what(path: Path) -> str:
    return str(path) if is_stored(path) else f"the folder {str(path)!r}"


def _holds_something(path: Path) -> bool:
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def _will_have_folder(path: Path, out: Path | None) -> bool:
    """Return whether the folder of a file exists, or is inside the folder of results, which is made when needed."""
    return path.parent.is_dir() or (out is not None and path.parent.resolve().is_relative_to(out.resolve()))


def _is_one_file(inputs: Sequence[Path], wanted: Wanted) -> bool:
    """Return whether --out names the only picture of the only image."""
    out = wanted.out
    is_png = out is not None and out.suffix.lower() == ".png" and not out.is_dir()
    return is_png and len(inputs) == 1 and not _is_folder(inputs[0]) and wanted.overlay != wanted.indexed


def _job(image: _Input, inputs: Sequence[Path], wanted: Wanted) -> Job:
    if _is_one_file(inputs, wanted):
        return Job(image.path, image.name, *((wanted.out, None) if wanted.overlay else (None, wanted.out)))
    stem = PurePosixPath(image.name).with_suffix("")
    base = image.path.parent / stem.name if wanted.out is None else wanted.out / stem
    overlay, indexed = (base.with_name(f"{base.name}.{kind}.png") for kind in ("overlay", "indexed"))
    return Job(image.path, image.name, overlay if wanted.overlay else None, indexed if wanted.indexed else None)


def _refuse_clashes(jobs: Sequence[Job], coco: Path | None) -> None:
    """Refuse to write one file twice, or to overwrite an image of the run."""
    images = {job.image.resolve(): job.image for job in jobs}
    writers: dict[Path, Path] = {}
    for path, image in [(path, job.image) for job in jobs for path in job.written] + ([(coco, coco)] if coco else []):
        place = path.resolve()
        if place in images:
            raise UsageError(f"{path} is an image of this run, and would be overwritten by the result of {image}.")
        if place in writers:
            raise UsageError(f"{writers[place]} and {image} would both write {path}; rename one, or run them apart.")
        writers[place] = image
    if coco is not None:
        _refuse_same_names(jobs, str(coco))


def _refuse_same_names(jobs: Sequence[Job], result: str) -> None:
    twice = [name for name, count in Counter(job.name for job in jobs).items() if count > 1]
    if twice:
        raise UsageError(f"{twice[0]!r} would be the name of two images in {result}; name the folder that holds both.")


def _refuse_escapes(jobs: Sequence[Job], out: Path) -> None:
    """Refuse to follow a link out of the folder of the results."""
    for path in (path for job in jobs for path in job.written):
        if path != out and not _is_in(path.parent, out):
            raise UsageError(f"{path} lies behind a link that leads out of {out}; nothing is written there.")


def _require_places(jobs: Sequence[Job], wanted: Wanted) -> None:
    """Refuse places in which nothing can be written: masks of hours would be lost, and the first picture fails."""
    pictures = [path for job in jobs[:1] for path in job.written]
    of_pictures = "--out" if wanted.out is not None else "The result, which --out can put elsewhere,"
    places = (
        (of_pictures, pictures[0] if pictures else None),
        ("--coco", wanted.coco),
        ("--panoptic", wanted.panoptic),
    )
    for option, path in places:
        if path is not None:
            require_writable(option, path)


def _is_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
