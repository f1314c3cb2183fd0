"""A YAML file holds sections, lists, numbers and texts, and nothing else gets in."""

import pytest
import yaml
from factories import ROOT

from neurohorizon.strict_yaml import DEEPEST, YamlError, parse_yaml, read_yaml

BOMB = "a: &a [1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_files_are_read_as_by_any_other_reader(path):
    assert read_yaml(path) == yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BOMB, "line 2, column 8: the alias *a is refused"),
        ("a: &a {b: *a}", "line 1, column 11: the alias *a is refused"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "line 2, column 4: the tag tag:yaml.org,2002:python/object"),
        ("a: !mine 1", "line 1, column 4: the tag !mine is refused"),
        ("run:\n  seed: 0\n  seed: 1", "line 3, column 3: the key seed is there twice"),
        ("a: 1\n7: b", "line 2, column 1: a key is a name"),
        ("a: {b: 1\n", "line 2, column 1: expected ',' or '}'"),
        ("a: 1\n---\nb: 1", "line 2, column 1: but found another document"),
        ("a: " + "[" * 1000, f"line 1, column {DEEPEST + 3}: sections are nested more than {DEEPEST} levels deep"),
        ("a: \x07", "special characters are not allowed"),
        ("- 1", "holds list, expected sections with keys"),
        ("", "holds NoneType, expected sections with keys"),
        (b"a: \xff", "not UTF-8 text"),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line_with_its_place(tmp_path, text, complaint):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(YamlError) as error:
        read_yaml(path)
    assert complaint in str(error.value)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_date_is_a_text_and_a_merge_key_is_a_key():
    assert parse_yaml("revision: 2024-01-31\n<<: {a: 1}") == {"revision": "2024-01-31", "<<": {"a": 1}}
