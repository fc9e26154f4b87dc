"""Tokenizers: a language model's own from its files, or a built-in byte-level one that needs no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END_OF_TEXT = "<|endoftext|>"
# Files of older tokenizers, which transformers converts.
OTHER_FILES = ("vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


def find_tokenizer(directory: str | Path, *, flag: str) -> Tokenizer:
    """Load the tokenizer in `directory`; it neither pads nor truncates, whatever its file says.

    Raises FileNotFoundError that names `flag`, ValueError if a file cannot be read.
    """
    folder = Path(directory)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if (folder / "tokenizer.json").is_file():
        return read_tokenizer(folder / "tokenizer.json")
    if vocabulary.is_file() and merges.is_file():
        with _in_one_line(folder, "vocab.json and merges.txt"):
            _check_merges(*models.BPE.read_file(str(vocabulary), str(merges)))
            return _byte_level(models.BPE.from_file(str(vocabulary), str(merges)))
    if not any((folder / name).is_file() for name in OTHER_FILES):
        raise FileNotFoundError(
            f"{flag} {directory} has no tokenizer (tokenizer.json, or vocab.json and merges.txt): put the LLM's own "
            "there, or name a directory that has it with --llm_tokenizer"
        )
    from transformers import AutoTokenizer

    with _in_one_line(folder, "its tokenizer"):
        found: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        return _as_it_is(found.backend_tokenizer)


def read_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, without its padding and truncation; ValueError if it cannot be read."""
    with _in_one_line(Path(path).parent, Path(path).name):
        return _as_it_is(Tokenizer.from_file(str(path)))


def padding_id(tokenizer: Tokenizer, config: Any) -> int:
    """Token id that fills the space around a text: GPT-2's end-of-text, else the model's padding or end token."""
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    candidates = (end_of_text, config.pad_token_id, config.eos_token_id, 0)
    # Some configs list several end tokens.
    single = (found[0] if isinstance(found, list) else found for found in candidates)
    return next(found for found in single if found is not None)


def token_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, without the special tokens that some models put around a text."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def no_tokenizer() -> Tokenizer:
    """A tokenizer without tokens, for models that read no text."""
    return Tokenizer(models.BPE())


def _as_it_is(tokenizer: Tokenizer) -> Tokenizer:
    # MiniLM's file pads and cuts every text to 128 tokens.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _check_merges(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """Check that the merges build every token: a file cut at the end of a line is read without complaint."""
    built = {first + second for first, second in merges}
    missing = [token for token in vocabulary if len(token) > 1 and token not in built and token[0] not in "<["]
    if missing:
        raise ValueError(f"merges.txt lacks {len(missing)} tokens of vocab.json, such as {missing[0]!r}")


@contextmanager
def _in_one_line(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the tokenizers library raises plain exceptions
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(
            f"{what} in {folder} cannot be read ({reason}): it is damaged or only a Git LFS pointer, fetch it again"
        ) from error


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
