"""Sessions of the IBL's public archive in the workflow: from its files to session files, in the rules' environment."""

import json
import re

import pytest
import yaml
from factories.ibl_archive import VERSIONS, eid_of, write_archives
from factories.tiny_run import GHOST, write_miniature
from factories.workflow import counts

from neurohorizon.config import read_config
from neurohorizon.ingest.simulated.ibl import simulate_release, simulated_sessions
from neurohorizon.session import read_identity, read_session

pytestmark = pytest.mark.slow


def test_sessions_of_the_archive_are_listed_and_read_and_the_missing_one_is_left_out(workflow):
    path = write_miniature(workflow.root)
    config = read_config(path)
    release, archive = workflow.root / "alf", workflow.root / "data" / "ibl"
    settings = {"simulated": config.sources.simulated, "timeline": config.timeline, "seed": 5}
    simulate_release(release, workflow.root / "truth", **settings)
    sessions = simulated_sessions(config.sources.simulated)
    # unpacked, as the hash of a written tar file is not the published one
    write_archives(release, archive, sessions, unpacked=True)
    values = yaml.safe_load(path.read_text())
    values["sources"]["ibl"] |= {"mode": "archive", "folder": "data/ibl"}
    values["sources"] |= {"simulated": None, "simulated_allen": None, "allen": None}
    path.write_text(yaml.safe_dump(values))
    results = config.run.results
    wanted = [f"{results}/sessions/ibl/{name}.h5" for name in (sessions[0].session, GHOST)]
    done = workflow.snakemake(*wanted, "--configfile", path)
    assert done.returncode == 0, done.stdout
    assert counts(done.stdout) == {"download_ibl_archive": 2, "download_ibl": 2, "preprocess_ibl": 2}
    found = read_session(workflow.root / wanted[0])
    assert found.n_units > 0
    assert found.provenance["eid"] == eid_of(sessions[0])
    assert found.provenance["release"] == ", ".join(f"{name} {version}" for name, version in VERSIONS.items())
    assert "not in the IBL's public archive" in read_identity(workflow.root / wanted[1])["left_out"]
    listed = json.loads((workflow.root / results / "raw" / "ibl" / f"{GHOST}.json").read_text())
    assert not listed["passing"], "the next run does not try again"
    again = workflow.snakemake(*wanted, "--configfile", path)
    assert "Nothing to be done" in again.stdout
    log = (workflow.root / results / "logs" / "download_ibl_archive" / "bwm_ephys.log").read_text()
    assert re.search(r"bwm_ephys/1\.2\.1 is used; it has the unpacked archive", log)
