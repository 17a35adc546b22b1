"""Train the UNet2DConditionModel and its CLIPTextModel on the autoencoder's latents.

Command: ``python -m ovdiff.tinyworld.training.diffusion RUNS`` (after ``autoencoder``). The model learns v-prediction
on Stable Diffusion's noise schedule. One caption in five is left out. There are three rounds; each begins the optimiser
and the learning rate anew. A round that is finished is not trained again, and an interrupted one continues.

**The attention is supervised.** In every cross-attention layer of 8 x 8 cells or more, the map of each noun (and of its
colour) is pulled towards the drawn mask by KL(mask / area, attention). If a sample's caption was left out, its queries
are compared with the keys of that caption, because the features that OVDiff reads come from such a pass without text.
Stable Diffusion was trained without this supervision. Without it, a model this small attributes a noun to the
surroundings of the noun's object.
"""

import logging
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ovdiff.tinyworld.captions import full_caption, short_caption
from ovdiff.tinyworld.training import tokenizer as tokenizers
from ovdiff.tinyworld.training.data import TrainingSet, load_training_set
from ovdiff.tinyworld.training.loop import ON_THE_CPU, Place, Plan, autocast, to_input, train
from ovdiff.tinyworld.world import COLOURS, NAMES, THINGS

PLAN = Plan(steps=4200, batch=32, learning_rate=1e-3, warmup=200, ema_decay=0.998, seed=3)
SECOND_PLAN = Plan(steps=4700, batch=32, learning_rate=5e-4, ema_decay=0.999, seed=11)
THIRD_PLAN = Plan(steps=6000, batch=32, learning_rate=5e-4, ema_decay=0.9995, seed=21)
ROUNDS = ("diffusion", "diffusion_second", "diffusion_third")
"""The names of the rounds' checkpoints. Each round continues from the averaged weights of the one before."""
LATENT = 16
_DROPPED = 0.2
_ATTENTION_WEIGHT = 0.1
_OBJECT_WEIGHT = 3.0
_MIN_CELLS = 64
"""The number of cells, 8 x 8, below which a cross-attention layer is not supervised."""


def build_unet() -> UNet2DConditionModel:
    """Build the untrained UNet in Stable Diffusion's block layout."""
    return UNet2DConditionModel(
        sample_size=LATENT,
        block_out_channels=(64, 96, 128, 128),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Build the untrained text encoder: width 128, two layers."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizers.MAX_LENGTH,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            attn_implementation="eager",
        )
    )


def scheduler() -> DDPMScheduler:
    """Return Stable Diffusion's noise schedule with v-prediction."""
    return DDPMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=1,
    )


class ProbedAttention(AttnProcessor):
    """Cross-attention that also keeps the probabilities of its queries over the keys of the text in ``probe``."""

    def __init__(self, probe: dict[str, Tensor], kept: list[Tensor]) -> None:
        super().__init__()
        self._probe, self._kept = probe, kept

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **unused: object
    ) -> Tensor:
        """Attend as AttnProcessor does, and keep the probabilities' mean over heads, (B, cells, tokens)."""
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states))
        mixed = attn.batch_to_head_dim(torch.bmm(attn.get_attention_scores(query, key), value))
        if hidden_states.shape[1] >= _MIN_CELLS:
            probed = attn.head_to_batch_dim(attn.to_k(self._probe["text"]))
            scores = attn.get_attention_scores(query, probed).float()
            self._kept.append(scores.unflatten(0, (-1, attn.heads)).mean(dim=1))
        return attn.to_out[0](mixed)


class TextToLatent(nn.Module):
    """The pair that is trained, text encoder and UNet, with probed cross-attention."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet = build_unet()
        self.text_encoder = build_text_encoder(tokenizer)
        self._probe: dict[str, Tensor] = {}
        self._kept: list[Tensor] = []
        probed = ProbedAttention(self._probe, self._kept)
        names = self.unet.attn_processors
        self.unet.set_attn_processor({n: probed if ".attn2." in n else AttnProcessor() for n in names})

    def forward(self, noisy: Tensor, times: Tensor, captions: Tensor, given: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the prediction and the attention maps, a list of (B, cells, tokens).

        Args:
            noisy: (B, 4, 16, 16) latents.
            times: (B,) timesteps.
            captions: (B, tokens) ids of the captions that are true of the latents.
            given: (B, tokens) ids of the captions that the UNet is given, some of which are empty.
        """
        self._kept.clear()
        self._probe["text"] = self.text_encoder(captions).last_hidden_state
        told = self.text_encoder(given).last_hidden_state
        return self.unet(noisy, times, told).sample.float(), list(self._kept)


def encode_all(vae: AutoencoderKL, data: TrainingSet, path: Path, device: str = "cpu") -> Tensor:
    """Return the scaled latents (N, 4, 16, 16) float32 of all images. They are read from ``path`` if it exists."""
    if not path.exists():
        vae.to(device)
        with torch.no_grad(), autocast(device):
            parts = [
                vae.encode(to_input(data.images[i : i + 64]).to(device)).latent_dist.mean.half()
                for i in range(0, len(data), 64)
            ]
        torch.save(torch.cat(parts).cpu(), path)
    return torch.load(path, weights_only=True, map_location=device).float() * vae.config.scaling_factor


def choose_caption(rng: np.random.Generator, things: list[tuple[str, str]], regions: list[str]) -> str:
    """Return a caption of all that is visible, or, for many scenes of one thing or region, of that one alone."""
    if rng.random() < 0.4:
        if len(things) == 1:
            name, colour = things[0]
            return short_caption(rng, name, colour if rng.random() < 0.4 else None)
        if not things and len(regions) == 1:
            return short_caption(rng, regions[0], None)
    return full_caption(rng, things, regions)


def attention_targets(caption: str, things: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """Return (token position, index into NAMES) for each noun of a caption and for its colour.

    Every word of the world is one token, so a word's position is its place in the caption plus one.
    """
    words, targets = caption.split(), []
    several = {name for name, _ in things if sum(name == other for other, _ in things) > 1}
    for place, word in enumerate(words):
        if word in NAMES:
            targets.append((place + 1, NAMES.index(word)))
            # A label map does not tell two things of one name apart, so their colours are not supervised.
            if word in THINGS and words[place - 1] in COLOURS and word not in several:
                targets.append((place, NAMES.index(word)))
    return targets


def _cell_masks(label_maps: NDArray[np.uint8], side: int) -> Tensor:
    """Return the share of each name in each cell, (B, names, side * side)."""
    one_hot = F.one_hot(torch.from_numpy(label_maps.astype(np.int64)), len(NAMES)).permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(one_hot, side).flatten(2)


def attention_loss(maps: list[Tensor], targets: list[list[tuple[int, int]]], label_maps: NDArray[np.uint8]) -> Tensor:
    """Return the mean over nouns and layers of KL(mask / area, attention over the cells)."""
    rows = [(b, token, name) for b, row in enumerate(targets) for token, name in row]
    sample, token, name = torch.tensor(rows).T
    losses = []
    for layer in maps:
        masks = _cell_masks(label_maps, int(layer.shape[1] ** 0.5))[sample, name].to(layer.device)
        wanted = masks / masks.sum(dim=1, keepdim=True).clamp_min(1e-6)
        seen = layer[sample, :, token]
        seen = seen / seen.sum(dim=1, keepdim=True)
        losses.append((wanted * (wanted.clamp_min(1e-6).log() - seen.clamp_min(1e-6).log())).sum(dim=1).mean())
    return torch.stack(losses).mean()


def main(runs: Path, place: Place = ON_THE_CPU) -> None:
    """Train in three rounds, and leave a checkpoint of each: ``runs/diffusion.pt``, and further those of ROUNDS."""
    data, tokenizer = load_training_set(runs), tokenizers.build()
    latents = encode_all(
        AutoencoderKL.from_pretrained(runs / "vae", low_cpu_mem_usage=False), data, runs / "latents.pt", place.device
    )
    torch.manual_seed(PLAN.seed)
    model, noise_schedule = TextToLatent(tokenizer).to(place.device), scheduler()

    def tokens(captions: list[str]) -> Tensor:
        encoded = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        return encoded.input_ids.to(place.device)

    def step(_number: int, rng: np.random.Generator, batch: int) -> tuple[Tensor, dict[str, float]]:
        chosen = np.sort(rng.choice(len(data), batch, replace=False))
        captions = [choose_caption(rng, data.things[i], data.regions[i]) for i in chosen]
        dropped = rng.random(batch) < _DROPPED
        given = ["" if gone else caption for caption, gone in zip(captions, dropped, strict=True)]
        # Samples without text mostly get little noise, because OVDiff reads its features in such passes.
        most = np.where(dropped & (rng.random(batch) < 0.7), 400, 1000)
        times = torch.from_numpy((rng.random(batch) * most).astype(np.int64)).to(place.device)
        clean = latents[torch.from_numpy(chosen).to(place.device)]
        noise = torch.randn_like(clean)
        noisy = noise_schedule.add_noise(clean, noise, times)
        predicted, maps = model(noisy, times, tokens(captions), tokens(given))
        label_maps = data.label_maps[chosen]
        things = _cell_masks(label_maps, LATENT)[:, : len(THINGS)].sum(dim=1).to(place.device)
        weight = 1 + _OBJECT_WEIGHT * things.view(-1, 1, LATENT, LATENT)
        error = (predicted - noise_schedule.get_velocity(clean, noise, times)) ** 2
        pixel_loss = (error * weight).sum() / weight.expand_as(error).sum()
        targets = [attention_targets(c, data.things[i]) for c, i in zip(captions, chosen, strict=True)]
        focus = attention_loss(maps, targets, label_maps)
        return pixel_loss + _ATTENTION_WEIGHT * focus, {"v": pixel_loss.item(), "attention": focus.item()}

    for name, plan in zip(ROUNDS, (PLAN, SECOND_PLAN, THIRD_PLAN), strict=True):
        train(name, model, partial(step, batch=plan.batch), plan, runs, place)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main(Path(sys.argv[1]))
