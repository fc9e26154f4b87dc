"""The runtime type checker behind jaxtyping's shapes."""

from typing import Self

from beartype import BeartypeConf, FrozenDict, beartype

# The import hook decorates methods one by one, where `Self` cannot be known: it is let through, all else is checked
# (an int is a float, as everywhere in Python's typing).
checked = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: object}), is_pep484_tower=True))
