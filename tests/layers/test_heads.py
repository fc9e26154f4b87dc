"""The head sees every dimension of every token, dimension by dimension."""

import torch

from layers.heads import FlattenHead


def test_the_head_flattens_dimension_by_dimension():
    torch.manual_seed(0)
    head = FlattenHead(num_tokens=3, d=2, num_outputs=4, dropout=0.5).eval()
    tokens = torch.randn(5, 3, 2)
    weight = head.linear.weight.reshape(4, 2, 3)
    expected = torch.einsum("rtd,hdt->rh", tokens, weight) + head.linear.bias
    torch.testing.assert_close(head(tokens), expected)


def test_dropout_acts_on_the_forecast_itself():
    torch.manual_seed(0)
    head = FlattenHead(num_tokens=3, d=2, num_outputs=400, dropout=0.5).train()
    assert 0.3 < head(torch.randn(1, 3, 2)).eq(0).float().mean() < 0.7
