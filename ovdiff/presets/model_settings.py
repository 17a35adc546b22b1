"""The settings of a preset's models: which weights it uses, and where they come from. Data only."""

# ruff: noqa: RUF009 - setting() is dataclasses.field with documentation; it returns a field, not a default

from dataclasses import MISSING, dataclass
from typing import Literal, TypeVar

from ovdiff.errors import PresetError
from ovdiff.presets.fields import added_tables, setting

Dtype = Literal["float32", "bfloat16", "float16"]
M = TypeVar("M")


@dataclass(frozen=True)
class ModelSettings:
    """Where one model comes from and how precisely it computes."""

    source: str = setting(MISSING, "'tinyworld:NAME' for an embedded model, a local folder, or a hub id", place=True)
    revision: str = setting("", "the hub commit; unused for folders and embedded weights")
    dtype: Dtype = setting(
        "float32",
        "the dtype of the forward passes; everything after them is float32. A CPU computes float32 in the place of "
        "float16, which few processors multiply in",
    )
    licence: str = setting(
        "",
        "the licence of the weights; '' looks the source up in ovdiff.models.licences, which knows no local folder",
        online=True,
        changes_no_mask=True,
    )


@dataclass(frozen=True)
class AdapterSettings:
    """A LoRA of the UNet, fused into the UNet's weights when they are loaded."""

    source: str = setting(MISSING, "a local folder or a hub id", place=True)
    revision: str = setting("", "the hub commit")
    scale: float = setting(1.0, "the adapter was trained for a scale of 1", minimum=0.0, maximum=2.0)
    licence: str = setting("", "the licence of the adapter, given as a model's is", online=True, changes_no_mask=True)


@dataclass(frozen=True)
class DiffusionModelSettings(ModelSettings):
    """A latent diffusion pipeline: UNet and text encoder in one dtype, the VAE in its own."""

    vae_dtype: Dtype = setting("float32", "bfloat16 has 8 bits of mantissa, which costs about one grey level")
    variant: str = setting("", "which of a hub repository's weight files is read; 'fp16' is half the download")
    adapter: AdapterSettings | None = setting(None, "adds a LoRA such as LCM-LoRA, with which four steps are enough")


@dataclass(frozen=True)
class ClipModelSettings(ModelSettings):
    """A CLIP model with both towers and its tokenizer."""

    library: Literal["transformers", "open_clip"] = setting(
        "transformers", "the library whose files the source holds: config.json, or open_clip_config.json"
    )


@dataclass(frozen=True)
class CheckpointSettings:
    """A detector's checkpoint: one file, read with ``weights_only=True``."""

    source: str = setting(MISSING, "a local file, or an https address from which the file is fetched once", place=True)
    sha256: str = setting("", "the hex digest that the file must have; '' accepts any file")
    dtype: Dtype = setting("float32", "the dtype of the forward pass")
    licence: str = setting(
        "", "the licence of the checkpoint, given as a model's is", online=True, changes_no_mask=True
    )


@dataclass(frozen=True)
class PresetModels:
    """The models of a preset. A model that the preset does not use is ``None``; two equal entries are loaded once."""

    generator: DiffusionModelSettings = setting(MISSING, "draws the support images")
    stable_diffusion: DiffusionModelSettings | None = setting(None, "gives the SD features")
    clip: ClipModelSettings | None = setting(None, "gives the CLIP features, the prefilter and the nearest names")
    dino: ModelSettings | None = setting(None, "gives the DINO features and MaskCut's affinities")
    dinov2: ModelSettings | None = setting(None, "gives the DINOv2 features")
    dinov3: ModelSettings | None = setting(None, "gives the DINOv3 features")
    mae: ModelSettings | None = setting(None, "gives the MAE features")
    cutler: CheckpointSettings | None = setting(None, "gives CutLER's proposals")
    safety_checker: ModelSettings | None = setting(None, "checks the images that Stable Diffusion draws")
    added: tuple[tuple[str, ModelSettings | CheckpointSettings], ...] = added_tables("models")

    def all_given(self) -> dict[str, ModelSettings | CheckpointSettings]:
        """Return the settings of every model that the preset gives, by name, in the schema's order."""
        tables = {**vars(self), **dict(self.added)}
        return {name: table for name, table in tables.items() if isinstance(table, ModelSettings | CheckpointSettings)}

    def given(self, name: str, kind: type[M]) -> M:
        """Return the settings of a model that some part of the preset needs.

        Raises:
            PresetError: the preset does not give the model, or gives another kind of model.
        """
        settings = self.all_given().get(name)
        if settings is None:
            raise PresetError(f"The preset has no models.{name}; add a [models.{name}] table with a source.")
        if not isinstance(settings, kind):
            raise PresetError(f"models.{name} is {type(settings).__name__}; expected {kind.__name__}.")
        return settings
