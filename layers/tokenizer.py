"""Byte-level tokenizers: GPT-2's from files, or a built-in one that needs no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END_OF_TEXT = "<|endoftext|>"


def find_tokenizer(directory: str | Path, *, flag: str) -> Tokenizer:
    """Load the tokenizer in `directory` (tokenizer.json, or vocab.json and merges.txt).

    Raises FileNotFoundError that names `flag`.
    """
    folder = Path(directory)
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        raise FileNotFoundError(
            f"{flag} {directory} has neither tokenizer.json nor vocab.json and merges.txt: put GPT-2's there, or name "
            "a directory that has them with --llm_tokenizer"
        )
    return _byte_level(models.BPE.from_file(str(vocabulary), str(merges)))


def byte_level_tokenizer(words: Sequence[str] = ()) -> Tokenizer:
    """Built-in tokenizer: 256 bytes, all runs of two and three digits, and each of `words` after a space.

    GPT-2 splits numbers into pieces of about that length, so prompts have about as many tokens as with GPT-2's files.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(dict.fromkeys([*_digit_merges(), *(merge for word in words for merge in _word_merges(word))]))
    merges += [("Ġ", mark) for mark in "-:[0123456789"] + [("]", ",")]
    tokens = dict.fromkeys([*alphabet, *(first + second for first, second in merges), END_OF_TEXT])
    return _byte_level(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))


def _digit_merges() -> Iterator[tuple[str, str]]:
    digits = "0123456789"
    yield from ((first, second) for first in digits for second in digits)
    yield from ((f"{pair:02d}", digit) for pair in range(100) for digit in digits)


def _word_merges(word: str) -> Iterator[tuple[str, str]]:
    """Merges that build ` word` letter by letter from its space; as all start at the space, none is ambiguous."""
    letters = f"Ġ{word}"
    if not word.isascii() or not word.isalpha():
        raise ValueError(f"words of the built-in tokenizer must consist of ASCII letters, got {word!r}")
    yield from ((letters[:end], letters[end]) for end in range(1, len(letters)))


def _byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True)])
    return tokenizer
