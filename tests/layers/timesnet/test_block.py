"""TimesBlock beside the published way: each image in turn, each of the six convolutions in turn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from layers.timesnet.block import TimesBlock
from layers.timesnet.embedding import sinusoidal_positions
from layers.timesnet.inception import Inception
from layers.timesnet.periods import Folds, Spectrum, fold, unfold

D_MODEL, D_FF, TOP_K = 4, 6, 5


def series(num_rows: int = 3, num_steps: int = 40, seed: int = 0) -> Tensor:
    """Rows that differ in their periods, with amplitudes small enough that no weight is near 1."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(num_rows, num_steps, D_MODEL, generator=generator, dtype=torch.float64)
    return 0.1 * noise


def block(*, of_batch: bool = False, least_weight: float = 0.0, seed: int = 1) -> TimesBlock:
    torch.manual_seed(seed)
    return TimesBlock(D_MODEL, D_FF, top_k=TOP_K, num_kernels=6, of_batch=of_batch, least_weight=least_weight).double()


def plain(times_block: TimesBlock, rows: Tensor) -> Tensor:
    """The published loop over all five periods, equal ones too, each with six whole convolutions twice."""
    amplitudes = torch.fft.rfft(rows, dim=1).abs()
    mean = amplitudes.detach().mean(dim=(0, 2))
    mean[0] = 0
    strongest = mean.topk(times_block.top_k).indices
    outputs = []
    for frequency in strongest.tolist():
        period = rows.shape[1] // frequency
        images = times_block.narrow(F.gelu(times_block.widen(fold(rows, period))))
        outputs.append(unfold(images, rows.shape[1]))
    weights = amplitudes.mean(dim=2)[:, strongest].softmax(dim=1)
    return (torch.stack(outputs, dim=-1) * weights[:, None, None]).sum(dim=-1) + rows


def gradients(times_block: TimesBlock, rows: Tensor, output: Tensor) -> list[Tensor]:
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=output.dtype)
    return list(torch.autograd.grad((output * weight).sum(), [rows, *times_block.parameters()]))


@pytest.mark.parametrize("num_steps", [40, 37, 12])
def test_a_block_equals_the_published_loop_forward_and_backward(num_steps):
    times_block, rows = block(of_batch=True), series(num_steps=num_steps).requires_grad_()
    ours, published = times_block(rows), plain(times_block, rows)
    torch.testing.assert_close(ours, published)
    for our_gradient, their_gradient in zip(
        gradients(times_block, rows, ours), gradients(times_block, rows, published), strict=True
    ):
        torch.testing.assert_close(our_gradient, their_gradient)


def test_rows_with_their_own_periods_equal_the_published_loop_over_each_row_alone():
    times_block, rows = block(), series(num_rows=4).requires_grad_()
    ours, published = times_block(rows), torch.cat([plain(times_block, row) for row in rows.split(1)])
    frequencies = Spectrum.of(rows, TOP_K, of_batch=False).frequencies
    assert len({tuple(sorted(row)) for row in frequencies.tolist()}) > 1
    torch.testing.assert_close(ours, published)
    for our_gradient, their_gradient in zip(
        gradients(times_block, rows, ours), gradients(times_block, rows, published), strict=True
    ):
        torch.testing.assert_close(our_gradient, their_gradient)


def test_the_batch_periods_of_a_row_change_with_its_batch():
    times_block, rows = block(of_batch=True), series(num_rows=8)
    assert not torch.allclose(times_block(rows[:1]), times_block(rows)[:1], atol=1e-3)


@pytest.mark.parametrize("size", [(8, 9), (3, 14), (14, 2), (1, 20), (20, 1), (1, 1)])
def test_one_cropped_kernel_equals_six_convolutions_forward_and_backward(size):
    torch.manual_seed(0)
    inception = Inception(2, 3, 6).double()
    image = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    ours, published = inception.kernel()(image), inception(image)
    torch.testing.assert_close(ours, published)
    leaves: list[Tensor] = [image, *inception.parameters()]
    for our_gradient, their_gradient in zip(
        torch.autograd.grad(ours.square().sum(), leaves), torch.autograd.grad(published.square().sum(), leaves),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(our_gradient, their_gradient)


def test_equal_periods_of_a_row_are_one_image_with_their_weights_added():
    periods = torch.tensor([[7, 3, 3, 2, 3], [2, 7, 40, 20, 13]])
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25], [0.5, 0.1, 0.1, 0.2, 0.1]])
    folds = Folds.of(periods, weights, least=0.0)
    assert (folds.periods, folds.num_rows) == ([2, 3, 7, 13, 20, 40], [2, 1, 2, 1, 1, 1])
    assert folds.rows.tolist() == [0, 1, 0, 0, 1, 1, 1, 1]
    torch.testing.assert_close(
        folds.weights(periods, weights), torch.tensor([0.15, 0.5, 0.75, 0.1, 0.1, 0.1, 0.2, 0.1])
    )


def test_an_image_without_weight_is_left_out_and_the_output_stays_within_rounding():
    rows = series().float()
    rows[0] += 3 * torch.sin(torch.arange(40) * 2 * torch.pi * 4 / 40)[:, None]
    weights = Spectrum.of(rows, TOP_K, of_batch=False).amplitudes.softmax(dim=1)
    periods = 40 // Spectrum.of(rows, TOP_K, of_batch=False).frequencies
    assert len(Folds.of(periods, weights, 6e-8).rows) < len(Folds.of(periods, weights, 0.0).rows)
    skipping, whole = block(least_weight=6e-8).float(), block().float()
    torch.testing.assert_close(skipping(rows), whole(rows), atol=1e-6, rtol=1e-6)


def test_the_level_of_a_series_is_no_frequency():
    rows = torch.full((1, 16, D_MODEL), 5.0)
    spectrum = Spectrum.of(rows, 3, of_batch=False)
    assert spectrum.frequencies.min() >= 1


def test_folding_pads_with_zeros_and_unfolding_cuts_them_off():
    rows = torch.arange(1.0, 6.0)[None, :, None]
    assert fold(rows, 3).tolist() == [[[[1, 2, 3], [4, 5, 0]]]]
    assert torch.equal(unfold(fold(rows, 3), 5), rows)


def test_positions_are_sines_and_cosines_of_falling_frequency():
    positions = sinusoidal_positions(3, 5)
    angle = 2 * 10000 ** (-2 / 5)
    expected = torch.tensor([2.0, 2.0, angle, angle, 2 * 10000 ** (-4 / 5)])
    expected = torch.where(torch.tensor([True, False, True, False, True]), expected.sin(), expected.cos())
    torch.testing.assert_close(positions[2], expected)
