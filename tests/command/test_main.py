"""The command line starts at once, and its exit status tells what happened."""

import subprocess
import sys

import pytest
from factories import ROOT

from neurohorizon import __version__
from neurohorizon.command import forecast
from neurohorizon.command.main import COMMANDS, main


def test_the_help_imports_no_other_package():
    program = (
        "import sys; before = set(sys.modules); sys.argv = ['neurohorizon', '--help']; import runpy\n"
        "try: runpy.run_module('neurohorizon', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "print('', code, *{one.split('.')[0] for one in set(sys.modules) - before}, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    code, *imported = done.stderr.split()
    assert code == "0"
    assert "neurohorizon" in imported
    assert set(imported) <= {"neurohorizon", *sys.stdlib_module_names}
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_examples_that_it_can_read(name, capsys):
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    lines = printed.split("examples:\n")[1].splitlines()
    examples = [line.strip() for line in lines if line.startswith("  neurohorizon")]
    assert len(examples) >= 2
    if name in ("check", "forecast"):
        assert "The reference window, by default the first half of the valid time, describes each unit." in printed
    for line in examples:
        given = line.split(" > ")[0].split()[1:]
        assert given[0] == name
        assert main([*given, "--help"]) == 0, line


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"neurohorizon {__version__}\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], ""),
        (["predict"], "there is no command 'predict'; expected one of check, forecast, weights, init"),
        (["weight", "a.nwb"], "did you mean 'weights'?"),
        (["mouse.nwb", "--open"], "a command is expected before it, such as `neurohorizon forecast mouse.nwb`"),
        (["check"], "required: PATH"),
        (["check", "absent.nwb"], "there is no file or folder absent.nwb"),
        (["check", "."], "the folder . holds no file *.nwb"),
        (["forecast", __file__], "is no NWB file"),
        (["check", "a.nwb", "--reference", "1.5"], "'1.5' is no share between 0 and 1, and no START:STOP"),
        (["check", "a.nwb", "--reference", "all"], "'all' is no share between 0 and 1, and no START:STOP in seconds"),
        (["check", "a.nwb", "--reference", "5:"], "'5:' is no START:STOP in seconds, such as 0:600"),
        (
            ["check", "a.nwb", "--regions", "x"],
            "there is no option --regions; did you mean --region?; see `neurohorizon",
        ),
        (["--fast"], "there is no option --fast; see `neurohorizon --help`"),
        (["check", "a.nwb", "--reference", "9:3"], "'9:3' stops before it starts"),
        (["check", "a.nwb", "--valid", "lunch"], "'lunch' is none of whole, obs_intervals, trials, epochs"),
        (["check", "a.nwb", "--valid", "1:2:3"], "'1:2:3' is no START:STOP"),
        (["check", "a.nwb", "--exclude", "3,,4"], "'3,,4' has an empty id"),
        (["check", "a.nwb", "--max-rate", "nan"], "'nan' is no number"),
        (["forecast", "a.nwb", "--every", "-1"], "'-1' is not above 0"),
        (["forecast", "a.nwb", "--seed", "-1"], "'-1' is no whole number, 0 or more"),
        (["forecast", "a.nwb", "--seed", "one"], "'one' is no whole number"),
        (["check", "a.nwb", "--keep", "quality"], "'quality' is no filter of units; expected COLUMN=VALUE"),
    ],
)
def test_wrong_use_has_its_own_exit_status_and_a_reason(here, capsys, given, message):
    assert main(given) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert not given or len(printed.splitlines()) == 1
    assert list(here.iterdir()) == []


def test_two_filters_of_one_column_are_wrong_use(mouse, capsys):
    assert main(["check", str(mouse), "--keep", "a=1", "--keep", "a=2"]) == 2
    assert "--keep names the column a more than once; give its values once" in capsys.readouterr().err


def test_an_unknown_network_is_wrong_use(here, mouse, shipped, capsys):
    for name, reason in (
        ("hippocampoos", "it has arrays, hippocampus; did you mean 'hippocampus'?"),
        ("absent/model.safetensors", "there is no absent/model.json; expected the path of a network, or released"),
    ):
        assert main(["check", str(mouse), "--network", name]) == 2
        assert reason in capsys.readouterr().err
    (here / "model.json").write_text("{}")
    assert main(["check", str(mouse), "--network", str(here)]) == 2
    assert "describes no network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 1, 'pip install "neurohorizon[model,nwb]"'),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_missing_package_and_an_interruption_are_one_line(monkeypatch, here, capsys, error, status, line):
    def fail(*_):
        raise error

    monkeypatch.setattr(forecast, "nwb_files", fail)
    assert main(["forecast", "a.nwb"]) == status
    printed = capsys.readouterr().err
    assert line in printed
    assert len(printed.splitlines()) == 1
