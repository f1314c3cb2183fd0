"""A run on machines that share only a bucket gives the files of a local run, byte for byte.

The profile is that of Kubernetes, with another program that starts jobs. The run is the same slice of the miniature as
for Slurm. Sessions are read locally and uploaded, as the documentation says.
"""

import os
import subprocess
from pathlib import Path

from factories import ROOT
from factories.bucket import NAME, TOOLS, Bucket, nodes
from factories.tiny_run import RESULTS, SLICE, assert_same, is_output, outputs, write_miniature
from factories.workflow import Workflow, copy_workflow

from neurohorizon.cohort import read_cohort
from neurohorizon.config import read_config

TARGET = RESULTS / "cross_session" / "tables" / "summary.tsv"
MINIATURE = ("--configfile", "config/miniature.yaml", "--conda-prefix", ROOT / ".snakemake" / "conda")


def on_nodes(project: Workflow, bucket: Bucket, *arguments: object) -> str:
    """Run Snakemake with files in a bucket, and return its output."""
    command = [TOOLS / "snakemake", TARGET, *MINIATURE, "--workflow-profile", "profiles/kubernetes", *arguments]
    done = subprocess.run(
        [*command, "--default-storage-prefix", f"s3://{NAME}", "--jobs", "2", "--retries", "0"],
        cwd=project.root,
        env={**os.environ, **bucket.environment, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def clone(folder: Path) -> Workflow:
    """Copy the project with the miniature, and list all its files in git: jobs receive the files that git lists."""
    project = copy_workflow(folder / "project")
    write_miniature(project.root, **SLICE)
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=project.root, check=True)
    return project


def test_a_run_that_shares_only_a_bucket_gives_the_files_of_a_local_run(tmp_path):
    local = clone(tmp_path / "local")
    config = read_config(local.root / "config" / "miniature.yaml")
    rows = read_cohort(local.root / config.cohort.table)
    done = local.snakemake(*(RESULTS / "sessions" / "ibl" / f"{row.session}.h5" for row in rows), *MINIATURE)
    assert done.returncode == 0, done.stdout
    with Bucket(tmp_path) as bucket:
        folders = (f"{RESULTS}/{name}" for name in ("release", "truth", "raw", "sessions"))
        bucket.upload(local.root, *folders, str(config.cohort.table))
        submitting = clone(tmp_path / "submitting")
        log = on_nodes(submitting, bucket, *nodes(tmp_path / "nodes"))
        again = on_nodes(clone(tmp_path / "another"), bucket, *nodes(tmp_path / "others"))
        found = {
            name: bucket.content(name)
            for name in bucket.names()
            if name.startswith("results/") and is_output(Path(name))
        }
    done = local.snakemake(TARGET, *MINIATURE)
    assert done.returncode == 0, done.stdout

    expected = outputs(local.root)
    assert len(expected) > 10 and str(TARGET) in expected
    assert_same(found, expected)
    assert not list(submitting.root.glob("results/**/*.*")), "nothing lies on the machine that submits"
    submitted = len(list((tmp_path / "nodes" / "jobs").iterdir()))
    assert 5 < submitted < log.count("Finished jobid") / 2, "short jobs share a submission"
    assert "Nothing to be done" in again and not list((tmp_path / "others" / "jobs").iterdir())
