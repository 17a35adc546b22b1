"""`ovdiff lint`: what a vocabulary will be good for, before anybody labels.

The figures are those of :mod:`ovdiff.forecasting`. This module builds what is missing, and shows the forecast as text,
as JSON and as a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from backend.command.confusion_picture import draw_confusion
from backend.command.console import progress_bar, say
from backend.command.files import check_png_path, write_png
from backend.command.prototypes import build_missing, say_missing_anchors
from backend.command.refusals import cannot
from backend.command.table import table
from backend.errors import RequestError, UsageError
from backend.serving.vocabulary import read_labelling
from converters.console import answer
from ovdiff.bank.judgement import word_state
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import Forecasts
from ovdiff.forecasting.forecast import CategoryForecast, Forecast, PairForecast
from ovdiff.vocabulary import Vocabulary

SHOWN_PAIRS = 10
"""More pairs are in the JSON; a person reads the first ones."""


def label_config_vocabulary(path: Path, max_categories: int) -> Vocabulary:
    """Return the categories of a label config file, as the service takes them.

    Raises:
        UsageError: the file cannot be read.
        UnusableLabelConfigError: it is no label config, or has no labels for masks, or too many of them.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"--label-config {path} cannot be read: {error}.") from error
    return Vocabulary(read_labelling(text, max_categories=max_categories).categories)


def lint_vocabulary(
    vocabulary: Vocabulary,
    engine: SegmentationEngine,
    *,
    build: bool = True,
    strict: bool = False,
    picture: Path | None = None,
) -> None:
    """Forecast a vocabulary and show the forecast.

    Cost: prototypes that are missing are made first; then each support image is encoded twice and segmented once.

    Args:
        vocabulary: the project's words, at least two.
        engine: the engine that would segment the project's images.
        build: whether prototypes that are missing are made; without them a category is forecast by its name alone.
        strict: whether findings make the command fail.
        picture: the PNG file for the confusion matrix; None draws none.

    Raises:
        UsageError: there are fewer than two words, the picture is no .png, or the engine makes no forecasts.
        RequestError: prototypes cannot be made, the picture cannot be written, or `strict` and there are findings.
        OVDiffError: support images are not stored, or cannot be segmented.
    """
    check_png_path("--picture", picture)
    if len(vocabulary.categories) < 2:
        raise UsageError(f"Name at least two categories: {vocabulary.names[0]!r} alone is confused with nothing.")
    if not isinstance(engine, Forecasts):
        raise cannot(engine, "makes no forecasts")
    if build:
        build_missing(vocabulary.categories, engine)
    say_missing_anchors(engine)
    with progress_bar(1) as bar:

        def report(name: str, fraction: float) -> None:
            bar.set_description(name, refresh=False)
            bar.update(fraction - bar.n)

        forecast = engine.forecast(vocabulary, report)
    answer(forecast_to_json(forecast))
    say(forecast_to_text(forecast))
    if picture is not None:
        _draw(forecast, picture)
    if strict and forecast.findings:
        count = len(forecast.findings)
        raise RequestError(f"{count} finding{'s' if count > 1 else ''}, and --strict allows none.")


def forecast_to_text(forecast: Forecast) -> str:
    """Return a forecast as tables of categories and of pairs, and a line for each finding."""
    tried = forecast.tried()
    parts = [_categories_table(forecast.categories)]
    shown = [pair for pair in forecast.pairs if pair.confused is not None or not tried][:SHOWN_PAIRS]
    if shown:
        title = "pairs, the likeliest to be confused first" if tried else "pairs, the most alike names first"
        parts.append(f"{title}:\n{_pairs_table(shown)}")
    if forecast.findings:
        lines = (f"{number}. {finding}" for number, finding in enumerate(forecast.findings, start=1))
        parts.append("\n".join(["findings:", *lines]))
    else:
        parts.append("findings: none")
    return "\n\n".join(parts)


def forecast_to_json(forecast: Forecast) -> dict[str, object]:
    """Return a forecast as JSON values; what is not known is null."""
    return {
        "categories": [_category_to_json(category) for category in forecast.categories],
        "pairs": [asdict(pair) for pair in forecast.pairs],
        "confusion": {
            "rows": list(forecast.tried()),
            "columns": ["background", *forecast.tried()],
            "shares": forecast.confusion.round(6).tolist(),
        },
        "findings": [asdict(finding) for finding in forecast.findings],
    }


def _category_to_json(category: CategoryForecast) -> dict[str, object]:
    return {**asdict(category), "word": word_state(category.judgement)}


def _draw(forecast: Forecast, path: Path) -> None:
    if not forecast.tried():
        raise RequestError(
            f"{path} is not written: fewer than two categories are built, so there is no confusion matrix."
        )
    write_png(draw_confusion(forecast), path)
    say(f"picture: {path}")


def _categories_table(categories: Sequence[CategoryForecast]) -> str:
    rows = [
        (
            category.name,
            category.kind,
            _share(category.expected_iou),
            _share(category.own),
            str(category.images),
            word_state(category.judgement),
        )
        for category in categories
    ]
    header = ("category", "kind", "expected IoU", "own pixels", "images", "word")
    return table([header, *rows], right=(2, 3, 4))


def _pairs_table(pairs: Sequence[PairForecast]) -> str:
    rows = [
        (
            pair.first,
            pair.second,
            _share(pair.risk),
            _share(pair.confused),
            _share(pair.told_apart),
            _share(pair.text_cosine),
        )
        for pair in pairs
    ]
    header = ("", "", "risk", "confused", "CLIP tells apart", "texts")
    return table([header, *rows], right=(2, 3, 4, 5))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
