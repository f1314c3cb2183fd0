"""Each rule's environment is pinned and separate, and is made with or without conda."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from factories import ROOT

pytestmark = pytest.mark.slow

ENVS = ROOT / "envs"
STANDIN = ROOT / "tools" / "conda-standin"
OWN = {
    "one": {"one"},
    "nwb": {"hdf5plugin"},
    "dandi": {"dandi", "pynwb"},
    "allen": {"allensdk", "pynwb"},
    "model": {"lightning", "torch"},
    "vision": {"torch", "transformers"},
    "poyo": {"pynwb", "torch", "torch_brain"},
    "report": {"papermill", "typst"},
}
"""Environment of rules -> the packages among these that it has."""
PINNED = (*OWN, "bwb")
"""Environments of rules, without that of the benchmark's scorer: its torch has several GB, so tests do not make it."""


def pins(name: str) -> dict[str, str]:
    pip = yaml.safe_load((ENVS / f"{name}.yaml").read_text())["dependencies"][-1]["pip"]
    return dict(pin.split("==") for pin in pip)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", PINNED)
def test_every_package_of_an_environment_is_pinned(name):
    environment = yaml.safe_load((ENVS / f"{name}.yaml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert environment["dependencies"][:-1] == ["python =3.11", "pip"]
    versions = pins(name)
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in versions.values()), "a public version each"
    wanted = [line.split("#")[0].strip() for line in (ENVS / f"{name}.in").read_text().splitlines()]
    for requirement in filter(None, wanted):
        package = normal(re.match(r"[\w.-]+", requirement)[0])
        assert package in versions, f"{requirement} is not pinned: run `make lock`"
        if "==" in requirement:
            assert versions[package] == requirement.split("==")[1]


@pytest.mark.parametrize(
    "name", [*(f"{name}.yaml" for name in PINNED), "test.txt", "workflow.txt", "forecast.txt", "docs.txt"]
)
def test_pins_fit_a_machine_with_and_without_an_accelerator(name):
    assert not re.search(r"nvidia|cuda|triton|\+", (ENVS / name).read_text())


PROBE = """
import json, sys
from importlib.metadata import version
from importlib.util import find_spec
others = {others}
print(json.dumps(dict(prefix=sys.prefix, numpy=version("numpy"), path=sys.path, python=sys.version_info[:2],
                      found=[name for name in others if find_spec(name)])))
"""

SNAKEFILE = """
rule all:
    input:
        expand("{{name}}.json", name={names}),


rule probe:
    output:
        "{{name}}.json",
    conda:
        "{envs}/{{name}}.yaml"
    shell:
        "python probe.py > {{output}}"
"""


def test_environments_have_different_interpreters_and_share_no_package(workflow):
    folder = workflow.root / "probe"
    folder.mkdir()
    others = sorted(set().union(*OWN.values(), {"snakemake", "pytest"}))
    (folder / "probe.py").write_text(PROBE.format(others=others))
    (folder / "Snakefile").write_text(SNAKEFILE.format(names=list(OWN), envs=ENVS))
    done = workflow.snakemake("--directory", folder, "--snakefile", folder / "Snakefile", "--sdm", "conda")
    assert done.returncode == 0, done.stdout
    found = {name: json.loads((folder / f"{name}.json").read_text()) for name in OWN}

    prefixes = {name: Path(one["prefix"]) for name, one in found.items()}
    assert len(set(prefixes.values())) == len(OWN)
    assert {prefix.parent for prefix in prefixes.values()} == {ROOT / ".snakemake" / "conda"}
    for name, one in found.items():
        assert one["numpy"] == pins(name)["numpy"]
        assert one["python"] == [3, 11]
        assert set(one["found"]) == OWN[name], f"{name} must have its own packages and none of the others'"
        inside = [path for path in one["path"] if "site-packages" in path or "dist-packages" in path]
        assert inside == [str(prefixes[name] / "lib" / "python3.11" / "site-packages")]


@pytest.fixture
def standin(tmp_path):
    """Copy the stand-in, without a stored channel, next to the tools' interpreter."""
    tools = ROOT / ".venv" / "bin"
    if not tools.exists():
        pytest.skip("the tools are not installed here: `make test` installs them")
    for path in STANDIN.rglob("*"):
        target = tmp_path / "standin" / path.relative_to(STANDIN)
        if path.is_file() and "channels" not in path.parts and "__pycache__" not in path.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            target.chmod(path.stat().st_mode)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python", "uv"):
        (folder / name).symlink_to(tools / name)
    # the interpreter finds its packages by the pyvenv.cfg above it
    (tmp_path / "pyvenv.cfg").write_text((ROOT / ".venv" / "pyvenv.cfg").read_text())
    (tmp_path / "lib").symlink_to(ROOT / ".venv" / "lib")
    (folder / "conda").symlink_to(tmp_path / "standin" / "bin" / "conda")
    return folder


def conda(folder: Path, *arguments: object, path: str = "/usr/bin:/bin", **environment: str):
    return subprocess.run(
        [folder / "conda", *arguments],
        env={**os.environ, "PATH": f"{folder}:{path}", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def silent_address():
    """Open an address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


CLOSED = "http://127.0.0.1:9/"


def test_a_real_conda_has_priority(standin, tmp_path):
    real = tmp_path / "real" / "conda"
    real.parent.mkdir()
    real.write_text('#!/bin/sh\necho "the real one: $*"\n')
    real.chmod(0o755)
    done = conda(standin, "env", "create", "--file", "x y", path=f"/usr/bin:/bin:{real.parent}")
    assert done.stdout == "the real one: env create --file x y\n"


def test_the_stand_in_of_another_clone_is_skipped(standin, tmp_path):
    other = tmp_path / "other clone"
    shutil.copytree(tmp_path / "standin", other / "standin")
    (other / "bin").mkdir()
    (other / "bin" / "conda").symlink_to(other / "standin" / "bin" / "conda")
    info = conda(standin, "info", "--json", path=f"{other / 'bin'}:/usr/bin:/bin", CONDA_CHANNEL_ALIAS=CLOSED)
    assert json.loads(info.stdout)["conda_prefix"] == str(tmp_path / "standin")


def test_the_calls_of_each_start_are_answered_as_snakemake_reads_them(standin):
    version = conda(standin, "--version").stdout
    assert re.fullmatch(r"conda (\d+)\.\d+\.\d+\n", version)
    assert json.loads(conda(standin, "info", "--json").stdout)["conda_version"] == version.split()[1]
    priority = conda(standin, "config", "--get", "channel_priority", "--json").stdout
    assert json.loads(priority)["get"] == {"channel_priority": "strict"}


def test_without_a_channel_python_is_this_machines_and_one_line_reports_it(standin, tmp_path):
    environment = tmp_path / "small.yaml"
    environment.write_text("channels: [conda-forge, nodefaults]\ndependencies: ['python =3.11', pip]\n")
    info = conda(standin, "info", "--json", CONDA_CHANNEL_ALIAS=CLOSED)
    assert info.stderr.count("\n") == 1
    assert "use Python 3.11 of this machine" in info.stderr
    assert json.loads(info.stdout)["conda_prefix"] == str(tmp_path / "standin")
    again = conda(standin, "info", "--json", CONDA_CHANNEL_ALIAS=CLOSED)
    assert again.stderr == "", "reported once"

    prefix = tmp_path / "made"
    made = conda(standin, "env", "create", "--file", environment, "--prefix", prefix, CONDA_CHANNEL_ALIAS=CLOSED)
    assert made.returncode == 0, made.stderr
    script = f'. {tmp_path}/standin/bin/activate {prefix}; python -c "import sys, pip; print(sys.prefix)"'
    activated = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    assert activated.stdout.strip() == str(prefix)
    assert conda(standin, "env", "export", "--prefix", prefix).stdout.count("  - p") == 2  # python and pip


def test_a_channel_that_never_answers_causes_no_long_wait(standin, silent_address):
    began = time.monotonic()
    info = conda(standin, "info", "--json", CONDA_CHANNEL_ALIAS=silent_address)
    assert info.returncode == 0
    assert time.monotonic() - began < 60


def test_an_environment_that_cannot_be_made_leaves_no_files(standin, tmp_path):
    environment = tmp_path / "impossible.yaml"
    for dependencies in ("['python =2.5']", "['python =3.11', pip, {pip: ['no-such-package==0.0.0.dev0']}]"):
        environment.write_text(f"channels: [conda-forge]\ndependencies: {dependencies}\n")
        done = conda(
            standin,
            *("env", "create", "--file", environment, "--prefix", tmp_path / "made"),
            CONDA_CHANNEL_ALIAS=CLOSED,
            UV_OFFLINE="1",
        )
        assert done.returncode != 0
        assert "conda stand-in" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "made").exists()


def test_a_call_without_an_answer_of_the_stand_in_is_an_error(standin):
    done = conda(standin, "install", "numpy")
    assert done.returncode != 0
    assert done.stderr == "conda stand-in: cannot answer 'install numpy'; install conda for this\n"


def test_an_environment_whose_making_was_killed_is_made_again(workflow, tmp_path):
    (workflow.root / "small.yaml").write_text("channels: [conda-forge]\ndependencies: ['python =3.11', pip]\n")
    (workflow.root / "Snakefile").write_text(
        'rule all:\n    output: "x"\n    conda: "small.yaml"\n    shell: "python -m pip --version > {output}"\n'
    )
    own_prefix = ["--conda-prefix", tmp_path / "conda"]
    first = workflow.snakemake(*own_prefix, "--sdm", "conda", "--conda-create-envs-only")
    assert first.returncode == 0, first.stdout
    (finished,) = (tmp_path / "conda").glob("*.env_setup_done")
    finished.unlink()  # the state after a kill before the end
    (finished.with_suffix("") / "bin" / "python").unlink()
    second = workflow.snakemake(*own_prefix, "--sdm", "conda")
    assert second.returncode == 0, second.stdout
    assert "Removing incomplete Conda environment" in second.stdout
