"""The word list of CONTRIBUTING.md, and the check that finds its words in prose."""

import json
import tomllib
from pathlib import Path

import pytest
from factories import ROOT

from tools.wording import findings, prose, texts, word_list

WORDS = {"quagga": "zebra", "grey quagga": "ass"}


def found(text: str) -> list[tuple[int, str, str]]:
    return list(findings(text, WORDS))


def test_the_list_is_read_and_its_own_file_passes():
    words = word_list()
    assert words["reference part"] == "reference window"
    assert len(words) > 50
    ((_, text),) = texts(Path("CONTRIBUTING.md"))
    assert not list(findings(text, words))


def test_a_phrase_is_found_in_any_case_and_over_a_line_break():
    assert found("a\nQuagga") == [(2, "Quagga", "zebra")]
    assert found("one grey\n  quagga") == [(1, "grey quagga", "ass")]
    assert found("key: 1\n# one grey\n# quagga") == [(2, "grey quagga", "ass")]


@pytest.mark.parametrize(
    "text", ["quagga-like", "quaggas", "the_quagga", "`quagga` and ``a quagga``", "```\nquagga\n```"]
)
def test_parts_of_words_and_code_are_not_found(text):
    assert not found(text)


def test_a_line_number_counts_lines_of_code_and_of_blocks():
    assert found("```\nquagga\n```\nx\nquagga") == [(5, "quagga", "zebra")]
    assert found(prose('quagga = 1\n\n\ndef f():\n    """A quagga."""\n')) == [(5, "quagga", "zebra")]


def test_names_and_keys_of_python_are_no_prose_but_comments_and_sentences_are():
    code = 'def quagga(quagga):\n    return {"quagga": quagga, **f"an {quagga} here"}\n'
    assert not found(prose(code))
    assert [line for line, *_ in found(prose("x = 1  # a grey\n# quagga\n"))] == [1]
    assert [line for line, *_ in found(prose('raise Error(\n    "a"\n    "a grey "\n    f"quagga {x} quagga"\n)'))] == [
        3,
        4,
    ]
    assert found(prose('x = "one\\nquagga two"')) == [(1, "quagga", "zebra")]


def test_two_arguments_are_not_read_as_one_sentence():
    assert not [word for _, word, _ in found(prose('f("a grey ", "quagga b")')) if word == "grey quagga"]


def test_cells_of_a_notebook_are_read_by_their_kind(tmp_path):
    cells = [{"cell_type": "markdown", "source": ["a\n", "quagga"]}, {"cell_type": "code", "source": ["quagga = 1"]}]
    path = tmp_path / "some.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    (_, text), (_, code) = texts(path)
    assert found(text) and not found(code)


def test_paths_to_do_exist():
    todo = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["wording"]["todo"]
    assert all((ROOT / path).exists() for path in todo)
