"""Profiles of clusters have options that exist, and the image has the environments where the profile expects them."""

import json
import re
import subprocess

import pytest
import yaml
from factories import ROOT
from factories.workflow import snakemake_tools
from resources import GROUPS

PROFILES = {"default": (), "slurm": ("slurm-",), "kubernetes": ("kubernetes-", "storage-s3-")}
"""Profile -> beginnings of the options of its plugins."""
DOCKERFILE = (ROOT / "containers" / "Dockerfile").read_text()


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Return the options of Snakemake, without plugins."""
    python = snakemake_tools() / "python"
    program = (
        "import json; from snakemake.cli import get_argument_parser\n"
        "print(json.dumps([one for action in get_argument_parser()._actions for one in action.option_strings]))"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    return {option.removeprefix("--") for option in json.loads(done.stdout)}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_options_of_snakemake_and_of_its_plugins_only(name, options):
    others = profile(name).keys() - options
    assert not {key for key in others if not key.startswith(PROFILES[name] or ("-",))}


def test_the_profile_of_kubernetes_names_the_storage_and_shares_nothing():
    found, default = profile("kubernetes"), profile("default")
    assert (found["default-storage-provider"], found["shared-fs-usage"]) == ("s3", "none")
    same = default.keys() - {"max-jobs-per-timespan", "resources"}
    assert {key: found[key] for key in same} == {key: default[key] for key in same}
    assert set(default["resources"]) <= set(found["resources"])


def test_pods_share_groups_retries_and_the_order_inside_of_a_group_with_slurm():
    found, slurm = profile("kubernetes"), profile("slurm")
    for key in ("group-components", "set-resource-scopes", "retries", "keep-going"):
        assert found[key] == slurm[key]
    assert {one.split("=")[0] for one in found["group-components"]} == GROUPS.keys()
    assert {"in_turn=1", "scale=0", "gpu_manufacturer='nvidia'"} <= set(found["default-resources"])


def test_all_constraints_of_wildcards_for_every_rule_are_set_before_the_first_rule():
    setting = [path.name for path in ROOT.glob("rules/**/*.smk") if "\nwildcard_constraints:" in path.read_text()]
    assert setting == ["common.smk"], "with files in a bucket, Snakemake removes constraints if more are set later"
    assert "\nrule " not in (ROOT / "rules" / "common.smk").read_text()


def test_the_image_has_its_environments_at_the_prefix_of_the_profile():
    assert f"--conda-prefix {profile('kubernetes')['conda-prefix']} " in DOCKERFILE
    for copied in re.findall(r"^COPY (\S+) ", DOCKERFILE, flags=re.M):
        assert (ROOT / copied).exists()
        assert f"!{copied}" in (ROOT / ".dockerignore").read_text().splitlines()
    for named in ("envs/kubernetes.txt", "containers/Snakefile", "tools/conda-standin/bin/conda"):
        assert named in DOCKERFILE and (ROOT / named).exists()


def test_the_image_is_made_from_a_variable_without_a_server():
    base = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE, flags=re.M)[1]
    assert "FROM ${BASE}" in DOCKERFILE and "/" not in base


@pytest.mark.slow
def test_the_image_makes_all_environments_of_rules(tmp_path):
    done = subprocess.run(
        [snakemake_tools() / "snakemake", "-n", "--snakefile", ROOT / "containers" / "Snakefile", "--cores", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    made = set(re.findall(r"^    output: (\w+)\.made$", done.stdout, flags=re.M))
    used = {
        name
        for path in ROOT.glob("rules/**/*.smk")
        for name in re.findall(r'"(?:\.\./)+envs/(\w+)\.yaml"', path.read_text())
    }
    assert used - {"bwb"} <= made, "jobs of these rules would make their environment in each pod"
