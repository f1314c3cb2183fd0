"""Command lines from signatures: each kind of annotation, descriptions, and errors in a few lines."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from factories import ROOT
from pydantic import Field

from neurohorizon.config import Timeline
from workflow.scripts.call import named_function, run

TIMELINE = {"bin_ms": 20, "context_bins": 50, "horizon_bins": 25, "evaluation_stride_bins": 25}
Rate = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Resampling:
    draws: int
    interval: float


@dataclass(frozen=True)
class Paths:
    session: Path
    features: Path
    readout: Path | None = None


@dataclass(frozen=True)
class Written:
    sums: Path
    example: Path


def fitted(
    weights: Path,
    *,
    fold: str,
    seed: int,
    minimum_rate_hz: Rate,
    accelerator: Literal["cpu", "gpu"],
    only: Path | None,
    controls: Sequence[str] = ("whole",),
    edges: tuple[int, ...] = (),
    force: bool = False,
    timeline: Timeline | None = None,
    row: Mapping[str, int] | None = None,
    resampling: Resampling = Resampling(100, 0.95),
    code: str = "",
) -> dict:
    """Fit 100 % of a network.

    More of it.

    Args:
        weights: Its weights,
            described on two lines.
        fold, seed: Which one.

    Returns:
        Not a parameter: this is no description of one.
    """
    return locals()


def forecast(
    paths: Paths, trained: Sequence[Paths] = (), outputs: Written | None = None, poyo: Written | None = None
) -> dict:
    """Forecast."""
    return locals()


class NoCountsError(LookupError):
    """There are no counts."""


def read_counts(path: Path) -> None:
    """Read."""
    raise NoCountsError(f"{path} holds no counts")


NEEDED = [
    *("--weights", "a b.safetensors", "--fold", "007", "--seed", "-3", "--minimum-rate-hz", "1e-1"),
    *("--accelerator", "cpu", "--only"),
]


def call(function, *arguments):
    return run(function, arguments)


@pytest.fixture
def fault(capsys):
    """Return a function that runs an invalid command line and returns its error."""

    def fault(function, *arguments):
        with pytest.raises(SystemExit) as ended:
            call(function, *arguments)
        text = capsys.readouterr().err
        assert ended.value.code == 2
        assert len(text.splitlines()) <= 3
        assert "Traceback" not in text
        return text

    return fault


def test_a_parameter_has_one_name_on_the_command_line_and_in_the_function():
    found = call(fitted, *NEEDED)
    given = {name[2:].replace("-", "_") for name in NEEDED if name.startswith("--")}
    defaults = {"controls", "edges", "force", "timeline", "row", "resampling", "code"}
    assert given | defaults == set(found)


def test_text_numbers_paths_and_literals_have_the_type_of_their_annotation():
    found = call(fitted, *NEEDED)
    assert found["weights"] == Path("a b.safetensors")
    assert (found["fold"], found["seed"], found["minimum_rate_hz"]) == ("007", -3, 0.1)
    assert found["accelerator"] == "cpu"
    assert isinstance(found["seed"], int)


def test_an_omitted_option_has_the_default_of_the_function():
    found = call(fitted, *NEEDED)
    assert (found["controls"], found["edges"], found["timeline"]) == (("whole",), (), None)
    assert (found["resampling"], found["code"], found["force"]) == (Resampling(100, 0.95), "", False)


@pytest.mark.parametrize(("given", "expected"), [([], None), (["b.json"], Path("b.json"))])
def test_an_option_that_may_be_none_may_be_left_empty(given, expected):
    assert call(fitted, *NEEDED, *given)["only"] == expected


@pytest.mark.parametrize("values", [[], ["mean"], ["mean", "shuffled"]])
def test_a_sequence_has_any_number_of_values(values):
    assert call(fitted, *NEEDED, "--controls", *values)["controls"] == tuple(values)


def test_values_of_a_sequence_have_its_type():
    assert call(fitted, *NEEDED, "--edges", "5", "25", "50")["edges"] == (5, 25, 50)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_a_switch_is_true_or_false(text, value):
    assert call(fitted, *NEEDED, "--force", text)["force"] is value


def test_a_section_of_the_configuration_is_one_json_value():
    assert call(fitted, *NEEDED, "--timeline", json.dumps(TIMELINE))["timeline"] == Timeline(**TIMELINE)
    assert call(fitted, *NEEDED, "--timeline", "null")["timeline"] is None


def test_a_mapping_and_a_dataclass_are_one_json_value_each():
    parts = ["--row", '{"units": 3}', "--resampling", '{"draws": 7, "interval": 0.5}']
    found = call(fitted, *NEEDED, *parts)
    assert found["row"] == {"units": 3}
    assert found["resampling"] == Resampling(7, 0.5)


def test_a_dataclass_of_paths_has_an_option_for_each_file():
    files = ["--paths.session", "s.h5", "--paths.features", "f.h5"]
    assert call(forecast, *files)["paths"] == Paths(Path("s.h5"), Path("f.h5"))
    assert call(forecast, *files, "--paths.readout")["paths"] == Paths(Path("s.h5"), Path("f.h5"))
    assert call(forecast, *files, "--paths.readout", "r.h5")["paths"].readout == Path("r.h5")


def test_files_of_several_objects_are_combined_in_order():
    one = ["--paths.session", "s", "--paths.features", "f"]
    columns = ["--trained.session", "a", "b", "--trained.features", "x", "y", "--trained.readout"]
    found = call(forecast, *one, *columns)["trained"]
    assert found == (Paths(Path("a"), Path("x")), Paths(Path("b"), Path("y")))
    assert call(forecast, *one, *columns, "m", "n")["trained"][1] == Paths(Path("b"), Path("y"), Path("n"))
    assert call(forecast, *one)["trained"] == ()


def test_files_that_may_be_none_are_all_left_empty():
    one = ["--paths.session", "s", "--paths.features", "f"]
    assert call(forecast, *one, "--outputs.sums", "--outputs.example")["outputs"] is None
    found = call(forecast, *one, "--outputs.sums", "a", "--outputs.example", "b")["outputs"]
    assert found == Written(Path("a"), Path("b"))


def test_help_has_the_docstring_of_the_function_and_of_each_parameter(capsys):
    with pytest.raises(SystemExit, match="0"):
        call(fitted, "--help")
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "Fit 100 % of a network." in text
    assert "--weights VALUE Its weights, described on two lines." in text
    assert "--seed VALUE Which one." in text
    assert "--timeline [JSON]" in text
    assert "no description" not in text


def test_the_result_of_the_function_is_returned():
    assert call(lambda: 7) == 7


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--seed", "x"], ["--seed", "valid integer", "'x'"]),
        (["--minimum-rate-hz", "-1"], ["--minimum-rate-hz", "greater than or equal to 0"]),
        (["--accelerator", "tpu"], ["--accelerator", "'cpu' or 'gpu'", "'tpu'"]),
        (["--timeline", "{"], ["--timeline", "Invalid JSON"]),
        (["--timeline", json.dumps({**TIMELINE, "bin_mss": 1})], ["--timeline", "bin_mss", "not permitted"]),
        (["--timeline", json.dumps({**TIMELINE, "bin_ms": "x"})], ["--timeline", "bin_ms", "'x'"]),
        (["--sed", "1"], ["--sed"]),
        (["--fold"], ["--fold", "expected one argument"]),
    ],
)
def test_an_error_names_the_option_and_the_found_value(fault, changed, words):
    text = fault(fitted, *NEEDED, *changed)
    assert text.startswith("fitted: ")
    assert [word for word in words if word not in text] == []


def test_a_missing_option_is_named(fault):
    assert "--seed" in fault(fitted, *[one for one in NEEDED if one not in ("--seed", "-3")])
    assert "--paths.features" in fault(forecast, "--paths.session", "s")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["--trained.session", "a", "b", "--trained.features", "x"], "2 session, 1 features"),
        (["--trained.session", "a", "b", "--trained.features", "x", "y", "--trained.readout", "m"], "1 readout"),
        (["--trained.session", "a", "--trained.features"], "--trained: features"),
        (["--outputs.sums", "a"], "--outputs: example"),
    ],
)
def test_files_that_do_not_match_are_an_error(fault, files, words):
    assert words in fault(forecast, "--paths.session", "s", "--paths.features", "f", *files)


def test_errors_of_the_package_end_with_their_message(monkeypatch):
    with pytest.raises(NoCountsError):
        call(read_counts, "--path", "a")
    monkeypatch.setattr(NoCountsError, "__module__", "neurohorizon.session")
    with pytest.raises(SystemExit, match=r"^read_counts: a holds no counts$"):
        call(read_counts, "--path", "a")


FUNCTIONS = {
    name for path in ROOT.glob("rules/**/*.smk") for name in re.findall(r'"\$CALL" ([\w.]+:\w+)', path.read_text())
}


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_every_function_of_a_rule_lists_its_options(function, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(named_function(function), ["--help"])
    assert capsys.readouterr().out.startswith(f"usage: {function.split(':')[1]}")


@pytest.mark.parametrize("name", ["", "json", "json:nothing", "no.such.module:name"])
def test_a_first_argument_that_names_no_function_is_refused(name):
    with pytest.raises(SystemExit, match="the first argument must name a function, as module:name"):
        named_function(name)


def test_the_command_calls_the_function_of_its_first_argument_and_prints_its_text(tmp_path):
    def command(*arguments):
        line = [sys.executable, str(ROOT / "workflow" / "scripts" / "call.py"), *arguments]
        return subprocess.run(
            line, env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, capture_output=True, text=True
        )

    (tmp_path / "greeting.py").write_text("def greet(name: str) -> str:\n    return 'hello ' + name\n")
    assert command("greeting:greet", "--name", "you").stdout == "hello you\n"
    assert command().stderr.startswith("usage: call.py MODULE:FUNCTION")


def test_no_heavy_package_is_imported():
    names = "'numpy' in sys.modules, 'torch' in sys.modules, 'neurohorizon' in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from workflow.scripts.call import run; print({names})"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["False", "False", "False"]
