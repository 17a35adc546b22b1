"""A checkpoint with the released names, written down here by hand, becomes a head; what does not fit is named."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.engines import load_any_preset
from ovdiff.errors import WeightsError
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.head_file import HeadCard, architecture, load_head, write_head
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.released import read_released, released_to_head

Shapes = dict[str, tuple[int, ...]]
CHANNELS = {"encoder": (512, 512), "unet": (2560, 1920, 960, 640), "decoder": (512, 512)}

ENCODER = "sem_seg_head.pixel_decoder.transformer.encoder.layers"
FFN = "sem_seg_head.predictor.transformer_ffn_layers"


def released_shapes(shrink: int = 1, *, caption: bool = False) -> Shapes:  # noqa: PLR0912, PLR0915 - a plain list
    """Return names and shapes as the released code makes them, from its own order of modules."""
    found: Shapes = {}
    level, squeezed, hidden = 512 // shrink, 128 // shrink, 256 // shrink
    clip, time = 768 // shrink, 1280 // shrink

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        found[f"{name}.weight"] = shape
        if bias:
            found[f"{name}.bias"] = shape[:1]

    captioner = "backbone.feature_extractor"
    found[f"{captioner}.alpha_cond"] = (1, 77, clip)
    found[f"{captioner}.alpha_cond_time_embed"] = (time,)
    found[f"{captioner}.clip_project.positional_embedding"] = (1, 77, clip)
    layer(f"{captioner}.clip_project.linear", clip, clip)
    found[f"{captioner}.time_embed_project.positional_embedding"] = (1, 1, time)
    layer(f"{captioner}.time_embed_project.linear", time, clip)
    taps = [channels // shrink for part in ("encoder", "unet", "decoder") for channels in CHANNELS[part]]
    for tap, channels in enumerate(taps):
        convolutions = {
            "conv1": (squeezed, channels, 1),
            "conv2": (squeezed, squeezed, 3),
            "conv3": (level, squeezed, 1),
        }
        if channels != level:
            convolutions["shortcut"] = (level, channels, 1)
        for name, (out, inside, side) in convolutions.items():
            layer(f"backbone.feature_projections.{tap}.0.{name}", out, inside, side, side, bias=False)
            layer(f"backbone.feature_projections.{tap}.0.{name}.norm", out)
    pixels = "sem_seg_head.pixel_decoder"
    for number in range(3):
        layer(f"{pixels}.input_proj.{number}.0", hidden, level, 1, 1)
        layer(f"{pixels}.input_proj.{number}.1", hidden)
    found[f"{pixels}.transformer.level_embed"] = (3, hidden)
    for number in range(6):
        block = f"{pixels}.transformer.encoder.layers.{number}"
        for name, out in (("sampling_offsets", 8 * 3 * 4 * 2), ("attention_weights", 8 * 3 * 4)):
            layer(f"{block}.self_attn.{name}", out, hidden)
        for name in ("value_proj", "output_proj"):
            layer(f"{block}.self_attn.{name}", hidden, hidden)
        layer(f"{block}.norm1", hidden)
        layer(f"{block}.linear1", 1024 // shrink, hidden)
        layer(f"{block}.linear2", hidden, 1024 // shrink)
        layer(f"{block}.norm2", hidden)
    layer(f"{pixels}.mask_features", hidden, hidden, 1, 1)
    for name, inside, side in (("adapter_1", level, 1), ("layer_1", hidden, 3)):
        layer(f"{pixels}.{name}", hidden, inside, side, side, bias=False)
        layer(f"{pixels}.{name}.norm", hidden)
    queries = "sem_seg_head.predictor"
    for number in range(9):
        for kind, attention in (("self", "self_attn"), ("cross", "multihead_attn")):
            block = f"{queries}.transformer_{kind}_attention_layers.{number}"
            found[f"{block}.{attention}.in_proj_weight"] = (3 * hidden, hidden)
            found[f"{block}.{attention}.in_proj_bias"] = (3 * hidden,)
            layer(f"{block}.{attention}.out_proj", hidden, hidden)
            layer(f"{block}.norm", hidden)
        block = f"{queries}.transformer_ffn_layers.{number}"
        layer(f"{block}.linear1", 2048 // shrink, hidden)
        layer(f"{block}.linear2", hidden, 2048 // shrink)
        layer(f"{block}.norm", hidden)
    layer(f"{queries}.decoder_norm", hidden)
    for name, rows in (("query_feat", 100), ("query_embed", 100), ("level_embed", 3)):
        found[f"{queries}.{name}.weight"] = (rows, hidden)
    for number in range(3):
        layer(f"{queries}.mask_embed.layers.{number}", hidden, hidden)
        layer(f"{queries}.post_mask_embed.mask_embed.1.layers.{number}", hidden, hidden)
    layer(f"{queries}.post_mask_embed.pool_proj.0", hidden)
    layer(f"{queries}.post_mask_embed.pool_proj.1", hidden, hidden)
    layer(f"{queries}.post_mask_embed.mask_embed.0", hidden)
    found[f"{queries}.post_mask_embed.logit_scale"] = ()
    found["criterion.empty_weight"] = (2,) if caption else (134,)
    layer("word_head.text_proj" if caption else "category_head.text_proj", hidden, clip)
    if caption:
        layer(f"{queries}.class_embed", 2, hidden)
    else:
        found["category_head.null_embed"] = (1, clip)
    return found


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=random).half().float() / 8 for name, shape in shapes.items()}


def narrow(shrink: int = 8, *, void: str = "null") -> OdisePreset:
    preset = load_any_preset("odise")
    assert isinstance(preset, OdisePreset)
    sizes = {"bottleneck": 128, "level_channels": 512, "hidden": 256, "mask_channels": 256}
    sizes |= {"encoder_ffn": 1024, "decoder_ffn": 2048}
    generator = replace(preset.mask_generator, norm_groups=8, **{name: size // shrink for name, size in sizes.items()})
    classifier = replace(preset.classifier, embedding=256 // shrink, void=void)  # type: ignore[arg-type]
    return replace(preset, mask_generator=generator, classifier=classifier)


def narrow_head(preset: OdisePreset) -> OdiseHead:
    channels = [ch // 8 for part in ("encoder", "decoder", "unet") for ch in CHANNELS[part]]
    return OdiseHead(preset, channels, 96, (77, 96), 160).eval()


def test_every_tensor_of_a_full_size_checkpoint_is_used_once() -> None:
    """A tensor of one value each: what is in the head must be all of them, and nothing else."""
    preset = load_any_preset("odise")
    assert isinstance(preset, OdisePreset)
    shapes = released_shapes()
    released = {name: torch.tensor(float(n)).expand(shape) for n, (name, shape) in enumerate(shapes.items(), start=1)}
    found = released_to_head(released, preset)
    assert sum(value.numel() for value in found.values()) == 28_067_009
    values = {float(value.flatten()[0]) for value in found.values()}
    assert values == {float(n) for n, name in enumerate(shapes, start=1) if name != "criterion.empty_weight"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("captioner.text_gate", "backbone.feature_extractor.alpha_cond"),
        ("captioner.time_positions", "backbone.feature_extractor.time_embed_project.positional_embedding"),
        ("masks.pyramid.taps.1.expand.0.weight", "backbone.feature_projections.1.0.conv3.weight"),
        ("masks.pyramid.taps.2.mix.1.bias", "backbone.feature_projections.6.0.conv2.norm.bias"),  # VAE decoder
        ("masks.pyramid.taps.4.shortcut.0.weight", "backbone.feature_projections.2.0.shortcut.weight"),  # UNet
        ("masks.pyramid.taps.7.reduce.0.weight", "backbone.feature_projections.5.0.conv1.weight"),
        ("masks.pixels.layer_1.1.weight", "sem_seg_head.pixel_decoder.layer_1.norm.weight"),
        ("masks.pixels.encoder.layers.5.fc2.bias", f"{ENCODER}.5.linear2.bias"),
        ("masks.queries.decoder.layers.8.final_layer_norm.bias", f"{FFN}.8.norm.bias"),
        ("masks.embed.mlp.4.weight", "sem_seg_head.predictor.post_mask_embed.mask_embed.1.layers.2.weight"),
        ("names.log_scale", "sem_seg_head.predictor.post_mask_embed.logit_scale"),
        ("names.null", "category_head.null_embed"),
    ],
)  # fmt: skip
def test_a_tensor_is_the_one_that_was_put_in(ours: str, theirs: str) -> None:
    released = drawn(released_shapes(8))
    found = released_to_head(released, narrow())
    assert torch.equal(found[ours].flatten(), released[theirs].flatten())


def test_a_converted_head_is_written_read_and_works_as_the_released_layout(tmp_path: Path) -> None:
    """The parts whose layout differs: fused queries, keys and values; the bottleneck; captioner; pooled embedding."""
    released, preset = drawn(released_shapes(8)), narrow()
    write_head(tmp_path, released_to_head(released, preset), HeadCard((), architecture(preset), {}))
    head = narrow_head(preset)
    load_head(tmp_path, head, preset)
    states = torch.randn(5, 1, 32)
    layer = "sem_seg_head.predictor.transformer_self_attention_layers.3.self_attn"
    weights = [released[f"{layer}.{name}"] for name in ("in_proj_weight", "in_proj_bias")]
    out = [released[f"{layer}.out_proj.{name}"] for name in ("weight", "bias")]
    asked = states + (places := torch.randn(5, 1, 32))
    rest = (None, None, False, 0.0, *out, False)
    fused, _ = F.multi_head_attention_forward(asked, asked, states, 32, 8, *weights, *rest)
    ours = head.masks.queries.decoder.layers[3].self_attn(hidden_states=states, position_embeddings=places)[0]
    assert torch.allclose(ours, fused, atol=1e-5)

    tap = torch.randn(1, 320, 4, 4)  # the UNet's first: the third of the released order, the fifth of ours

    def norm(values: Tensor, name: str) -> Tensor:
        block = f"backbone.feature_projections.2.0.{name}"
        convolved = F.conv2d(values, released[f"{block}.weight"], padding=released[f"{block}.weight"].shape[-1] // 2)
        return F.group_norm(convolved, 8, released[f"{block}.norm.weight"], released[f"{block}.norm.bias"])

    expected = (norm(norm(norm(tap, "conv1").relu(), "conv2").relu(), "conv3") + norm(tap, "shortcut")).relu()
    assert torch.allclose(head.masks.pyramid.taps[4](tap), expected, atol=1e-4)

    seen, empty = torch.randn(2, 96), torch.randn(1, 77, 96)
    at = "backbone.feature_extractor"
    linear = released[f"{at}.clip_project.linear.weight"], released[f"{at}.clip_project.linear.bias"]
    said = F.linear(seen, *linear)[:, None] + released[f"{at}.clip_project.positional_embedding"]
    assert head.captioner is not None
    expected = empty + torch.tanh(released[f"{at}.alpha_cond"]) * said
    assert torch.allclose(head.captioner(seen, empty).text, expected, atol=1e-5)


def test_the_caption_model_s_two_logits_give_the_same_probability() -> None:
    released, preset = drawn(released_shapes(8, caption=True)), narrow(void="objectness")
    head = narrow_head(preset)
    head.load_state_dict(released_to_head(released, preset))
    states = torch.randn(7, 32)
    place = "sem_seg_head.predictor.class_embed"
    shares = F.linear(states, released[f"{place}.weight"], released[f"{place}.bias"]).softmax(dim=1)
    assert head.masks.objectness is not None
    assert torch.allclose(head.masks.objectness(states)[:, 0].sigmoid(), shares[:, 0], atol=1e-6)


def test_what_does_not_fit_is_named() -> None:
    released = drawn(released_shapes(8))
    gone = "sem_seg_head.predictor.decoder_norm.bias"
    less = {name: value for name, value in released.items() if name != gone}
    with pytest.raises(WeightsError, match=rf"1 tensors are missing \({gone} \(for masks.queries"):
        released_to_head(less, narrow())
    with pytest.raises(WeightsError, match=r"1 tensors are superfluous \(backbone.stray\)"):
        released_to_head({**released, "backbone.stray": torch.zeros(1)}, narrow())
    with pytest.raises(
        WeightsError, match=r"query_feat.weight has the shape \(100, 16\); the preset needs \(100, 32\)"
    ):
        released_to_head({**released, "sem_seg_head.predictor.query_feat.weight": torch.zeros(100, 16)}, narrow())
    with pytest.raises(WeightsError, match="alpha_cond"):
        released_to_head({k: v for k, v in released.items() if not k.endswith("alpha_cond")}, narrow())


def test_a_checkpoint_of_the_other_supervision_says_which_preset_it_needs() -> None:
    with pytest.raises(WeightsError, match=r"classifier.void = 'objectness'.*alpha = 0.35"):
        released_to_head(drawn(released_shapes(8, caption=True)), narrow())
    with pytest.raises(WeightsError, match="neither category_head nor word_head"):
        released_to_head({"a": torch.zeros(1)}, narrow())


def test_only_tensors_are_read(tmp_path: Path) -> None:
    good, code, other = (tmp_path / name for name in ("good.pth", "code.pth", "other.pth"))
    torch.save({"model": {"a": torch.ones(2)}}, good)
    assert torch.equal(read_released(good)["a"], torch.ones(2))
    torch.save({"model": Path("x")}, code)
    torch.save({"model": {"a": 3}}, other)
    with pytest.raises(WeightsError, match=r"code.pth cannot be read as a checkpoint of tensors: UnpicklingError"):
        read_released(code)
    with pytest.raises(WeightsError, match="holds no table of tensors under 'model'"):
        read_released(other)
