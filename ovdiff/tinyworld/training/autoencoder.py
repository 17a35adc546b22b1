"""Train the AutoencoderKL, which encodes images of 64 pixels as latents of 4 x 16 x 16 and decodes them.

Command: ``python -m ovdiff.tinyworld.training.autoencoder RUNS``. The loss is L1, L1 of the gradients, and a small KL
term. The KL term keeps the latents near unit scale; their exact scale is measured afterwards and stored in the config.
Tested by tests/ovdiff/tinyworld/training/test_training.py.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from ovdiff.tinyworld.training.data import load_training_set
from ovdiff.tinyworld.training.loop import ON_THE_CPU, Place, Plan, autocast, to_input, train

PLAN = Plan(steps=1400, batch=16, learning_rate=2e-3, ema_decay=0.99, seed=1)
SECOND_PLAN = Plan(steps=900, batch=16, learning_rate=1.2e-3, warmup=30, ema_decay=0.99, seed=5)
"""The plan of a second round with a lower learning rate. The first round ended at 22.7 dB, which was still rising."""
_CROP_PX = 48


def build(scaling_factor: float = 1.0) -> AutoencoderKL:
    """Build the untrained model, which reduces each side by a factor of 4 and has no attention in its middle block."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 48, 96),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=64,
        mid_block_add_attention=False,
        scaling_factor=scaling_factor,
    )


def _gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    across = F.l1_loss(a.diff(dim=-1), b.diff(dim=-1))
    return across + F.l1_loss(a.diff(dim=-2), b.diff(dim=-2))


def main(runs: Path, place: Place = ON_THE_CPU) -> None:
    """Train, measure the latents' scale, and write ``runs/vae``."""
    data = load_training_set(runs)
    model = build().to(place.device, memory_format=torch.channels_last)

    def step(number: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = np.sort(rng.choice(len(data), PLAN.batch, replace=False))
        y, x = rng.integers(0, 64 - _CROP_PX + 1, 2)
        images = to_input(data.images[chosen][:, y : y + _CROP_PX, x : x + _CROP_PX]).to(place.device)
        posterior = model.encode(images).latent_dist
        decoded = model.decode(posterior.sample()).sample.float()
        error = F.l1_loss(decoded, images)
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        loss = error + 0.5 * _gradient_loss(decoded, images) + 1e-3 * kl
        psnr = 10 * torch.log10(4 / F.mse_loss(decoded, images)).item()
        return loss, {"l1": error.item(), "kl": kl.item(), "psnr": psnr}

    train("vae", model, step, PLAN, runs, place)
    train("vae_second", model, step, SECOND_PLAN, runs, place)
    with torch.no_grad(), autocast(place.device):
        latents = model.encode(to_input(data.images[:256]).to(place.device)).latent_dist.mean.float()
    model.register_to_config(scaling_factor=float(1 / latents.std()))
    model.to("cpu", memory_format=torch.contiguous_format).save_pretrained(runs / "vae")
    logging.info("latent std %.3f", latents.std())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main(Path(sys.argv[1]))
