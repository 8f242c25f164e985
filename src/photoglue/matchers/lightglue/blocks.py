"""The transformer layer: self-attention in each image, then cross-attention between the two.

Attribute names are those of the official state dict. There is no norm before attention and no dropout.

Reference: LightGlue (arXiv 2306.13643), Sec. 3.1.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from photoglue.matchers.lightglue.attention import attend
from photoglue.matchers.lightglue.encoding import rotate
from photoglue.matchers.lightglue.packing import Segments


def feed_forward(width: int) -> nn.Sequential:
    """A network that makes the update of a state from the state and its message, side by side."""
    return nn.Sequential(
        nn.Linear(2 * width, 2 * width), nn.LayerNorm(2 * width), nn.GELU(), nn.Linear(2 * width, width)
    )


class SelfBlock(nn.Module):
    """Attention of each image's points to each other, with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.Wqkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.ffn = feed_forward(width)

    def forward(
        self, x: Float[Tensor, "t d"], encoding: Float[Tensor, "2 t 1 f"], segments: Segments
    ) -> Float[Tensor, "t d"]:
        """The states of all tokens after this block."""
        # The official weights interleave the three projections: channel = (head, channel of the head, q | k | v).
        q, k, v = self.Wqkv(x).unflatten(-1, (self.heads, -1, 3)).unbind(-1)
        q, k, v = (t.transpose(0, 1) for t in (rotate(q, encoding), rotate(k, encoding), v.contiguous()))
        message = self.out_proj(attend(q, k, v, segments, cross=False))
        update: Tensor = self.ffn(torch.cat([x, message], dim=-1))
        return x + update


class CrossBlock(nn.Module):
    """Attention of each image's points to those of the other image.

    Both directions share one projection for query and key, so that their similarities are each other's transpose. No
    positions: those of two images cannot be compared.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qk = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.Linear(width, width)
        self.ffn = feed_forward(width)

    def forward(self, x: Float[Tensor, "t d"], segments: Segments) -> Float[Tensor, "t d"]:
        """The states of all tokens after this block."""
        qk, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(0, 1) for layer in (self.to_qk, self.to_v))
        message = self.to_out(attend(qk, qk, v, segments, cross=True))
        update: Tensor = self.ffn(torch.cat([x, message], dim=-1))
        return x + update


class TransformerLayer(nn.Module):
    """One self-attention and one cross-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = SelfBlock(width, heads)
        self.cross_attn = CrossBlock(width, heads)

    def forward(
        self, x: Float[Tensor, "t d"], encoding: Float[Tensor, "2 t 1 f"], segments: Segments
    ) -> Float[Tensor, "t d"]:
        """The states of all tokens after this block."""
        x = self.self_attn(x, encoding, segments)
        out: Tensor = self.cross_attn(x, segments)
        return out
