"""The commands `ovdiff odise`, about the heads of the second engine: arguments only.

Tested by tests/backend/command/test_odise_train.py and tests/backend/command/test_odise_convert.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.ray import add_ray_options, ray_of
from backend.command.arguments.shared import Commands, add_image_options, image_reader
from backend.settings import Settings

_OUT = "the folder of the head; a head that was made from something else is not replaced"


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands of the group."""
    odise = commands.add_parser("odise", help="train a head of the second engine, or convert a released one")
    verbs = odise.add_subparsers(required=True, metavar="VERB")
    _add_train(verbs)
    _add_convert(verbs)


def _add_convert(verbs: Commands[argparse.ArgumentParser]) -> None:
    convert = verbs.add_parser(
        "convert",
        help="make a head of a checkpoint that NVlabs released; for non-commercial use only",
        description="Make a head of odise_label_coco_50e-b67d2efc.pth or odise_caption_coco_50e-853cc971.pth, "
        "which you have downloaded. They are NON-COMMERCIAL, under CC-BY-NC-SA-4.0, and so is the head.",
    )
    convert.add_argument("checkpoint", type=Path, metavar="RELEASED.pth", help="the released file")
    convert.add_argument("--preset", default="odise", metavar="NAME_OR_FILE", help="the architecture (default: odise)")
    convert.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=_OUT)
    convert.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="the labels of its training with their synonyms, a line each: thing or stuff, a tab, words between commas "
        "(default: COCO's 133 names)",
    )
    convert.add_argument("--accept-licence", action="store_true", help="you have read the licence and accept it")
    convert.set_defaults(act=_convert)


def _convert(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.odise_convert import convert

    convert(options.checkpoint, options.preset, options.out, options.labels, accepted=options.accept_licence)


def _add_train(verbs: Commands[argparse.ArgumentParser]) -> None:
    train = verbs.add_parser(
        "train",
        help="train a head from annotated images, or improve one",
        description="Train a head of the second engine from COCO panoptic datasets and from exports of Label Studio. "
        "The features of the frozen models are stored first; their size is said before. A run that was interrupted "
        "continues where it was. What an annotation does not mark: in a whole annotation the preset's loss.void "
        "decides, 'negative' where everything of the labels was annotated, 'ignore' where other things may be there, "
        "'nameless' where these shall be found without a name. In a partial annotation it teaches only that an "
        "annotated thing ends there.",
    )
    train.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="COCO panoptic datasets (JSON or folder), and exports of Label Studio",
    )
    train.add_argument("--label-config", type=Path, metavar="XML", help="the label config of the exports")
    add_image_options(train)
    train.add_argument(
        "--captions", type=Path, metavar="FILE", help="captions: COCO's JSON, or lines with image and caption"
    )
    train.add_argument(
        "--synonyms", type=Path, metavar="FILE", help="words of COCO's categories, a line each: person,child,girl"
    )
    train.add_argument("--partial", action="store_true", help="what has no label may be anything, in all annotations")
    train.add_argument(
        "--validate",
        type=_share_or_file,
        default=0.1,
        metavar="SHARE_OR_FILE",
        help="a share of the images, or other annotated images, to say how good the head is (default: 0.1; 0: none)",
    )
    train.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=_OUT)
    train.add_argument(
        "--from", dest="start", metavar="FOLDER", help="a head to begin from; tinyworld:odise is the embedded one"
    )
    train.add_argument("--steps", type=int, metavar="N", help="how many steps (default: the preset's training.steps)")
    train.add_argument("--batch", type=int, metavar="N", help="views a step (default: the preset's training.batch)")
    train.add_argument("--seed", type=int, metavar="N", help="default: the preset's training.seed")
    train.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="features go into FOLDER/features (default: OUT.training)"
    )
    train.add_argument("--preset", metavar="NAME_OR_FILE", help="models and settings (or OVDIFF_PRESET)")
    train.add_argument("--device", help="torch device, such as cpu or cuda (or OVDIFF_DEVICE)")
    add_ray_options(train)
    train.set_defaults(act=_train, bank=None)  # training has no bank, and the options of a cluster ask for one


def _share_or_file(text: str) -> float | Path:
    try:
        share = float(text)
    except ValueError:
        return Path(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to below 1, or a file, got {text!r:.200}")
    return share


def _train(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.odise_train import Data, Plan, train_head

    data = Data(
        options.labels,
        options.label_config,
        options.captions,
        options.synonyms,
        options.validate,
        options.partial,
        settings.prediction.max_categories,
    )
    asked = (options.start, options.cache, options.steps, options.batch, options.seed)
    plan = Plan(options.preset or settings.preset, options.device or settings.device, options.out, *asked)
    with ray_of(options, settings) as ray:
        train_head(data, plan, image_reader(options, settings), ray)
