"""Reading of a split's texts by the frozen language model before the first epoch, for the store on disk."""

from __future__ import annotations

import torch
from torch import Tensor

from data_provider.batches.loader import Loader
from exp.training.features.cache import digests_of
from exp.training.features.rows import features_alone
from exp.training.features.store import TextStore
from models.base import Forecaster
from utils.terminal import progress_bar

ROWS_AT_ONCE = 4096
TEXTS_PER_BATCH = 64


def read_texts(model: Forecaster, loader: Loader, store: TextStore) -> None:
    """Store the features of this rank's share of the split's texts that are not in `store` yet.

    Texts are read in order of length, so that a batch holds nearly no padding.
    """
    rows = torch.arange(loader.rank, len(loader.windows), loader.num_processes)
    label = f"texts of {len(rows)} rows"
    for part in progress_bar(rows.split(ROWS_AT_ONCE), total=-(-len(rows) // ROWS_AT_ONCE), label=label):
        inputs = loader.batch(part, with_features=False).inputs
        digests = digests_of(inputs)
        places = {digest: place for place, digest in enumerate(digests) if digest not in store}
        if places:
            # Tokens of a text are behind each other; what follows them is 0.
            sequences = [(values != 0).sum(dim=1) for values in inputs.values() if values.ndim > 1]
            lengths = torch.stack(sequences).sum(dim=0)
            ordered = sorted(places, key=lambda digest: int(lengths[places[digest]]))
            store.write(ordered, _read(model, inputs, torch.tensor([places[digest] for digest in ordered])))


def _read(model: Forecaster, inputs: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    found = []
    for batch in rows.split(TEXTS_PER_BATCH):
        texts = {name: values[batch.to(values.device)] for name, values in inputs.items()}
        found.append(features_alone(model, texts))
    return {name: torch.cat([part[name].cpu() for part in found]) for name in found[0]}
