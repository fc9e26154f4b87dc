"""TimesNet's parts: the embedding, the choice of periods, convolutions over folded series, the block."""
