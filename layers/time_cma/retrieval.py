"""Cross-modality alignment of TimeCMA: features of the time branch retrieve features of the text (section 3.3)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class FeatureRetrieval(nn.Module):
    """Attention whose tokens are feature dimensions and whose width is the number of channels; one head.

    As published, one norm serves queries, keys and values, and both residuals start from normalised values.
    """

    def __init__(self, num_channels: int, *, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_channels)
        self.query, self.key, self.value, self.output = (nn.Linear(num_channels, num_channels) for _ in range(4))
        self.feed_forward_norm = nn.LayerNorm(num_channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(num_channels, feed_forward),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(feed_forward, num_channels),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, time: Float[Tensor, "row feature channel"], text: Float[Tensor, "row text_feature channel"]
    ) -> Float[Tensor, "row feature channel"]:
        """Features of the time branch, each enriched by the text features that it asks for."""
        queries, memory = self.norm(time), self.norm(text)
        mixed = self.feed_forward_norm(queries + self.dropout(self.retrieve(queries, memory)))
        return mixed + self.feed_forward(mixed)

    def retrieve(
        self, queries: Float[Tensor, "row feature channel"], memory: Float[Tensor, "row text_feature channel"]
    ) -> Float[Tensor, "row feature channel"]:
        """What normalised queries read of the normalised text features; scores are divided by sqrt(channels)."""
        parts = (self.query(queries), self.key(memory), self.value(memory))
        dropout = self.dropout.p if self.training else 0.0
        return self.output(F.scaled_dot_product_attention(*parts, dropout_p=dropout))

    def weights(
        self, queries: Float[Tensor, "row feature channel"], memory: Float[Tensor, "row text_feature channel"]
    ) -> Float[Tensor, "row feature text_feature"]:
        """How much each query reads of each text feature, without dropout."""
        scores = self.query(queries) @ self.key(memory).transpose(1, 2)
        return (scores / queries.shape[-1] ** 0.5).softmax(dim=-1)
