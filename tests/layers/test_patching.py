"""Patches: how many, which values, and the circular convolution over them."""

import pytest
import torch

from layers.patching import PatchEmbedding, cut_patches, num_patches


@pytest.mark.parametrize(("seq_len", "patch_len", "stride"), [(512, 16, 8), (96, 16, 8), (17, 4, 3), (16, 16, 8)])
def test_the_number_of_patches_is_that_of_the_cut(seq_len, patch_len, stride):
    patches = cut_patches(torch.randn(2, seq_len), patch_len=patch_len, stride=stride)
    assert patches.shape == (2, num_patches(seq_len, patch_len=patch_len, stride=stride), patch_len)


def test_patches_start_every_stride_and_the_last_value_is_repeated():
    patches = cut_patches(torch.arange(6.0)[None], patch_len=4, stride=2)
    assert patches[0].tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 5, 5]]


def test_a_patch_longer_than_the_look_back_is_refused():
    with pytest.raises(ValueError, match="--patch_len must be at most --seq_len, got 17 > 16"):
        num_patches(16, patch_len=17, stride=8)


def test_the_embedding_is_a_circular_convolution_over_the_patch_index():
    torch.manual_seed(0)
    embedding = PatchEmbedding(patch_len=4, d_model=3, dropout=0.5).eval()
    patches = torch.randn(2, 5, 4)
    weight = embedding.convolution.weight
    expected = sum(patches.roll(1 - tap, dims=1) @ weight[:, :, tap].T for tap in range(3))
    torch.testing.assert_close(embedding(patches), expected)
