"""Proposals of an instance segmentation model of the user's own, which detectron2 runs.

The config is a YAML file of detectron2. A config that is a Python program is not run, and YAML tags that would
construct Python objects are refused. detectron2 is imported when the model is loaded, not when this module is imported.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ovdiff.errors import PresetError, WeightsError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.needs import proposal_settings
from ovdiff.presets.part_settings import Detectron2Settings
from ovdiff.proposals.checkpoint import load_weights, read_checkpoint

INSTALL = "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
"""The command that installs detectron2. No package index has it (D.3); it builds against the installed torch."""


def make_proposer(preset: Preset, models: LoadedModels) -> "Detectron2":
    """Make the proposer of a preset, on a model of the user's own."""
    return Detectron2(proposal_settings(preset, Detectron2Settings), models.device)


class Detectron2:
    """Proposes the masks of the objects that a detector finds, of whatever class. Masks may overlap."""

    def __init__(self, settings: Detectron2Settings, device: torch.device) -> None:
        """Build the config's model and load its weights.

        Raises:
            PresetError: detectron2 cannot be imported, or cannot build a model from the config.
            WeightsError: the weights are missing, cannot be read, or belong to another model.
        """
        config, model, transforms = _build(settings)
        path = Path(settings.weights).expanduser()
        if not path.is_file():
            raise WeightsError(f"There is no file {settings.weights!r}, which proposals.detectron2.weights names.")
        load_weights(model, read_checkpoint(path), path)
        self._model = model.float().to(device).requires_grad_(False).eval()
        self._settings, self._channels = settings, config.INPUT.FORMAT
        if self._channels not in ("RGB", "BGR"):
            raise PresetError(f"{settings.config} has the INPUT.FORMAT {self._channels!r}; expected 'RGB' or 'BGR'.")
        self._resize = transforms.ResizeShortestEdge([config.INPUT.MIN_SIZE_TEST] * 2, config.INPUT.MAX_SIZE_TEST)

    def propose(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return masks (J, H, W) of an (H, W, 3) uint8 RGB image.

        Raises:
            PresetError: the model finds no instances, or gives them no masks.
        """
        height, width = image.shape[:2]
        ordered = image if self._channels == "RGB" else np.ascontiguousarray(image[..., ::-1])
        resized = self._resize.get_transform(ordered).apply_image(ordered)
        pixels = torch.from_numpy(resized.astype(np.float32)).permute(2, 0, 1)
        with torch.inference_mode():
            found = self._model([{"image": pixels, "height": height, "width": width}])[0].get("instances")
        if found is None or not found.has("pred_masks"):
            raise PresetError(
                f"The model of {self._settings.config} gives {'no instances' if found is None else 'boxes, no masks'}; "
                f"proposals.detectron2 needs an instance segmentation model (MODEL.MASK_ON: true for R-CNNs)."
            )
        masks = found.pred_masks[found.scores > self._settings.min_score] > 0.5
        proposals: NDArray[np.bool_] = masks.cpu().numpy()
        return proposals


def _build(settings: Detectron2Settings) -> tuple[Any, Any, Any]:
    """Return the configuration, its model without weights on the CPU, and detectron2's module of transforms."""
    try:
        import yaml
        from detectron2.config import get_cfg
        from detectron2.data import transforms
        from detectron2.modeling import build_model
    except ImportError as error:
        raise PresetError(
            f"proposals.source is 'detectron2', which cannot be imported ({error}). Install it with: {INSTALL}"
        ) from error
    path = Path(settings.config).expanduser()
    if not path.is_file():
        raise PresetError(f"There is no file {settings.config!r}, which proposals.detectron2.config names.")
    config = get_cfg()
    try:
        config.merge_from_file(str(path), allow_unsafe=False)  # By default detectron2 would run a tag's Python code.
        config.MODEL.DEVICE = "cpu"
        config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = settings.min_score
        return config, build_model(config), transforms
    except (yaml.YAMLError, KeyError, ValueError, TypeError, AssertionError) as error:
        raise PresetError(
            f"{settings.config} makes no model of this detectron2: {error}. Settings and models that a project adds to "
            f"detectron2 cannot be used here; take them out of the config, or choose another proposals.source."
        ) from error
