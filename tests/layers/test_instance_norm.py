"""Instance normalisation: exact inverse, no gradient through the statistics, never below float32."""

import torch

from layers.instance_norm import InstanceStatistics


def rows(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.randn(3, 20, 2, generator=torch.Generator().manual_seed(0)) * 5 + 100).to(dtype)


def test_a_normalised_row_has_mean_zero_and_deviation_one():
    normalised = InstanceStatistics.of(rows()).normalise(rows())
    torch.testing.assert_close(normalised.mean(dim=1), torch.zeros(3, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalised.var(dim=1, unbiased=False), torch.ones(3, 2), rtol=1e-4, atol=0)


def test_denormalising_undoes_normalising():
    statistics = InstanceStatistics.of(rows())
    torch.testing.assert_close(statistics.denormalise(statistics.normalise(rows())), rows())


def test_a_constant_row_becomes_zero():
    constant = torch.full((1, 8, 1), 3.0)
    assert torch.equal(InstanceStatistics.of(constant).normalise(constant), torch.zeros(1, 8, 1))


def test_no_gradient_flows_through_mean_and_deviation():
    look_back = rows().requires_grad_()
    statistics = InstanceStatistics.of(look_back)
    statistics.normalise(look_back).sum().backward()
    torch.testing.assert_close(look_back.grad, (1 / statistics.deviation).expand_as(look_back))


def test_statistics_are_float32_whatever_the_precision_of_the_rows():
    assert InstanceStatistics.of(rows(torch.bfloat16)).mean.dtype == torch.float32
    assert InstanceStatistics.of(rows(torch.float64)).mean.dtype == torch.float64


def test_rows_whose_squares_exceed_float32_are_normalised_as_their_scaled_down_twins():
    huge, twin = rows() * 1e30, rows() * 1e15
    torch.testing.assert_close(
        InstanceStatistics.of(huge).normalise(huge), InstanceStatistics.of(twin).normalise(twin), rtol=1e-2, atol=1e-2
    )
    assert InstanceStatistics.of(torch.full((1, 8, 1), 1e30)).deviation.isfinite().all()


def test_ordinary_rows_keep_the_published_formula_to_the_last_bit():
    statistics = InstanceStatistics.of(rows())
    assert torch.equal(statistics.deviation, torch.sqrt(rows().var(dim=1, keepdim=True, unbiased=False) + 1e-5))
