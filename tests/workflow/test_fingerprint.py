"""An edit changes the fingerprint of exactly the scripts that can reach it."""

import json
import textwrap
from pathlib import Path

import pytest
from fingerprint import Code, KeptFingerprints

SOURCES = {
    "__init__": "",
    "config": "N = 1\n",
    "deep/__init__": "",
    "deep/rates": """
        import math

        from toy.shapes import Shape, area

        FLOOR = 1e-3
        CEILING = 10.0

        def rate(x):
            '''Doc.'''
            return max(FLOOR, math.log(x))  # floor

        def unused(x):
            return min(CEILING, x)

        class Model(Shape):
            '''Doc.'''

            width: int = 3
            '''Note below an attribute.'''

            def run(self):
                return helper(self) + area(self)

        def helper(model):
            return 7
    """,
    "shapes": """
        TABLE = {}
        TABLE["side"] = 4

        class Shape:
            pass

        def area(shape):
            from toy.late import late
            return late(TABLE)

        def perimeter(shape):
            return 5
    """,
    "late": """
        def late(x):
            return 11

        def other(x):
            return 12
    """,
}
SCRIPTS = {
    "rates_script": "from toy.config import N\nfrom toy.deep.rates import rate\nprint(rate(N))\n",
    "model_script": "from toy.deep.rates import Model\nprint(Model().run())\n",
}


@pytest.fixture
def toy(tmp_path):
    for name, source in SOURCES.items():
        path = tmp_path / "toy" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    for name, source in SCRIPTS.items():
        (tmp_path / f"{name}.py").write_text(source)
    return tmp_path


def fingerprints(root: Path) -> dict[str, str]:
    """Compute the fingerprints of both scripts, and compare them with those that are kept from earlier calls."""
    code = Code(root, package="toy", in_parameters=frozenset({"toy.config"}))
    kept = KeptFingerprints(code, root / "folder" / "kept.json")
    found = {name: code.fingerprint(root / f"{name}.py") for name in SCRIPTS}
    assert found == {name: kept.fingerprint(root / f"{name}.py") for name in SCRIPTS}
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} must be in the file once: {path}"
    path.write_text(text.replace(old, new))


BOTH = {"rates_script", "model_script"}


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("toy/deep/rates.py", "1e-3", "1e-4", {"rates_script"}),
        ("toy/deep/rates.py", "math.log(x)", "math.log2(x)", {"rates_script"}),
        ("toy/deep/rates.py", "import math", "import cmath as math", {"rates_script"}),
        ("toy/deep/rates.py", "return 7", "return 8", {"model_script"}),
        ("toy/deep/rates.py", "width: int = 3", "width: int = 4", {"model_script"}),
        ("toy/deep/rates.py", "min(CEILING, x)", "max(CEILING, x)", set()),
        ("toy/deep/rates.py", "CEILING = 10.0", "CEILING = 11.0", set()),
        ("toy/deep/rates.py", "# floor", "# no lower", set()),
        ("toy/deep/rates.py", "'''Note below", "'''A note below", set()),
        ("toy/shapes.py", "class Shape:\n    pass", "class Shape:\n    sides = 4", {"model_script"}),
        ("toy/shapes.py", '["side"] = 4', '["side"] = 5', {"model_script"}),
        ("toy/shapes.py", "return 5", "return 6", set()),
        ("toy/late.py", "return 11", "return 13", {"model_script"}),
        ("toy/late.py", "return 12", "return 13", set()),
        ("toy/late.py", "def late", "print('hello')\n\ndef late", {"model_script"}),
        ("toy/deep/__init__.py", "", "print('hello')\n", BOTH),
        ("toy/__init__.py", "", '"""Only a docstring."""\n', set()),
        ("toy/__init__.py", "", "if TYPE_CHECKING:\n    from toy.late import late as late\n", set()),
        ("toy/__init__.py", "", "if TYPE_CHECKING:\n    pass\nelse:\n    print('hello')\n", BOTH),
        ("toy/config.py", "N = 1", "N = 2", set()),
        ("rates_script.py", "print(rate(N))", "print(rate(N + 1))", {"rates_script"}),
    ],
)
def test_an_edit_changes_exactly_the_scripts_that_reach_it(toy, file, old, new, changed):
    before = fingerprints(toy)
    if old:
        edit(toy / file, old, new)
    else:
        (toy / file).write_text(new)
    after = fingerprints(toy)
    assert {name for name in SCRIPTS if before[name] != after[name]} == changed


def test_the_fingerprint_includes_a_function_imported_by_name_without_its_neighbours(toy):
    script = toy / "by_name.py"
    script.write_text("import sys\nfrom pkgutil import resolve_name\nresolve_name(sys.argv[1])()\n")

    def fingerprint(*functions: str) -> str:
        return Code(toy, package="toy").fingerprint(script, *functions)

    before = {name: fingerprint(f"toy.deep.rates:{name}") for name in ("rate", "unused")}
    assert len({fingerprint(), *before.values()}) == 3
    edit(toy / "toy/deep/rates.py", "1e-3", "1e-4")
    after = {name: fingerprint(f"toy.deep.rates:{name}") for name in before}
    assert after["rate"] != before["rate"] and after["unused"] == before["unused"]
    with pytest.raises(ImportError, match="does not define nothing"):
        fingerprint("toy.deep.rates:nothing")


def test_the_fingerprint_of_a_notebook_includes_its_code_and_not_its_prose(toy):
    def notebook(prose: str, code: str) -> str:
        cells = [
            {"cell_type": "markdown", "source": [prose]},
            {"cell_type": "code", "source": ["from toy.deep.rates import rate\n", code]},
        ]
        path = toy / "story.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        return Code(toy, package="toy").fingerprint(path)

    before = notebook("Rates", "rate(1)")
    assert notebook("Better prose", "rate(1)") == before
    assert notebook("Rates", "rate(2)") != before
    edit(toy / "toy/deep/rates.py", "1e-3", "1e-4")
    assert notebook("Rates", "rate(1)") != before


def test_moving_definitions_within_a_module_changes_nothing(toy):
    before = fingerprints(toy)
    path = toy / "toy/deep/rates.py"
    head, tail = path.read_text().split("def unused(x):")
    unused, rest = tail.split("class Model")
    path.write_text(f"{head}\n\n\nclass Model{rest}\n\ndef unused(x):{unused}")
    assert fingerprints(toy) == before


def test_moving_definitions_to_another_module_changes_nothing(toy):
    before = fingerprints(toy)
    path = toy / "toy/deep/rates.py"
    head, helper = path.read_text().split("def helper(model):")
    path.write_text(head.replace("from toy.shapes", "from toy.deep.helping import helper\nfrom toy.forms"))
    (toy / "toy/deep/helping.py").write_text(f"def helper(model):{helper}")
    (toy / "toy/shapes.py").rename(toy / "toy/forms.py")
    path.rename(toy / "toy/deep/frequencies.py")
    for name in SCRIPTS:
        edit(toy / f"{name}.py", "toy.deep.rates", "toy.deep.frequencies")
    assert fingerprints(toy) == before


def test_importing_another_definition_under_the_same_name_changes_the_fingerprint(toy):
    script, other = toy / "rates_script.py", toy / "toy/late.py"
    script.write_text("from toy.late import late, other\nprint(late(1), other(2))\n")
    before = fingerprints(toy)
    script.write_text("from toy.late import late as other, other as late\nprint(late(1), other(2))\n")
    assert fingerprints(toy)["rates_script"] != before["rates_script"]
    assert other.exists()


@pytest.mark.parametrize(
    "line",
    [
        "from toy import late",
        "from . import late",
        "from .late import late",
        "import toy.late",
        "from toy.late import *",
        "def f():\n    import toy.late as late",
    ],
)
def test_an_import_that_cannot_be_followed_is_an_error(toy, line):
    (toy / "rates_script.py").write_text(f"{line}\n")
    with pytest.raises(ImportError, match=r"write 'from toy\.module import name'"):
        fingerprints(toy)


def test_a_name_that_does_not_exist_is_an_error(toy):
    edit(toy / "rates_script.py", "import rate\n", "import rates\n")
    with pytest.raises(ImportError, match=r"toy\.deep\.rates does not define rates"):
        fingerprints(toy)


def test_kept_fingerprints_are_not_computed_again(toy, monkeypatch):
    before = fingerprints(toy)
    code = Code(toy, package="toy", in_parameters=frozenset({"toy.config"}))
    monkeypatch.setattr(Code, "fingerprint", lambda self, *starts: "new")
    kept = KeptFingerprints(code, toy / "folder" / "kept.json")
    assert {name: kept.fingerprint(toy / f"{name}.py") for name in SCRIPTS} == before
    assert kept.fingerprint("toy.late:late") == "new"
    assert KeptFingerprints(code, toy / "folder" / "kept.json").fingerprint("toy.late:late") == "new"
    # other rules of fingerprints are another state
    other = Code(toy, package="toy")
    assert KeptFingerprints(other, toy / "folder" / "kept.json").fingerprint(toy / "rates_script.py") == "new"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"state": 1}', "\0"])
def test_a_damaged_file_of_kept_fingerprints_is_replaced(toy, content):
    before = fingerprints(toy)
    path = toy / "folder" / "kept.json"
    whole = path.read_text()
    path.write_text(content)
    assert fingerprints(toy) == before
    assert path.read_text() == whole
    assert [one.name for one in path.parent.iterdir()] == ["kept.json"]


def test_kept_fingerprints_of_another_form_are_replaced(toy):
    before = fingerprints(toy)
    path = toy / "folder" / "kept.json"
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), "fingerprints": ["a list"]}))
    assert fingerprints(toy) == before
    assert path.read_text() == whole


def test_a_folder_that_cannot_be_written_has_no_effect(toy):
    (toy / "folder").write_text("a file")
    fingerprints(toy)
