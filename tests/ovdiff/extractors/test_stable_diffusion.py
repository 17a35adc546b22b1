from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel

from ovdiff.errors import PresetError
from ovdiff.extractors.stable_diffusion import StableDiffusionExtractor
from ovdiff.models.cross_attention import cross_attention_layers
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.part_settings import StableDiffusionFeatureSettings


def test_features_are_the_queries_of_a_noised_image_without_text(
    preset: Preset, models: LoadedModels, image: np.ndarray
) -> None:
    pipeline = models.diffusion(preset.models.stable_diffusion)
    settings = replace(preset.extractors.stable_diffusion, layers=("up_blocks.2.attentions.1",))
    found = StableDiffusionExtractor(pipeline, settings).extract(image[None], "support")

    pixels = images_to_pixels(image[None], (64, 64), "half", torch.zeros(1))
    latents = pipeline.vae.encode(pixels).latent_dist.mode() * pipeline.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(43))
    kept = DDPMScheduler.from_config(pipeline.scheduler.config).alphas_cumprod[200]
    noised = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    _, empty = pipeline.encode_prompt(["x"], "cpu", 1, True, negative_prompt=[""])
    (layer,) = cross_attention_layers(pipeline.unet, settings.layers).values()
    queries: list[torch.Tensor] = []
    handle = layer.to_q.register_forward_hook(lambda _m, _i, output: queries.append(output))
    pipeline.unet(noised, 200, encoder_hidden_states=empty)
    handle.remove()
    grid = queries[0].transpose(1, 2).reshape(1, -1, 8, 8)
    expected = F.interpolate(grid, (16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_layers_are_concatenated_and_may_be_normalised(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    pipeline = models.diffusion(preset.models.stable_diffusion)
    settings = preset.extractors.stable_diffusion
    widths = [layer.to_q.out_features for layer in cross_attention_layers(pipeline.unet, settings.layers).values()]
    plain = StableDiffusionExtractor(pipeline, settings).extract(image[None], "window")
    assert plain.shape[1] == sum(widths)
    scaled = StableDiffusionExtractor(pipeline, replace(settings, normalise_layers=True)).extract(image[None], "window")
    assert float(scaled[:, : widths[0]].norm(dim=1).max()) <= 1 + 1e-5


def test_posterior_noise_is_fixed_and_differs_from_the_mode(
    preset: Preset, models: LoadedModels, image: np.ndarray
) -> None:
    pipeline = models.diffusion(preset.models.stable_diffusion)
    sampled = StableDiffusionExtractor(pipeline, replace(preset.extractors.stable_diffusion, posterior="sample"))
    mode = StableDiffusionExtractor(pipeline, preset.extractors.stable_diffusion)
    first = sampled.extract(image[None], "window")
    assert torch.equal(first, sampled.extract(image[None], "window"))
    assert not torch.allclose(first, mode.extract(image[None], "window"))


@pytest.mark.parametrize(("noise", "seed"), [("own", 44), ("shared", 43)])
def test_posterior_noise_has_a_seed_of_its_own_or_under_paper_that_of_the_added_noise(
    noise: str, seed: int, preset: Preset, models: LoadedModels, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_preset("paper").extractors.stable_diffusion.posterior_noise == "shared"
    pipeline = models.diffusion(preset.models.stable_diffusion)
    settings = replace(preset.extractors.stable_diffusion, posterior="sample", posterior_noise=noise)  # type: ignore[arg-type]
    extractor = StableDiffusionExtractor(pipeline, settings)
    given: list[torch.Tensor] = []
    add_noise = extractor._scheduler.add_noise
    monkeypatch.setattr(extractor._scheduler, "add_noise", lambda *a: given.extend(a[:2]) or add_noise(*a))
    extractor.extract(image[None], "support")
    latents, added = given
    pixels = images_to_pixels(image[None], (64, 64), "half", torch.zeros(1))
    posterior = pipeline.vae.encode(pixels).latent_dist
    drawn = (latents / pipeline.vae.config.scaling_factor - posterior.mean) / posterior.std
    expected = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(drawn, expected, rtol=1e-2, atol=1e-2)
    assert torch.equal(added, torch.randn(added.shape, generator=torch.Generator().manual_seed(43)))


def test_an_unknown_layer_is_refused(preset: Preset, models: LoadedModels) -> None:
    settings = replace(preset.extractors.stable_diffusion, layers=("up_blocks.0",))  # has no attention
    with pytest.raises(PresetError, match=r"No cross-attention layer starts with 'up_blocks\.0'"):
        StableDiffusionExtractor(models.diffusion(preset.models.stable_diffusion), settings)


def test_the_unet_is_left_after_the_last_layer_that_is_read(
    preset: Preset, models: LoadedModels, image: np.ndarray
) -> None:
    pipeline = models.diffusion(preset.models.stable_diffusion)
    settings = replace(preset.extractors.stable_diffusion, layers=("up_blocks.1", "down_blocks.0"))
    extractor = StableDiffusionExtractor(pipeline, settings)
    runs: list[str] = []
    handles = [
        block.register_forward_pre_hook(lambda *_, name=name: runs.append(name))
        for name, block in pipeline.unet.named_children()
        if name in ("mid_block", "conv_out")
    ] + [
        block.register_forward_pre_hook(lambda *_, number=number: runs.append(f"up_blocks.{number}"))
        for number, block in enumerate(pipeline.unet.up_blocks)
    ]
    extractor.extract(image[None], "window")
    for handle in handles:
        handle.remove()
    assert runs == ["mid_block", "up_blocks.0", "up_blocks.1"]


def test_the_paper_s_layers_of_stable_diffusion_1_5_are_6400_wide() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)  # SD 1.5's defaults
    paper = StableDiffusionFeatureSettings().layers
    for layers, width in ((paper, 6400), ((*paper, "mid_block.attentions.0"), 7680)):
        chosen = cross_attention_layers(unet, layers).values()
        assert sum(layer.to_q.out_features for layer in chosen) == width
