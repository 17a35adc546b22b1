"""The released checkpoints of ODISE, tensor by tensor, as a head of this project.

What is certain: the names of modules and the shapes were read in the public sources of NVlabs/ODISE, Mask2Former and
detectron2 (facts; no code was copied), of which a checkpoint's names are a consequence: it holds what is trained, under
``model``, and neither Stable Diffusion nor CLIP. The eight names under ``backbone.feature_extractor`` are also listed
by users of the files. What is inferred: that the released files hold no more than this, apart from
``criterion.empty_weight``. No released file could be had where this was written. A file that differs is refused, and
the message names the tensors.

The three tables below are the mapping. ``{i}`` counts layers, and a rule without a rest names whole modules: whatever
follows the released name follows ours. Three things are more than names:

- ``in_proj_weight`` of the decoder's self-attention holds queries, keys and values, one after the other;
- the captioner's tensors have leading axes of length 1;
- the caption model tells objects from nothing by two logits. Ours is their difference, so the probability is the same.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ovdiff.errors import WeightsError
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.preset import OdisePreset

LICENCE = "CC-BY-NC-SA-4.0"
"""The licence that the README of NVlabs/ODISE gives for its checkpoints. It is non-commercial."""

_CAPTIONER = "backbone.feature_extractor"
_PIXELS = "sem_seg_head.pixel_decoder"
_QUERIES = "sem_seg_head.predictor"

ONCE = {
    "captioner.text": f"{_CAPTIONER}.clip_project.linear",
    "captioner.text_positions": f"{_CAPTIONER}.clip_project.positional_embedding",
    "captioner.text_gate": f"{_CAPTIONER}.alpha_cond",
    "captioner.time": f"{_CAPTIONER}.time_embed_project.linear",
    "captioner.time_positions": f"{_CAPTIONER}.time_embed_project.positional_embedding",
    "captioner.time_gate": f"{_CAPTIONER}.alpha_cond_time_embed",
    "masks.pixels.input_projections": f"{_PIXELS}.input_proj",
    "masks.pixels.level_embed": f"{_PIXELS}.transformer.level_embed",
    "masks.pixels.mask_projection": f"{_PIXELS}.mask_features",
    "masks.queries.queries_embedder": f"{_QUERIES}.query_embed",
    "masks.queries.queries_features": f"{_QUERIES}.query_feat",
    "masks.queries.level_embed": f"{_QUERIES}.level_embed",
    "masks.queries.decoder.layernorm": f"{_QUERIES}.decoder_norm",
    "masks.embed.pooled": f"{_QUERIES}.post_mask_embed.pool_proj",
    "masks.embed.norm": f"{_QUERIES}.post_mask_embed.mask_embed.0",
    "names.log_scale": f"{_QUERIES}.post_mask_embed.logit_scale",
}
"""Our names, and the released ones, of what a head has once. See also :data:`NAMES`."""

REPEATED = {
    "masks.pixels.encoder.layers.{i}.self_attn": f"{_PIXELS}.transformer.encoder.layers.{{i}}.self_attn",
    "masks.pixels.encoder.layers.{i}.self_attn_layer_norm": f"{_PIXELS}.transformer.encoder.layers.{{i}}.norm1",
    "masks.pixels.encoder.layers.{i}.fc1": f"{_PIXELS}.transformer.encoder.layers.{{i}}.linear1",
    "masks.pixels.encoder.layers.{i}.fc2": f"{_PIXELS}.transformer.encoder.layers.{{i}}.linear2",
    "masks.pixels.encoder.layers.{i}.final_layer_norm": f"{_PIXELS}.transformer.encoder.layers.{{i}}.norm2",
    "masks.pixels.adapter_{i}.0": f"{_PIXELS}.adapter_{{i}}",
    "masks.pixels.adapter_{i}.1": f"{_PIXELS}.adapter_{{i}}.norm",
    "masks.pixels.layer_{i}.0": f"{_PIXELS}.layer_{{i}}",
    "masks.pixels.layer_{i}.1": f"{_PIXELS}.layer_{{i}}.norm",
    "masks.queries.decoder.layers.{i}.self_attn.out_proj": (
        f"{_QUERIES}.transformer_self_attention_layers.{{i}}.self_attn.out_proj"
    ),
    "masks.queries.decoder.layers.{i}.self_attn_layer_norm": f"{_QUERIES}.transformer_self_attention_layers.{{i}}.norm",
    "masks.queries.decoder.layers.{i}.cross_attn": (
        f"{_QUERIES}.transformer_cross_attention_layers.{{i}}.multihead_attn"
    ),
    "masks.queries.decoder.layers.{i}.cross_attn_layer_norm": (
        f"{_QUERIES}.transformer_cross_attention_layers.{{i}}.norm"
    ),
    "masks.queries.decoder.layers.{i}.fc1": f"{_QUERIES}.transformer_ffn_layers.{{i}}.linear1",
    "masks.queries.decoder.layers.{i}.fc2": f"{_QUERIES}.transformer_ffn_layers.{{i}}.linear2",
    "masks.queries.decoder.layers.{i}.final_layer_norm": f"{_QUERIES}.transformer_ffn_layers.{{i}}.norm",
    "masks.queries.decoder.mask_predictor.mask_embedder.{i}.0": f"{_QUERIES}.mask_embed.layers.{{i}}",
}
"""The same of layers, which both sides number alike."""

NAMES = {"category_head": ("null", "text_proj", "null_embed"), "word_head": ("objectness", "text_proj", "")}
"""The module that reads names in the label model and in the caption model: ``classifier.void`` of its preset, the
projection of texts, and the learned "nothing". The caption model has none, and ours is then zeros that nothing reads.
"""

IGNORED = frozenset({"criterion.empty_weight"})
"""What a training needed and a head does not."""

_BLOCK = {"reduce": "conv1", "mix": "conv2", "expand": "conv3", "shortcut": "shortcut"}
_THIRDS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}
_SELF = f"{_QUERIES}.transformer_self_attention_layers.{{layer}}.self_attn.in_proj_"


def read_released(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a released checkpoint; only tensors and plain containers are loaded.

    Raises:
        WeightsError: the file cannot be read, or holds something else.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and torch raise errors of many kinds.
        raise WeightsError(
            f"{path} cannot be read as a checkpoint of tensors: {type(error).__name__}: {error}"
        ) from error
    tensors = found.get("model", found) if isinstance(found, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{path} holds no table of tensors under 'model'. Give a checkpoint of NVlabs/ODISE.")
    return dict(tensors)


def released_to_head(released: dict[str, Tensor], preset: OdisePreset) -> dict[str, Tensor]:
    """Return the weights of a head from the tensors of a released checkpoint. No model is loaded.

    Args:
        released: the tensors, by their released names.
        preset: the architecture; the order of its taps is that of the VAE's encoder, its decoder and the UNet.

    Raises:
        WeightsError: tensors are missing, superfluous or of another shape; the message names them.
    """
    module = _names_module(released, preset)
    expected, used, found = _head(released, module, preset).state_dict(), set(IGNORED), {}
    missing: list[str] = []
    for name, like in expected.items():
        if name == "names.null" and not NAMES[module][2]:
            found[name] = torch.zeros_like(like, device="cpu")
            continue
        source = _source(name, module, preset)
        if source not in released:
            missing.append(f"{source} (for {name})")
            continue
        used.add(source)
        found[name] = _fitted(_part(name, released[source]), like, source)
    superfluous = sorted(set(released) - used)
    if missing or superfluous:
        raise WeightsError(
            f"The checkpoint does not fit the preset {preset.name!r}: {_listed('missing', missing)}, "
            f"{_listed('superfluous', superfluous)}. ovdiff/odise/released.py holds the table of names."
        )
    return found


def _names_module(released: dict[str, Tensor], preset: OdisePreset) -> str:
    present = [module for module in NAMES if any(name.startswith(f"{module}.") for name in released)]
    if len(present) != 1:
        raise WeightsError(
            f"The checkpoint has {' and '.join(present) or 'neither category_head nor word_head'}; a checkpoint of "
            f"NVlabs/ODISE has one of category_head and word_head."
        )
    void = NAMES[present[0]][0]
    if preset.classifier.void != void:
        raise WeightsError(
            f"The checkpoint has {present[0]}, so the preset needs classifier.void = {void!r}, and {preset.name!r} has "
            f'{preset.classifier.void!r}. Give a preset with base = "odise" and [classifier] void = "{void}"'
            + (" ([fusion] alpha = 0.35 and beta = 0.65 belong to it)." if void == "objectness" else ".")
        )
    return present[0]


def _head(released: dict[str, Tensor], module: str, preset: OdisePreset) -> OdiseHead:
    """Return a head without values; how wide the frozen models are is seen in the checkpoint."""
    taps = preset.taps
    count = len(taps.vae_encoder) + len(taps.vae_decoder) + len(taps.unet)
    blocks = [f"backbone.feature_projections.{_released_tap(tap, preset)}.0.conv1.weight" for tap in range(count)]
    wide = [*blocks, f"{module}.{NAMES[module][1]}.weight", ONCE["captioner.text_gate"], ONCE["captioner.time_gate"]]
    shapes = [released[name].shape for name in wide if name in released]
    if len(shapes) != len(wide):
        lacking = [name for name in wide if name not in released]
        raise WeightsError(f"The checkpoint does not fit the preset {preset.name!r}: {_listed('missing', lacking)}.")
    text, time = shapes[-2], shapes[-1]
    with torch.device("meta"):
        return OdiseHead(
            preset, [shape[1] for shape in shapes[:count]], shapes[count][-1], (text[-2], text[-1]), time[-1]
        )


def _source(name: str, module: str, preset: OdisePreset) -> str:
    """Return the released name of the tensor that holds one of ours."""
    parts = name.split(".")
    if name.startswith("masks.pyramid.taps."):
        block, kind = _BLOCK[parts[4]], {"0": "", "1": "norm."}[parts[5]]
        return f"backbone.feature_projections.{_released_tap(int(parts[3]), preset)}.0.{block}.{kind}{parts[6]}"
    if name.startswith("masks.embed.mlp."):  # Ours counts the activations between the layers too.
        return f"{_QUERIES}.post_mask_embed.mask_embed.1.layers.{int(parts[3]) // 2}.{parts[4]}"
    if "self_attn" in parts and parts[-2] in _THIRDS:
        return _SELF.format(layer=parts[4]) + parts[-1]
    modules = {
        "names.null": f"{module}.{NAMES[module][2]}",
        "names.project": f"{module}.{NAMES[module][1]}",
        "masks.objectness": f"{_QUERIES}.class_embed",
    }
    for ours, theirs in modules.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    return _renamed(name)


def _renamed(name: str) -> str:
    for ours, theirs in _rules():
        rest = _rest(name, ours)
        if rest is not None:
            return theirs.format(i=rest[0]) + rest[1]
    return name


def _rules() -> Iterator[tuple[str, str]]:
    yield from ONCE.items()
    yield from REPEATED.items()


def _rest(name: str, rule: str) -> tuple[str, str] | None:
    """Return the number of the layer and what follows the rule's name, or ``None`` if the rule is another's."""
    before, counted, after = rule.partition("{i}")
    if not name.startswith(before):
        return None
    number = ""
    if counted:
        number = name[len(before) :].split(".", maxsplit=1)[0]
        if not number.isdigit():
            return None
    rest = name[len(before) + len(number) :]
    if not rest.startswith(after):
        return None
    rest = rest[len(after) :]
    return (number, rest) if not rest or rest.startswith(".") else None


def _released_tap(tap: int, preset: OdisePreset) -> int:
    """Return the released number of one of our taps: the released order is VAE encoder, UNet, VAE decoder."""
    taps = preset.taps
    encoder, decoder, unet = (len(names) for names in (taps.vae_encoder, taps.vae_decoder, taps.unet))
    if tap < encoder:
        return tap
    return tap + unet if tap < encoder + decoder else tap - decoder


def _part(name: str, value: Tensor) -> Tensor:
    parts = name.split(".")
    if "self_attn" in parts and parts[-2] in _THIRDS and len(value) % 3 == 0:
        return value.chunk(3)[_THIRDS[parts[-2]]]
    if name.startswith("masks.objectness.") and len(value) == 2:
        return value[:1] - value[1:]
    return value


def _fitted(value: Tensor, like: Tensor, source: str) -> Tensor:
    """Return the value in our shape; leading axes of length 1 may differ, and nothing else."""
    ours, theirs = [list(shape) for shape in (like.shape, value.shape)]
    for shape in (ours, theirs):
        while shape and shape[0] == 1:
            del shape[0]
    if ours != theirs:
        raise WeightsError(f"{source} has the shape {tuple(value.shape)}; the preset needs {tuple(like.shape)}.")
    return value.reshape(like.shape).float()


def _listed(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{len(names)} tensors are {what}" + (f" ({shown})" if names else "")
