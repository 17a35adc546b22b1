"""The models of a preset of ODISE, each loaded when it is first needed."""

from functools import cached_property

import torch
from torch import Tensor

from ovdiff.errors import VocabularyError, WeightsError
from ovdiff.models.clip import Clip
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.models.weights import locate, weights_identity
from ovdiff.odise.encoding import WindowEncoder
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.head_file import HeadCard, load_head
from ovdiff.odise.naming import Label, LabelTexts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.taps import DiffusionTaps


class OdiseParts:
    """The frozen models, and the head. Use them under ``models.lock``."""

    def __init__(self, preset: OdisePreset, models: LoadedModels) -> None:
        """Load nothing yet."""
        self.preset, self.models = preset, models
        self._head: tuple[str, OdiseHead, HeadCard] | None = None

    @cached_property
    def clip(self) -> Clip:
        """CLIP."""
        return self.models.clip(self.preset.models.clip)

    @cached_property
    def encoder(self) -> WindowEncoder:
        """The frozen models that give the features."""
        taps = DiffusionTaps(self.models.diffusion(self.preset.models.diffusion), self.preset.taps)
        return WindowEncoder(self.preset, taps, self.clip)

    @property
    def head(self) -> tuple[OdiseHead, HeadCard]:
        """The trained part, and what it was trained for. It is loaded again when its files have changed.

        Raises:
            WeightsError: its files are missing or damaged, fit another architecture, or change while they are read.
        """
        identity = self.head_identity()
        if self._head is None or self._head[0] != identity:
            loaded = self._load_head()
            if self.head_identity() != identity:
                raise WeightsError(f"The head {self.preset.models.head.source!r} is being written. Try again.")
            self._head = identity, *loaded
        return self._head[1:]

    def head_identity(self) -> str:
        """Return a hash of the head's files as they are now; cheap while they do not change.

        Raises:
            WeightsError: the files are missing.
        """
        return weights_identity(self.preset.models.head)

    def _load_head(self) -> tuple[OdiseHead, HeadCard]:
        settings = self.preset.models.head
        folder = locate(settings)
        if folder is None:
            raise WeightsError(
                f"models.head.source is {settings.source!r}, which is no folder. Train a head by `ovdiff odise train`, "
                f"and give the folder that it writes."
            )
        head = self.new_head()
        card = load_head(folder, head, self.preset)
        return head.to(self.models.device).eval().requires_grad_(False), card

    def new_head(self) -> OdiseHead:
        """Return an untrained head that fits the frozen models."""
        taps = self.encoder.taps
        length, width = taps.empty_text.shape[1:]
        channels = self.text_channels
        return OdiseHead(self.preset, taps.channels, channels, (length, width), taps.time_channels)

    @cached_property
    def text_channels(self) -> int:
        """The length of CLIP's embeddings."""
        return len(self._vectors([""])[0])

    def label_texts(self, labels: list[Label], templates: tuple[str, ...]) -> LabelTexts:
        """Return the texts of labels: each synonym's unit vector is the mean over the templates.

        Raises:
            VocabularyError: a synonym is longer than the text encoder reads.
        """
        synonyms = [synonym for label in labels for synonym in label.synonyms]
        texts = [template.replace("{category}", synonym) for synonym in synonyms for template in templates]
        each = torch.stack(self._vectors(texts)).reshape(len(synonyms), len(templates), -1)
        vectors = torch.nn.functional.normalize(each.mean(dim=1), dim=1)
        owners = [index for index, label in enumerate(labels) for _ in label.synonyms]
        return LabelTexts(vectors, torch.tensor(owners, device=self.models.device), len(labels))

    def _vectors(self, texts: list[str]) -> list[Tensor]:
        """Return a unit vector (P,) of each text; all that are new are embedded at once."""
        vectors = []
        for text, vector in zip(texts, self.texts.embed(texts), strict=True):
            if vector is None:
                raise VocabularyError(f"{text!r} is longer than the text encoder reads. Give a shorter prompt.")
            vectors.append(vector)
        return vectors

    @cached_property
    def texts(self) -> ClipTexts:
        """CLIP's texts, of which the most recently used are kept."""
        return ClipTexts(self.clip, self.preset.cache.texts)
