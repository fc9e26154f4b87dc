"""What CUDA refuses, what it waits for and what costs it no launch, by the names of torch's operations."""

from __future__ import annotations

import torch

# Views that torch does not mark as such, and allocations.
FREE = {
    f"aten.{name}"
    for name in (
        *("empty.memory_format", "empty_like.default", "empty_strided.default", "new_empty.default"),
        *("new_empty_strided.default", "detach.default", "detach_.default", "alias.default", "_unsafe_view.default"),
        *("lift_fresh.default", "set_.source_Tensor", "resize_.default", "_reshape_alias.default"),
    )
}
# The size or the value of their result is needed by the host.
WAITS_FOR_ITS_RESULT = {
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive"),
    *("equal", "bincount", "is_nonzero", "repeat_interleave", "histc"),
}
RETURNS_NO_TENSOR = {"_local_scalar_dense", "equal", "is_same_size"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
READS_THE_CPU = {*INDEXING, "set_", "_foreach_copy_", "_copy_from"}
NOT_INDEXABLE = {torch.uint16, torch.uint32, torch.uint64}
# Autocast's lists for CUDA, as far as the library meets them: first in the low precision, then in float32.
LOW_PRECISION = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv1d", "conv2d", "convolution")
FULL_PRECISION = (
    *("softmax.int", "log_softmax.int", "layer_norm", "mse_loss", "l1_loss", "smooth_l1_loss", "norm.ScalarOpt_dim"),
    *("rsqrt", "exp", "pow.Tensor_Scalar", "sum", "sum.dim_IntList"),
)
