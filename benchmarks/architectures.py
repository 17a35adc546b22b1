"""The real architectures from their published configurations, with random weights: what a model costs, what its
weights are called and how wide its features are depends on no trained value.

Each builder takes ``device`` ("meta" allocates nothing) and ``shrink``: every width is divided by it, while depth,
heads, patches and layout stay, so ``shrink=8`` is a small model of the same topology. CutLER's own builder is in
``ovdiff.proposals``.

    unet = build_unet(SD_TURBO, device="meta")
    stable_diffusion(shrink=8).save_pretrained(folder)     # then DiffusionModelSettings(source=str(folder))
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    GroupViTConfig,
    GroupViTModel,
    SamConfig,
    SamModel,
    ViTConfig,
    ViTMAEConfig,
    ViTMAEModel,
    ViTModel,
)

Config = dict[str, Any]

_NOISE: Config = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
}
_CLIP_WORDS: Config = {"vocab_size": 49408, "max_position_embeddings": 77}


@dataclass(frozen=True)
class Diffusion:
    """The parts of a latent diffusion pipeline that differ between versions of Stable Diffusion."""

    unet: Config
    text_encoder: Config
    scheduler: Config
    few_step: bool
    pad_token: str


# stable-diffusion-v1-5/stable-diffusion-v1-5: unet/, text_encoder/ and scheduler/ of the repository.
SD_15 = Diffusion(
    unet={
        "sample_size": 64,
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": 8,  # as diffusers uses it: the number of heads
        "cross_attention_dim": 768,
    },
    text_encoder={
        **_CLIP_WORDS,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "projection_dim": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
    },
    scheduler={**_NOISE, "skip_prk_steps": True, "set_alpha_to_one": False},
    few_step=False,
    pad_token="<|endoftext|>",
)

# stabilityai/sd-turbo: Stable Diffusion 2.1's UNet (linear projections, heads of 64) and OpenCLIP-H's text
# encoder without its last layer.
SD_TURBO = Diffusion(
    unet={
        "sample_size": 64,
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
    },
    text_encoder={
        **_CLIP_WORDS,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "projection_dim": 512,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
    },
    scheduler={**_NOISE, "timestep_spacing": "trailing"},
    few_step=True,
    pad_token="!",
)

# The VAE of both: vae/config.json.
VAE: Config = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}

# openai/clip-vit-base-patch16.
CLIP_B16: Config = {
    "projection_dim": 512,
    "text_config": {
        **_CLIP_WORDS,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
    },
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "patch_size": 16,
        "image_size": 224,
    },
}

# openai/clip-vit-large-patch14-336: ODISE's (C.1).
CLIP_L14_336: Config = {
    "projection_dim": 768,
    "text_config": {
        **_CLIP_WORDS,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 336,
    },
}

# CompVis/stable-diffusion-safety-checker: the image tower of CLIP ViT-L/14 and twenty concepts.
SAFETY_CHECKER: Config = {
    "projection_dim": 768,
    "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 224,
    },
}

# timm/vit_base_patch16_clip_224.openai: model_cfg of open_clip_config.json; head_width is open_clip's default.
OPEN_CLIP_B16: Config = {
    "embed_dim": 512,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}

# timm/vit_large_patch14_clip_336.openai.
OPEN_CLIP_L14_336: Config = {
    "embed_dim": 768,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 336, "layers": 24, "width": 1024, "head_width": 64, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12},
}

# facebook/dino-vitb8.
DINO_B8: Config = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "patch_size": 8,
    "image_size": 224,
    "layer_norm_eps": 1e-12,
}

# facebook/dinov2-base.
DINOV2_B14: Config = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "mlp_ratio": 4,
    "patch_size": 14,
    "image_size": 518,
    "layer_norm_eps": 1e-6,
}

# facebook/dinov3-vitb16-pretrain-lvd1689m: rotary positions, four register tokens, no bias of the keys.
DINOV3_B16: Config = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "patch_size": 16,
    "image_size": 224,
    "num_register_tokens": 4,
    "key_bias": False,
    "rope_theta": 100.0,
    "layerscale_value": 1.0,
}

# facebook/vit-mae-large: the encoder, without the decoder.
MAE_L16: Config = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 16,
    "image_size": 224,
    "layer_norm_eps": 1e-12,
}

# nvidia/groupvit-gcc-yfcc.
GROUPVIT: Config = {
    "projection_dim": 256,
    "projection_intermediate_dim": 4096,
    "text_config": {
        **_CLIP_WORDS,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
    },
    "vision_config": {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_attention_heads": 6,
        "depths": [6, 3, 3],
        "num_group_tokens": [64, 8, 0],
        "num_output_groups": [64, 8, 8],
        "patch_size": 16,
        "image_size": 224,
    },
}

# CIDAS/clipseg-rd64-refined: CLIP ViT-B/16 and the decoder with finer transposed convolutions.
CLIPSEG: Config = {
    **CLIP_B16,
    "reduce_dim": 64,
    "decoder_num_attention_heads": 4,
    "decoder_intermediate_size": 2048,
    "extract_layers": [3, 6, 9],
    "conditional_layer": 0,
    "use_complex_transposed_convolution": True,
}

# facebook/sam-vit-base.
SAM: Config = {
    "vision_config": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "output_channels": 256},
    "prompt_encoder_config": {"hidden_size": 256},
    "mask_decoder_config": {"hidden_size": 256, "mlp_dim": 2048, "iou_head_hidden_dim": 256},
}

_WIDTHS = frozenset(
    {
        "block_out_channels",
        "cross_attention_dim",
        "decoder_intermediate_size",
        "embed_dim",
        "head_width",
        "hidden_size",
        "intermediate_size",
        "iou_head_hidden_dim",
        "mlp_dim",
        "output_channels",
        "projection_dim",
        "projection_intermediate_dim",
        "reduce_dim",
        "width",
    }
)


def narrow(config: Config, shrink: int) -> Config:
    """Return a configuration with every width divided by ``shrink``.

    Raises:
        ValueError: it does not divide one of them.
    """
    return {key: _narrow_value(key, value, shrink) for key, value in config.items()}


def build_unet(version: Diffusion, device: str = "cpu", shrink: int = 1) -> UNet2DConditionModel:
    """Build a UNet: 859.5 M parameters for SD 1.5, 865.9 M for SD-Turbo."""
    config = narrow(version.unet, shrink)
    with torch.device(device):
        return UNet2DConditionModel(**config, norm_num_groups=_groups(config)).eval()


def build_vae(device: str = "cpu", shrink: int = 1) -> AutoencoderKL:
    """Build the VAE: 83.7 M parameters."""
    config = narrow(VAE, shrink)
    with torch.device(device):
        return AutoencoderKL(**config, norm_num_groups=_groups(config)).eval()


def build_text_encoder(version: Diffusion, device: str = "cpu", shrink: int = 1) -> CLIPTextModel:
    """Build a prompt encoder: 123.1 M parameters for SD 1.5, 340.4 M for SD-Turbo."""
    with torch.device(device):
        return CLIPTextModel(CLIPTextConfig(**narrow(version.text_encoder, shrink))).eval()


def build_scheduler(version: Diffusion) -> PNDMScheduler | EulerDiscreteScheduler:
    """Build the scheduler that the repository comes with."""
    return EulerDiscreteScheduler(**version.scheduler) if version.few_step else PNDMScheduler(**version.scheduler)


def build_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """Build CLIP's tokenizer of 49,408 tokens; its vocabulary comes with the open_clip package."""
    words = open_clip.tokenizer.SimpleTokenizer()
    merges = sorted(words.bpe_ranks, key=words.bpe_ranks.__getitem__)
    named = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {named.get(token, token): number for token, number in words.encoder.items()}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=77)


def build_diffusion(version: Diffusion = SD_15, device: str = "cpu", shrink: int = 1) -> StableDiffusionPipeline:
    """Build a whole pipeline without a safety checker."""
    return StableDiffusionPipeline(
        vae=build_vae(device, shrink),
        text_encoder=build_text_encoder(version, device, shrink),
        tokenizer=build_tokenizer(version.pad_token),
        unet=build_unet(version, device, shrink),
        scheduler=build_scheduler(version),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_safety_checker(device: str = "cpu", shrink: int = 1) -> StableDiffusionSafetyChecker:
    """Build Stable Diffusion's image check: 304.0 M parameters."""
    with torch.device(device):
        return StableDiffusionSafetyChecker(CLIPConfig(**narrow(SAFETY_CHECKER, shrink))).eval()


def build_clip(device: str = "cpu", shrink: int = 1, config: Config = CLIP_B16) -> CLIPModel:
    """Build a CLIP as transformers has it: ViT-B/16 has 149.6 M parameters, ViT-L/14-336 427.9 M."""
    with torch.device(device):
        return CLIPModel(CLIPConfig(**narrow(config, shrink))).eval()


def build_open_clip(device: str = "cpu", shrink: int = 1, config: Config = OPEN_CLIP_B16) -> open_clip.CLIP:
    """Build the same as open_clip has it."""
    with torch.device(device):
        return open_clip.CLIP(**narrow(config, shrink)).eval()


def build_dino(device: str = "cpu", shrink: int = 1) -> ViTModel:
    """Build DINO ViT-B/8: 85.8 M parameters."""
    with torch.device(device):
        return ViTModel(ViTConfig(**narrow(DINO_B8, shrink)), add_pooling_layer=False).eval()


def build_dinov2(device: str = "cpu", shrink: int = 1) -> Dinov2Model:
    """Build DINOv2 ViT-B/14: 86.6 M parameters."""
    with torch.device(device):
        return Dinov2Model(Dinov2Config(**narrow(DINOV2_B14, shrink))).eval()


def build_dinov3(device: str = "cpu", shrink: int = 1) -> DINOv3ViTModel:
    """Build DINOv3 ViT-B/16: 85.7 M parameters."""
    with torch.device(device):
        return DINOv3ViTModel(DINOv3ViTConfig(**narrow(DINOV3_B16, shrink))).eval()


def build_mae(device: str = "cpu", shrink: int = 1) -> ViTMAEModel:
    """Build MAE's encoder ViT-L/16: 303.3 M parameters."""
    with torch.device(device):
        model = ViTMAEModel(ViTMAEConfig(**narrow(MAE_L16, shrink))).eval()
        for start in (model.embeddings.position_embeddings, model.embeddings.cls_token):
            torch.nn.init.normal_(start, std=0.02)  # the library leaves them at zero for a checkpoint to fill
        return model


def build_groupvit(device: str = "cpu", shrink: int = 1) -> GroupViTModel:
    """Build GroupViT: 55.7 M parameters."""
    with torch.device(device):
        return GroupViTModel(GroupViTConfig(**narrow(GROUPVIT, shrink))).eval()


def build_clipseg(device: str = "cpu", shrink: int = 1) -> CLIPSegForImageSegmentation:
    """Build CLIPSeg with the decoder of 64 channels: 150.7 M parameters."""
    with torch.device(device):
        return CLIPSegForImageSegmentation(CLIPSegConfig(**narrow(CLIPSEG, shrink))).eval()


def build_sam(device: str = "cpu", shrink: int = 1, image_px: int = 1024) -> SamModel:
    """Build SAM ViT-B: 93.7 M parameters."""
    config = narrow(SAM, shrink)
    config["vision_config"] |= {"image_size": image_px, "num_pos_feats": 128 // shrink}
    config["prompt_encoder_config"] |= {"image_size": image_px, "image_embedding_size": image_px // 16}
    with torch.device(device):
        return SamModel(SamConfig(**config)).eval()


def save_open_clip(model: open_clip.CLIP, folder: Path, shrink: int = 1, config: Config = OPEN_CLIP_B16) -> None:
    """Write an open_clip model as its hub repository holds it: a configuration and safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {"model_cfg": narrow(config, shrink), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})


def save_safety_checker(model: StableDiffusionSafetyChecker, folder: Path) -> None:
    """Write a safety checker and the preprocessing of its images beside it."""
    model.save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def _narrow_value(key: str, value: Any, shrink: int) -> Any:
    if isinstance(value, dict):
        return narrow(value, shrink)
    if key not in _WIDTHS:
        return value
    if isinstance(value, tuple):
        return tuple(_narrow_value(key, width, shrink) for width in value)
    if value % shrink:
        raise ValueError(f"{key} is {value}, which {shrink} does not divide; shrink by 2, 4, 8 or 16.")
    return value // shrink


def _groups(config: Config) -> int:
    """Return the published 32 groups of the normalisation, or as many as a narrow block has room for."""
    width: int = config["block_out_channels"][0]
    return 32 if width % 32 == 0 else width & -width
