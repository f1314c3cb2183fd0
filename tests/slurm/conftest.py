"""Tests on a real Slurm: only `make test-slurm` runs them, since they change system folders of the machine."""

import os

import pytest

if not os.environ.get("NEUROHORIZON_SLURM"):
    collect_ignore_glob = ["test_*.py"]
else:
    from factories.slurm import Cluster, unavailable

    @pytest.fixture(scope="session")
    def cluster(tmp_path_factory):
        """Start a controller and two nodes; skip where that is not possible."""
        if reason := unavailable():
            pytest.skip(f"no Slurm here: {reason}")
        with Cluster(tmp_path_factory.mktemp("slurm")) as started:
            yield started
