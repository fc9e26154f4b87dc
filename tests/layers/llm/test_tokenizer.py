"""The tokenizer made by rule, and finding one in a directory."""

import pytest

from layers.llm.tokenizer import END_OF_TEXT, byte_level_tokenizer, find_tokenizer
from layers.prompt import TYPICAL, WORDS


@pytest.mark.parametrize("text", [TYPICAL, "äöü € 漢字\n\t", "min value -7.62e-06, [0, 1]"])
def test_every_text_is_read_back_from_its_tokens(text):
    tokenizer = byte_level_tokenizer(WORDS)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_prompt_is_about_as_long_as_with_gpt2s_own_tokens():
    assert 55 <= len(byte_level_tokenizer(WORDS).encode(TYPICAL).ids) <= 75


def test_every_word_of_the_rule_is_one_token_after_a_space():
    tokenizer = byte_level_tokenizer(WORDS)
    assert [len(tokenizer.encode(f" {word}").ids) for word in WORDS] == [1] * len(WORDS)


def test_runs_of_two_and_three_digits_are_one_token():
    tokenizer = byte_level_tokenizer()
    runs = [f"{number:0{width}d}" for width in (2, 3) for number in (0, 7, 10, 42, 99)]
    assert [tokenizer.encode(run).tokens for run in runs] == [[run] for run in runs]


def test_the_end_of_text_is_one_token_the_last():
    tokenizer = byte_level_tokenizer()
    assert tokenizer.encode(END_OF_TEXT).ids == [tokenizer.get_vocab_size() - 1]


def test_a_word_that_the_rule_cannot_make_is_refused():
    with pytest.raises(ValueError, match="ASCII letters"):
        byte_level_tokenizer(["two words"])


def test_a_directory_without_a_tokenizer_is_refused_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--llm_tokenizer .* no tokenizer .tokenizer.json") as error:
        find_tokenizer(tmp_path, flag="--llm_tokenizer")
    assert "\n" not in str(error.value)


@pytest.mark.shared
def test_gpt2s_own_files_give_gpt2s_own_tokens(shared):
    tokenizer = find_tokenizer(shared / "gpt2_tokenizer", flag="--llm_tokenizer")
    assert tokenizer.get_vocab_size() == 50257
    assert tokenizer.encode("Hello world" + END_OF_TEXT).ids == [15496, 995, 50256]
