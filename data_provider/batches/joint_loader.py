"""Joint loader: batches of several data sets in random order, each batch from one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from data_provider.batches.loader import Loader
from data_provider.windows import Batch, Windows


class JointLoader:
    """Draws one of `loaders` for every step, all with equal probability until they are exhausted (UniTime).

    An epoch has every batch of every loader once. The order of the draws depends on (seed, epoch) alone, so that a
    resumed epoch goes on with the same batches, and all ranks draw the same data set.
    """

    def __init__(self, loaders: Sequence[Loader], *, seed: int) -> None:
        self.loaders, self.seed = list(loaders), seed

    @property
    def windows(self) -> Windows:
        """The windows of the first loader; those of all are of one kind."""
        return self.loaders[0].windows

    def __len__(self) -> int:
        return sum(len(loader) for loader in self.loaders)

    def epoch(self, number: int, *, first_step: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` from `first_step` on."""
        draws = self.draws(number)
        done, rest = draws[:first_step], draws[first_step:]
        batches = [loader.epoch(number, first_step=done.count(index)) for index, loader in enumerate(self.loaders)]
        for index in rest:
            yield next(batches[index])

    def draws(self, epoch: int) -> list[int]:
        """The loader of each step of an epoch."""
        mixed = np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint32)[0]
        generator = torch.Generator().manual_seed(int(mixed))
        left = [len(loader) for loader in self.loaders]
        drawn = []
        while any(left):
            index = int(torch.randint(len(left), (), generator=generator))
            if left[index]:
                left[index] -= 1
                drawn.append(index)
        return drawn
