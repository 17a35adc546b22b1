"""What several commands share: the options of an engine, a bank and images, and what is made from them.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import SettingsError, UsageError
from backend.settings import Settings, read_settings
from ovdiff.errors import MissingExtraError, StorageError
from ovdiff.storage.patience import PATIENCE_S

if TYPE_CHECKING:
    from backend.serving.teaching.taking import ReadImage
    from ovdiff.bank import Bank
    from ovdiff.engines import SegmentationEngine

CATEGORIES_FORM = '"boat, water=sea;lake"'
CATEGORIES_HELP = "names of categories, separated by commas; NAME=PHRASE;PHRASE draws the phrases instead of the name"

IMAGES_HELP = "an image file, or a folder of them; or an address such as s3://bucket/photos"

Commands = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the preset, the device and the bank."""
    parser.add_argument(
        "--preset",
        metavar="NAME_OR_FILE",
        help="models and hyper-parameters; see `ovdiff presets list` (or OVDIFF_PRESET)",
    )
    parser.add_argument("--device", help="torch device, such as cpu or cuda (or OVDIFF_DEVICE)")
    add_bank_option(parser)


def add_bank_option(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the prototypes."""
    parser.add_argument(
        "--bank",
        type=bank_place,
        metavar="FOLDER",
        help="folder of the prototypes, or an address such as s3://bucket/bank (default: OVDIFF_BANK, or bank in "
        "OVDIFF_DATA_DIR)",
    )


def bank_place(text: str) -> Path:
    """Return what was written for a bank: a folder of this machine, or one in a storage."""
    from ovdiff.storage import place

    try:
        return place(text, _patience_s())
    except (StorageError, MissingExtraError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _patience_s() -> float:
    """Return for how long a storage is asked again; what is wrong with the settings is said when they are used."""
    try:
        return read_settings().storage_patience_s
    except SettingsError:
        return PATIENCE_S


def image_path(text: str) -> Path:
    """Return what was written for an image or a folder of images: a path, or an address of a storage."""
    from backend.command import addresses

    try:
        return addresses.image_path(text, _patience_s())
    except (UsageError, MissingExtraError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def image_folder(text: str) -> Path:
    """Return a folder of images: a path, or an address of a storage."""
    from backend.command.addresses import looking_at

    path = image_path(text)
    try:
        with looking_at():
            is_folder = path.is_dir()
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not is_folder:
        raise argparse.ArgumentTypeError(f"expected a folder of images, got {text!r:.200}")
    return path


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add where the images of annotated tasks are; `image_reader` reads it."""
    parser.add_argument(
        "--images",
        type=image_folder,
        metavar="DIR",
        help="where the images are, a folder or an address such as s3://bucket (default: they are fetched from where "
        "the service fetches them)",
    )
    parser.add_argument(
        "--image-root", default="", metavar="ADDRESS", help="what precedes the file names in the tasks' addresses"
    )


def image_reader(options: argparse.Namespace, settings: Settings) -> ReadImage:
    """Return what reads the image of an annotated task: from the folder of --images, or from where the service does."""
    from backend.command.addresses import ImagesBelow
    from backend.command.learn import images_from, images_in

    require_images(options)
    if options.images is not None:
        return images_in(ImagesBelow(options.images, options.image_root, settings.images))
    return images_from(settings.label_studio, settings.images)


def require_images(options: argparse.Namespace) -> None:
    """Refuse an --image-root that nothing would read.

    Raises:
        UsageError: there is no --images.
    """
    if options.image_root and options.images is None:
        raise UsageError(
            f"--image-root {options.image_root} precedes the names of files in --images; name their folder there, or "
            "leave it out: images are then fetched from where the tasks say."
        )


def project_number(text: str) -> int:
    """Return the number of a project of Label Studio."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"expected the number of a project, as in /projects/3/, got {text!r:.60}")
    return int(text)


def whole_number(text: str) -> int:
    """Return a whole number from 1."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r:.60}")
    return int(text)


def engine_of(options: argparse.Namespace, settings: Settings) -> SegmentationEngine:
    """Return the engine that the options or else the settings ask for; a wrong preset is refused before torch loads."""
    from backend import engine
    from ovdiff.engines import load_any_preset

    preset = load_any_preset(options.preset or settings.preset)
    made = engine.make_engine(preset, bank_of(options, settings), options.device or settings.device)
    if options.preset is None:
        engine.tell_default(settings.preset)
    return made


def bank_of(options: argparse.Namespace, settings: Settings) -> Bank:
    """Return the bank that the options or else the settings name."""
    from ovdiff.bank import Bank

    return Bank(bank_folder(options, settings))


def bank_folder(options: argparse.Namespace, settings: Settings) -> Path:
    """Return the place of the bank that the options or else the settings name.

    Raises:
        UsageError: a file lies there.
    """
    given: Path | None = options.bank
    if given is not None:
        return require_bank("--bank", given)
    return require_bank("OVDIFF_BANK", settings.bank_dir)


def require_bank(option: str, bank: Path) -> Path:
    """Return the place of a bank, unless a file lies there.

    Args:
        option: what gave the place, as in "--bank".
        bank: the place.

    Raises:
        UsageError: a file lies there.
    """
    from ovdiff.storage import is_stored

    if not is_stored(bank) and bank.is_file():  # a storage is not asked for that
        raise UsageError(f"{option} is {str(bank)!r}, a file; expected the folder of a bank, or a name for a new one.")
    return bank
