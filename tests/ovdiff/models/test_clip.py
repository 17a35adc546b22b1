"""Both libraries on the same random weights of CLIP ViT-B/16's topology, loaded as real ones are."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from benchmarks import architectures as real
from ovdiff.models.clip import Clip, OpenClip, TransformersClip, resize_positions
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.presets.model_settings import ClipModelSettings

SHRINK = 8
TEXTS = ["a cat", "a dog and a cat and a keyboard and a window and a tall tree", "", "A Photo of a Zürich tram!"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model, saved in the files of each library."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clips")
    model = real.build_clip(shrink=SHRINK)
    for weight in model.parameters():  # biases and norms are zeros and ones at first, which would hide mistakes
        nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.05)
    model.save_pretrained(folder / "transformers")
    real.build_tokenizer().save_pretrained(folder / "transformers")
    fused = real.build_open_clip(shrink=SHRINK)
    fused.load_state_dict(to_open_clip(model), strict=False)
    real.save_open_clip(fused, folder / "open_clip", SHRINK)
    return {"transformers": folder / "transformers", "open_clip": folder / "open_clip"}


@pytest.fixture(scope="module")
def clips(folders: dict[str, Path]) -> dict[str, Clip]:
    return {name: LoadedModels().clip(_settings(name, folder)) for name, folder in folders.items()}


@pytest.fixture(params=["transformers", "open_clip"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 96, 120, 3), dtype=np.uint8)


def _settings(library: str, folder: Path, dtype: str = "float32") -> ClipModelSettings:
    return ClipModelSettings(source=str(folder), library=library, dtype=dtype)  # type: ignore[arg-type]


def to_open_clip(model: CLIPModel) -> dict[str, Tensor]:
    """Rename and fuse the weights of transformers' CLIP as open_clip has them."""
    source = model.state_dict()

    def tower(of: str, to: str) -> dict[str, Tensor]:
        found = {}
        for number in range(len(getattr(model, of).encoder.layers)):
            block, target = f"{of}.encoder.layers.{number}.", f"{to}resblocks.{number}."
            for kind in ("weight", "bias"):
                parts = [source[f"{block}self_attn.{name}_proj.{kind}"] for name in "qkv"]
                found[f"{target}attn.in_proj_{kind}"] = torch.cat(parts)
                for name, new in {
                    "self_attn.out_proj": "attn.out_proj",
                    "layer_norm1": "ln_1",
                    "layer_norm2": "ln_2",
                    "mlp.fc1": "mlp.c_fc",
                    "mlp.fc2": "mlp.c_proj",
                }.items():
                    found[f"{target}{new}.{kind}"] = source[f"{block}{name}.{kind}"]
        return found

    renamed = {
        "token_embedding.weight": source["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": source["text_model.embeddings.position_embedding.weight"],
        "text_projection": source["text_projection.weight"].T,
        "logit_scale": source["logit_scale"],
        "visual.class_embedding": source["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": source["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": source["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": source["visual_projection.weight"].T,
    }
    for kind in ("weight", "bias"):
        renamed[f"ln_final.{kind}"] = source[f"text_model.final_layer_norm.{kind}"]
        renamed[f"visual.ln_pre.{kind}"] = source[f"vision_model.pre_layrnorm.{kind}"]
        renamed[f"visual.ln_post.{kind}"] = source[f"vision_model.post_layernorm.{kind}"]
    return renamed | tower("text_model", "transformer.") | tower("vision_model", "visual.transformer.")


def _pass(clip: Clip, method: str, images: np.ndarray) -> Tensor:
    if method == "embed_images":
        return clip.embed_images(images, "clip")
    if method == "tokens":
        return clip.tokens(images, (64, 96), "imagenet")
    return clip.keys(images, (64, 96), int(method), "imagenet")


@pytest.mark.parametrize("method", ["embed_images", "tokens", "0", "-2", "-1"])
def test_both_libraries_see_the_same(clips: dict[str, Clip], method: str, images: np.ndarray) -> None:
    first, second = (_pass(clip, method, images) for clip in clips.values())
    assert first.shape == second.shape and first.dtype == second.dtype == torch.float32
    assert float(first.std()) > 0
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_both_libraries_read_the_same(clips: dict[str, Clip]) -> None:
    first, second = (clip.embed_texts(TEXTS) for clip in clips.values())
    for one, other in zip(first, second, strict=True):
        assert one is not None and other is not None
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(one.norm(), torch.tensor(1.0))


def test_keys_and_tokens_are_what_the_model_computes(folders: dict[str, Path], images: np.ndarray) -> None:
    model = CLIPModel.from_pretrained(folders["transformers"])
    clip = TransformersClip(model, CLIPTokenizer.from_pretrained(folders["transformers"]))
    pixels = images_to_pixels(images, (64, 96), "imagenet", torch.zeros(1))
    vision = model.vision_model
    output = vision(pixels, interpolate_pos_encoding=True, output_hidden_states=True)
    block = vision.encoder.layers[-2]
    keys = block.self_attn.k_proj(block.layer_norm1(output.hidden_states[-3]))[:, 1:]
    torch.testing.assert_close(_pass(clip, "-2", images).flatten(2).transpose(1, 2), keys, rtol=1e-4, atol=1e-5)
    tokens = model.visual_projection(vision.post_layernorm(output.last_hidden_state))[:, 1:]
    found = _pass(clip, "tokens", images)
    assert found.shape == (2, 64, 4, 6)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), tokens, rtol=1e-4, atol=1e-5)


def test_open_clip_s_pass_is_the_library_s_own_at_its_own_size(folders: dict[str, Path], images: np.ndarray) -> None:
    model = open_clip.create_model(f"local-dir:{folders['open_clip']}")
    clip = OpenClip(model, open_clip.SimpleTokenizer())
    pixels = images_to_pixels(images, (224, 224), "clip", torch.zeros(1))
    model.visual.output_tokens = True
    pooled, tokens = model.visual(pixels)
    model.visual.output_tokens = False
    torch.testing.assert_close(clip.embed_images(images, "clip"), F.normalize(pooled, dim=1), rtol=1e-4, atol=1e-6)
    found = clip.tokens(images, (224, 224), "clip").flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, tokens @ model.visual.proj, rtol=1e-4, atol=1e-5)
    text = model.encode_text(open_clip.SimpleTokenizer()(["a cat"]), normalize=True)[0]
    torch.testing.assert_close(clip.embed_texts(["a cat"])[0], text, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_text_s_vector_does_not_depend_on_its_batch(library: str, dtype: str, folders: dict[str, Path]) -> None:
    """It did: in bfloat16, and padded to the longest of the batch, by more than a thousandth."""
    clip = LoadedModels().clip(_settings(library, folders[library], dtype))
    (alone,) = clip.embed_texts(["a cat"])
    among = clip.embed_texts([f"a {'very ' * (number % 30)}large dog" for number in range(20)] + ["a cat"])
    assert alone is not None and among[-1] is not None
    assert torch.equal(alone, among[-1])
    assert alone.dtype == torch.float32


def test_the_text_tower_stays_in_float32(library: str, folders: dict[str, Path], clips: dict[str, Clip]) -> None:
    half = LoadedModels().clip(_settings(library, folders[library], "bfloat16"))
    for one, other in zip(half.embed_texts(TEXTS), clips[library].embed_texts(TEXTS), strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


def test_the_image_tower_has_the_wanted_dtype(
    library: str, folders: dict[str, Path], clips: dict[str, Clip], images: np.ndarray
) -> None:
    half = LoadedModels().clip(_settings(library, folders[library], "bfloat16"))
    for method in ("embed_images", "tokens", "-2"):
        rounded, exact = _pass(half, method, images), _pass(clips[library], method, images)
        assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
        assert float((rounded - exact).norm() / exact.norm()) < 0.05


def test_texts_longer_than_the_context_have_no_vector(clips: dict[str, Clip], library: str) -> None:
    fits, too_long = " ".join(["cat"] * 75), " ".join(["cat"] * 76)  # and start and end: 77
    found = clips[library].embed_texts(["a cat", too_long, fits])
    assert [vector is None for vector in found] == [False, True, False]
    assert clips[library].embed_texts([]) == []


def test_blocks_after_the_one_that_is_read_never_run(
    library: str, folders: dict[str, Path], images: np.ndarray
) -> None:
    clip = LoadedModels().clip(_settings(library, folders[library]))
    assert isinstance(clip, TransformersClip | OpenClip)
    blocks = clip._vision.encoder.layers if isinstance(clip, TransformersClip) else clip._visual.transformer.resblocks
    runs: list[int] = []
    for number, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, number=number: runs.append(number))
    clip.keys(images, (64, 64), -2, "clip")
    assert runs == list(range(10))  # of block 10 only its keys are computed, block 11 is never begun
    runs.clear()
    clip.tokens(images, (64, 64), "clip")
    assert runs == list(range(12))


def test_shapes_are_known(clips: dict[str, Clip], library: str) -> None:
    assert (clips[library].patch_px, clips[library].blocks) == (16, 12)


def test_positions_are_resized_between_patches_and_kept_for_cls() -> None:
    positions = torch.cat([torch.full((1, 1), 9.0), torch.arange(16.0)[:, None]])
    assert resize_positions(positions, (4, 4)) is positions
    resized = resize_positions(positions, (8, 2))
    assert resized.shape == (17, 1) and float(resized[0]) == 9.0
    grid = resized[1:, 0].reshape(8, 2)
    assert bool((grid.diff(dim=0) > 0).all() and (grid.diff(dim=1) > 0).all())


MASK_PX = 16  # of the regions' masks


@pytest.fixture
def regions() -> Tensor:
    """Four masks an image (2, 4, 16, 16): large, one pixel, none, all."""
    masks = torch.zeros(2, 4, MASK_PX, MASK_PX, dtype=torch.bool)
    masks[0, 0, 3:9, 2:15], masks[1, 0, 10:, :5] = True, True
    masks[0, 1, 5, 7] = masks[1, 1, 15, 0] = True
    masks[:, 3] = True
    return masks


def _regions_slowly(model: CLIPModel, images: np.ndarray, masks: Tensor, size_px: int, *, see_class: bool) -> Tensor:
    """Run the whole encoder on all tokens and the extra class tokens, with a full matrix of who sees whom (C.3)."""
    vision, side = model.vision_model, size_px // model.config.vision_config.patch_size
    pixels = images_to_pixels(images, (size_px, size_px), "clip", torch.zeros(1))
    states = vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))
    count, extra = states.shape[1], masks.shape[1]
    states = torch.cat([states, states[:, :1].expand(-1, extra, -1)], dim=1)
    sees = torch.full((len(images), 1, count + extra, count + extra), -torch.inf)
    sees[:, :, :count, :count] = 0.0
    cell = MASK_PX // side
    for image in range(len(images)):
        for region in range(extra):
            row = sees[image, 0, count + region]
            for patch in range(side * side):
                y, x = divmod(patch, side)
                if masks[image, region, cell * y : cell * (y + 1), cell * x : cell * (x + 1)].any():
                    row[1 + patch] = 0.0
            if see_class or not masks[image, region].any():
                row[0] = 0.0
    for layer in vision.encoder.layers:
        states = layer(states, attention_mask=sees)
    embedded = model.visual_projection(vision.post_layernorm(states[:, count:]))
    return F.normalize(embedded, dim=2)


@pytest.mark.parametrize("see_class", [True, False])
@pytest.mark.parametrize("size_px", [64, 128])
@torch.no_grad()
def test_a_region_s_token_sees_its_patches_and_is_seen_by_none(
    folders: dict[str, Path], images: np.ndarray, regions: Tensor, see_class: bool, size_px: int
) -> None:
    model = CLIPModel.from_pretrained(folders["transformers"])
    clip = TransformersClip(model, CLIPTokenizer.from_pretrained(folders["transformers"]))
    expected = _regions_slowly(model, images, regions, size_px, see_class=see_class)
    found = clip.embed_regions(images, regions, size_px, "clip", see_class=see_class)
    assert (found.shape, found.dtype) == (expected.shape, torch.float32)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (found[0, 0] - found[0, 1]).abs().max() > 1e-3  # regions differ


@pytest.mark.parametrize("see_class", [True, False])
def test_both_libraries_see_the_same_regions(
    clips: dict[str, Clip], images: np.ndarray, regions: Tensor, see_class: bool
) -> None:
    first, second = (clip.embed_regions(images, regions, 96, "clip", see_class=see_class) for clip in clips.values())
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.norm(dim=2), torch.ones(2, 4))


def test_a_region_without_a_patch_is_what_the_class_token_sees(
    clips: dict[str, Clip], images: np.ndarray, regions: Tensor
) -> None:
    clip = clips["transformers"]
    seeing, not_seeing = (clip.embed_regions(images, regions, 64, "clip", see_class=each) for each in (True, False))
    torch.testing.assert_close(seeing[:, 2], not_seeing[:, 2])
    assert (seeing[:, 3] - not_seeing[:, 3]).abs().max() > 1e-4
    assert torch.isfinite(not_seeing).all()


def test_features_are_what_becomes_a_unit_vector(clips: dict[str, Clip], images: np.ndarray) -> None:
    for clip in clips.values():
        features = clip.image_features(images, "clip")
        assert (features.norm(dim=1) - 1).abs().min() > 1e-3
        torch.testing.assert_close(F.normalize(features, dim=1), clip.embed_images(images, "clip"))
