"""What every prediction of a backend follows from: one engine and one set of settings.

The service that answers /predict and the command that predicts a whole project make their predictions here, so both
give the same masks under the same model version.

Tested by tests/backend/serving/test_service.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from backend.errors import SettingsError
from backend.serving.model_version import model_version
from backend.serving.on_ray import EnginesOnRay
from backend.serving.predicting.predictions import Predictor, Snapshot
from backend.serving.predicting.recent import RecentSegmentations
from backend.serving.predicting.stored import NotingFetcher, PredictionStore, StoredItems
from backend.serving.predicting.together import Gathering
from backend.serving.preparing.standing import Standing
from backend.serving.vocabulary import Labelling
from backend.settings import Settings
from backend.sources.images import ImageSource
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.learning import engine_state
from ovdiff.engines.segmenting import FindsInstances
from ovdiff.vocabulary import Category, Vocabulary


@dataclass(frozen=True)
class Basis:
    """An engine and the settings that shape what is stored of its masks.

    Attributes:
        settings: all settings.
        engine: the method.
        clock_s: the clock of all times.
        remote: engines like this one on a cluster, which segment instead.
    """

    settings: Settings
    engine: SegmentationEngine
    clock_s: Callable[[], float] = time.monotonic
    remote: EnginesOnRay | None = None

    @property
    def worker(self) -> SegmentationEngine | EnginesOnRay:
        """What builds and loads models: the engines on a cluster, or this one."""
        return self.engine if self.remote is None else self.remote

    def predictor(
        self,
        images: ImageSource,
        *,
        remembers: bool = True,
        store: PredictionStore | None = None,
        gathering: Gathering | None = None,
    ) -> Predictor:
        """Return what makes the items of tasks.

        Args:
            images: where images come from.
            remembers: whether the last segmentations are kept, for a click or a repeated request.
            store: where whole predictions are kept (None: nowhere); `images` must come through its fetcher.
            gathering: gives the engine several images at once; None: one by one.

        Raises:
            SettingsError: regions are to be objects, but the engine does not tell objects apart.
        """
        per_object = self.settings.output.regions_per == "object"
        instances = self.engine if per_object and isinstance(self.engine, FindsInstances) else None
        if per_object and instances is None:
            raise SettingsError(
                f"OVDIFF_REGIONS_PER='object', but the engine {self.engine.preset.engine!r} does not tell objects "
                "apart. Set it to 'category'."
            )
        prediction = self.settings.prediction
        kept = prediction if remembers else replace(prediction, remember_bytes=0)
        recent = RecentSegmentations(
            images,
            self.engine,
            kept,
            instances=instances,
            remote=self.remote,
            gathering=gathering,
            clock_s=self.clock_s,
        )
        return Predictor(recent, self.settings.output, partial=prediction.partial_predictions, store=store)

    def stored_images(self, images: ImageSource) -> tuple[ImageSource, PredictionStore]:
        """Return a source of images like another one, and the store of the predictions that are made of them."""
        noting, prediction = NotingFetcher(images.fetcher), self.settings.prediction
        items = StoredItems(self.settings.predictions_dir, prediction.stored_bytes)
        return images.through(noting), PredictionStore(items, noting, recheck_s=prediction.remember_s)

    def version(self, labelling: Labelling, ready: Mapping[Category, str]) -> str:
        """Return the model version of predictions for which these categories are ready, each with its key."""
        vocabulary = Vocabulary(labelling.categories) if labelling.categories else None
        return model_version(
            labelling,
            ready=ready,
            engine_fingerprint=engine_state(self.engine, vocabulary),
            output_fingerprint=self.settings.output.fingerprint(),
        )

    def snapshot(self, labelling: Labelling, standing: Standing, *, asked_s: float, until_s: float) -> Snapshot:
        """Return the state from which tasks are predicted that were asked for at `asked_s`."""
        return Snapshot(
            labelling=labelling,
            ready=standing.ready,
            pending=standing.pending,
            failed=standing.failed,
            version=self.version(labelling, standing.ready),
            asked_s=asked_s,
            until_s=until_s,
        )
