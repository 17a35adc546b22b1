"""CLIP: embeds texts and images in one space (A.10), and gives the features of its image encoder (A.11).

Two libraries implement the same network: transformers has separate projections for queries, keys and values, open_clip
has one fused projection. Both stand behind one Protocol and give the same numbers for the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.models.clip_tower import ClipTower, open_clip_block, transformers_block
from ovdiff.models.keys import output_of, tokens_to_grid
from ovdiff.models.pixels import Images, images_to_pixels
from ovdiff.models.text_batches import encode_texts
from ovdiff.presets.part_settings import Resampling, Statistics

if TYPE_CHECKING:
    import open_clip
    from transformers import CLIPModel, CLIPTokenizer


class Clip(Protocol):
    """A CLIP model with both towers. Images are (B, H, W, 3) uint8 RGB; results are float32 on the model's device."""

    @property
    def patch_px(self) -> int:
        """The side of a patch, in px."""
        ...

    @property
    def blocks(self) -> int:
        """The number of blocks of the image encoder."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        """Return a unit vector (P,) for each text, or ``None`` for a text that is longer than the encoder reads.

        A text's vector is the same, bit for bit, whichever other texts are embedded with it.
        """
        ...

    def embed_images(self, images: Images, statistics: Statistics, resampling: Resampling = "bicubic") -> Tensor:
        """Return unit vectors (B, P) of images, stretched to the size that the encoder was trained with."""
        ...

    def image_features(self, images: Images, statistics: Statistics, resampling: Resampling = "bicubic") -> Tensor:
        """Return what `embed_images` returns before it is made a unit vector (B, P)."""
        ...

    def embed_regions(
        self,
        images: Images,
        masks: Tensor,
        size_px: int,
        statistics: Statistics,
        resampling: Resampling = "bicubic",
        *,
        see_class: bool = True,
    ) -> Tensor:
        """Return a unit vector (B, Q, P) of each region of each image.

        Each region has a class token of its own, which sees the region's patches and is seen by none (Ding et al.,
        "Open-Vocabulary Universal Image Segmentation with MaskCLIP", ICML 2023; the specification's C.3).

        Args:
            images: (B, H, W, 3) uint8 RGB.
            masks: (B, Q, h, w) bool, any size; a patch with any pixel of the mask belongs to the region.
            size_px: the side of the square to which images are stretched.
            statistics: the mean and deviation by which pixels are normalised.
            resampling: how images are resized.
            see_class: whether a region's token sees the image's class token too. A region without patches always does.
        """
        ...

    def keys(
        self,
        images: Images,
        size_hw: tuple[int, int],
        layer: int,
        statistics: Statistics,
        resampling: Resampling = "bicubic",
    ) -> Tensor:
        """Return the keys (B, D, h, w) of a block, all heads side by side; no later block is run.

        Args:
            images: (B, H, W, 3) uint8 RGB.
            size_hw: the size to which images are stretched, in px.
            layer: the block's number; a negative number counts from the end.
            statistics: the mean and deviation by which pixels are normalised.
            resampling: how images are resized.
        """
        ...

    def tokens(
        self,
        images: Images,
        size_hw: tuple[int, int],
        statistics: Statistics,
        resampling: Resampling = "bicubic",
    ) -> Tensor:
        """Return the whole encoder's output for each patch (B, P, h, w), projected into the space of texts."""
        ...

    def tower(self) -> ClipTower:
        """Return the image encoder in pieces."""
        ...


class TransformersClip:
    """The CLIP of the transformers library."""

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer) -> None:
        """Use a model whose text tower is float32; its image tower may be of any dtype."""
        self._model, self._tokenizer = model, tokenizer
        self._vision = model.vision_model

    @property
    def patch_px(self) -> int:
        """The side of a patch, in px."""
        return int(self._vision.config.patch_size)

    @property
    def blocks(self) -> int:
        """The number of blocks of the image encoder."""
        return len(self._vision.encoder.layers)

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        """Embed texts; see :class:`Clip`."""
        rows = self._tokenizer(list(texts), truncation=False, verbose=False).input_ids if texts else []
        length = self._model.text_model.config.max_position_embeddings
        return encode_texts(rows, length, self._tokenizer.pad_token_id, self._encode)

    @torch.inference_mode()
    def embed_images(self, images: Images, statistics: Statistics, resampling: Resampling = "bicubic") -> Tensor:
        """Embed images; see :class:`Clip`."""
        return F.normalize(self.image_features(images, statistics, resampling), dim=1)

    @torch.inference_mode()
    def image_features(self, images: Images, statistics: Statistics, resampling: Resampling = "bicubic") -> Tensor:
        """Embed images without normalising; see :class:`Clip`."""
        side = self._vision.config.image_size
        pooled = self._vision(self._pixels(images, (side, side), statistics, resampling)).pooler_output
        projected: Tensor = self._model.visual_projection(pooled).float()
        return projected

    @torch.inference_mode()
    def embed_regions(
        self,
        images: Images,
        masks: Tensor,
        size_px: int,
        statistics: Statistics,
        resampling: Resampling = "bicubic",
        *,
        see_class: bool = True,
    ) -> Tensor:
        """Embed regions; see :class:`Clip`."""
        vision, side = self._vision, size_px // self.patch_px
        pixels = self._pixels(images, (size_px, size_px), statistics, resampling)
        states = vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))
        seen = seen_tokens(masks, side, see_class=see_class)
        tokens = states[:, :1].expand(-1, masks.shape[1], -1)
        heads = vision.config.num_attention_heads
        for layer in vision.encoder.layers:
            attention, context = layer.self_attn, layer.layer_norm1(states)
            attended = attend(
                attention.q_proj(layer.layer_norm1(tokens)),
                attention.k_proj(context),
                attention.v_proj(context),
                seen,
                heads,
            )
            tokens = tokens + attention.out_proj(attended)
            tokens = tokens + layer.mlp(layer.layer_norm2(tokens))
            states = layer(states, attention_mask=None)
        return F.normalize(self._model.visual_projection(vision.post_layernorm(tokens)).float(), dim=2)

    def keys(
        self,
        images: Images,
        size_hw: tuple[int, int],
        layer: int,
        statistics: Statistics,
        resampling: Resampling = "bicubic",
    ) -> Tensor:
        """Return a block's keys; see :class:`Clip`."""
        keys = self._vision.encoder.layers[layer].self_attn.k_proj
        pixels = self._pixels(images, size_hw, statistics, resampling)
        tokens = output_of(keys, lambda: self._vision(pixels, interpolate_pos_encoding=True))
        return self._to_grid(tokens, size_hw)

    @torch.inference_mode()
    def tokens(
        self,
        images: Images,
        size_hw: tuple[int, int],
        statistics: Statistics,
        resampling: Resampling = "bicubic",
    ) -> Tensor:
        """Return projected patch tokens; see :class:`Clip`."""
        pixels = self._pixels(images, size_hw, statistics, resampling)
        states = self._vision(pixels, interpolate_pos_encoding=True).last_hidden_state
        return self._to_grid(self._model.visual_projection(self._vision.post_layernorm(states)), size_hw)

    def tower(self) -> ClipTower:
        """Return the image encoder in pieces; see :class:`Clip`."""
        vision, projection = self._vision, self._model.visual_projection

        def embed(images: Images, size_hw: tuple[int, int], statistics: Statistics, resampling: Resampling) -> Tensor:
            pixels = self._pixels(images, size_hw, statistics, resampling)
            states: Tensor = vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))
            return states

        blocks = tuple(transformers_block(layer, vision.config.num_attention_heads) for layer in vision.encoder.layers)
        return ClipTower(embed, blocks, lambda states: projection(vision.post_layernorm(states)))

    def _encode(self, tokens: Tensor) -> Tensor:
        found: Tensor = self._model.get_text_features(tokens.to(self._model.device)).pooler_output
        return found

    def _pixels(
        self, images: Images, size_hw: tuple[int, int], statistics: Statistics, resampling: Resampling
    ) -> Tensor:
        return images_to_pixels(images, size_hw, statistics, self._model.visual_projection.weight, resampling)

    def _to_grid(self, tokens: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return tokens_to_grid(tokens, (size_hw[0] // self.patch_px, size_hw[1] // self.patch_px))


class OpenClip:
    """The CLIP of the open_clip library.

    The library's towers read images of one size and texts of one length only. This class therefore runs the library's
    own modules one by one, and resizes position embeddings as transformers does.
    """

    def __init__(self, model: open_clip.CLIP, tokenizer: open_clip.SimpleTokenizer) -> None:
        """Use a model whose text tower is float32; its image tower may be of any dtype."""
        self._model, self._tokenizer = model, tokenizer
        self._visual = model.visual

    @property
    def patch_px(self) -> int:
        """The side of a patch, in px."""
        return int(self._visual.patch_size[0])

    @property
    def blocks(self) -> int:
        """The number of blocks of the image encoder."""
        return len(self._visual.transformer.resblocks)

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        """Embed texts; see :class:`Clip`."""
        words = self._tokenizer
        rows = [[words.sot_token_id, *words.encode(text), words.eot_token_id] for text in texts]
        return encode_texts(rows, self._model.context_length, 0, self._encode)

    @torch.inference_mode()
    def embed_images(self, images: Images, statistics: Statistics, resampling: Resampling = "bicubic") -> Tensor:
        """Embed images; see :class:`Clip`."""
        return F.normalize(self.image_features(images, statistics, resampling), dim=1)

    @torch.inference_mode()
    def image_features(self, images: Images, statistics: Statistics, resampling: Resampling = "bicubic") -> Tensor:
        """Embed images without normalising; see :class:`Clip`."""
        features: Tensor = self._visual(self._pixels(images, self._visual.image_size, statistics, resampling)).float()
        return features

    @torch.inference_mode()
    def embed_regions(
        self,
        images: Images,
        masks: Tensor,
        size_px: int,
        statistics: Statistics,
        resampling: Resampling = "bicubic",
        *,
        see_class: bool = True,
    ) -> Tensor:
        """Embed regions; see :class:`Clip`."""
        visual = self._visual
        states = self._embed_patches(images, (size_px, size_px), statistics, resampling)
        seen = seen_tokens(masks, size_px // self.patch_px, see_class=see_class)
        tokens = states[:, :1].expand(-1, masks.shape[1], -1)
        for block in visual.transformer.resblocks:
            attention, context = block.attn, block.ln_1(states)
            weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
            inputs = (block.ln_1(tokens), context, context)
            queries, keys, values = (F.linear(*three) for three in zip(inputs, weights, biases, strict=True))
            tokens = tokens + attention.out_proj(attend(queries, keys, values, seen, attention.num_heads))
            tokens = tokens + block.mlp(block.ln_2(tokens))
            states = block(states)
        return F.normalize((visual.ln_post(tokens) @ visual.proj).float(), dim=2)

    @torch.inference_mode()
    def keys(
        self,
        images: Images,
        size_hw: tuple[int, int],
        layer: int,
        statistics: Statistics,
        resampling: Resampling = "bicubic",
    ) -> Tensor:
        """Return a block's keys, which are the second third of its fused projection; see :class:`Clip`."""
        *before, block = self._visual.transformer.resblocks[: range(self.blocks)[layer] + 1]
        tokens = self._embed_patches(images, size_hw, statistics, resampling)
        for earlier in before:
            tokens = earlier(tokens)
        weight, bias = (fused.chunk(3)[1] for fused in (block.attn.in_proj_weight, block.attn.in_proj_bias))
        return self._to_grid(F.linear(block.ln_1(tokens), weight, bias), size_hw)

    @torch.inference_mode()
    def tokens(
        self,
        images: Images,
        size_hw: tuple[int, int],
        statistics: Statistics,
        resampling: Resampling = "bicubic",
    ) -> Tensor:
        """Return projected patch tokens; see :class:`Clip`."""
        states = self._visual.transformer(self._embed_patches(images, size_hw, statistics, resampling))
        return self._to_grid(self._visual.ln_post(states) @ self._visual.proj, size_hw)

    def tower(self) -> ClipTower:
        """Return the image encoder in pieces; see :class:`Clip`."""
        visual = self._visual
        blocks = tuple(open_clip_block(block) for block in visual.transformer.resblocks)
        return ClipTower(self._embed_patches, blocks, lambda states: visual.ln_post(states) @ visual.proj)

    def _encode(self, tokens: Tensor) -> Tensor:
        """Encode token rows as the library's encode_text does, but without padding them to the whole context."""
        model, length = self._model, tokens.shape[1]
        tokens = tokens.to(model.positional_embedding.device)
        states = model.token_embedding(tokens) + model.positional_embedding[:length]
        states = model.ln_final(model.transformer(states, attn_mask=model.attn_mask[:length, :length]))
        ends = tokens.argmax(dim=1)  # The end token has the largest number of all tokens.
        found: Tensor = states[torch.arange(len(tokens), device=tokens.device), ends] @ model.text_projection
        return found

    def _embed_patches(
        self, images: Images, size_hw: tuple[int, int], statistics: Statistics, resampling: Resampling
    ) -> Tensor:
        """Return the input of the first block (B, 1 + h*w, D); the CLS token comes first."""
        visual = self._visual
        patches = visual.conv1(self._pixels(images, size_hw, statistics, resampling)).flatten(2).transpose(1, 2)
        start = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        positions = resize_positions(visual.positional_embedding, self._grid_hw(size_hw))
        embedded: Tensor = visual.ln_pre(torch.cat([start, patches], dim=1) + positions)
        return embedded

    def _pixels(
        self, images: Images, size_hw: tuple[int, int], statistics: Statistics, resampling: Resampling
    ) -> Tensor:
        return images_to_pixels(images, size_hw, statistics, self._visual.conv1.weight, resampling)

    def _grid_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        return size_hw[0] // self.patch_px, size_hw[1] // self.patch_px

    def _to_grid(self, tokens: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return tokens_to_grid(tokens, self._grid_hw(size_hw))


def seen_tokens(masks: Tensor, side: int, *, see_class: bool) -> Tensor:
    """Return which of 1 + side*side tokens each region's token sees, (B, Q, 1 + side*side) bool.

    Args:
        masks: (B, Q, h, w) bool; a patch with any pixel of the mask belongs to the region.
        side: the number of patches along a side.
        see_class: whether the image's class token is seen too. It is always seen by a region without patches.
    """
    patches = F.adaptive_max_pool2d(masks.float(), side).flatten(2) > 0
    first = torch.ones_like(patches[..., :1]) if see_class else ~patches.any(dim=2, keepdim=True)
    return torch.cat([first, patches], dim=2)


def attend(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor, heads: int) -> Tensor:
    """Return the attention's result (B, Q, D) of queries (B, Q, D) to those of (B, N, D) that are seen (B, Q, N)."""
    q, k, v = (each.reshape(*each.shape[:2], heads, -1).transpose(1, 2) for each in (queries, keys, values))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None]).transpose(1, 2).flatten(2)


def resize_positions(positions: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Resize position embeddings (1 + n*n, D) bicubically to (1 + h*w, D); the first one, CLS's, stays as it is."""
    side = round((len(positions) - 1) ** 0.5)
    if grid_hw == (side, side):
        return positions
    grid = positions[1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=grid_hw, mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], resized.flatten(2)[0].T.to(positions.dtype)])
