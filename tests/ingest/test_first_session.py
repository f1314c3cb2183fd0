"""One session of each archive is compared with published numbers, or with those of the first run."""

import json

import pytest
import yaml
from factories import ROOT
from factories.sessions import made_session
from first_session import FirstSession

from neurohorizon.config import Splits, read_config
from neurohorizon.ingest.first_session import FirstSessionError, check_first_session, measure
from neurohorizon.session import write_session

SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=1.0)
FILES = {"session": {"path": "one/one.nwb", "size": 1000, "sha256": "ab12"}}
SETTINGS = ROOT / "config" / "cohorts" / "first_session.yaml"


@pytest.fixture
def check(tmp_path):
    """Return a function that checks a made session; its paths are attributes of the result."""

    def run(seed: int = 0, files: object = FILES, **expected: object) -> dict:
        write_session(tmp_path / "one.h5", made_session("one", SPLITS, seed=seed))
        (tmp_path / "files.json").write_text(json.dumps({"session_type": "movies", "files": files}))
        check_first_session(
            session=tmp_path / "one.h5",
            manifest=tmp_path / "files.json",
            expected=expected,
            recorded=tmp_path / "recorded" / "one.json",
            output=tmp_path / "output.json",
        )
        return {row["name"]: row for row in json.loads((tmp_path / "output.json").read_text())["numbers"]}

    return run


def test_published_numbers_are_compared_and_others_recorded(check, tmp_path, capsys):
    found = check(units=8, spikes=None, subject="animal-one")
    assert found["units"] == {"name": "units", "found": 8, "expected": 8, "origin": "config/cohorts/first_session.yaml"}
    assert found["spikes"]["expected"] is None
    assert found["bytes of one/one.nwb"]["found"] == 1000 and found["sha256 of one/one.nwb"]["found"] == "ab12"
    assert found["session_type"]["found"] == "movies"
    recorded = json.loads((tmp_path / "recorded" / "one.json").read_text())
    assert recorded == {name: row["found"] for name, row in found.items()}
    printed = capsys.readouterr().err
    assert "units                  8  as expected" in printed
    assert f"spikes                 {recorded['spikes']}  recorded now" in printed


def test_a_second_run_compares_what_the_first_recorded(check, tmp_path):
    first = check(units=8)
    again = check(units=8)
    assert again["spikes"]["expected"] == first["spikes"]["found"]
    assert again["spikes"]["origin"].endswith("recorded/one.json")
    with pytest.raises(FirstSessionError) as error:
        check(seed=1, units=8)
    assert f"spikes: found {measure(tmp_path / 'one.h5', tmp_path / 'files.json')['spikes']}" in str(error.value)
    assert f"expected {first['spikes']['found']}" in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


def test_a_published_number_has_priority_over_a_recorded_one(check, tmp_path):
    check()
    recorded = tmp_path / "recorded" / "one.json"
    recorded.write_text(json.dumps(json.loads(recorded.read_text()) | {"units": 9}))
    with pytest.raises(FirstSessionError, match="units: found 8, expected 9"):
        check()
    assert check(units=8)["units"]["origin"] == "config/cohorts/first_session.yaml"
    assert json.loads(recorded.read_text())["units"] == 8


def test_a_wrong_number_stops_with_both_values_and_records_nothing(check, tmp_path):
    with pytest.raises(FirstSessionError, match=r"units: found 8, expected 9 \(config/cohorts/first_session.yaml\)"):
        check(units=9)
    assert not (tmp_path / "recorded").exists() and not (tmp_path / "output.json").exists()


def test_a_file_with_another_hash_is_named(check):
    check()
    changed = [{"path": "one/one.nwb", "size": 1000, "sha256": "cd34"}]
    with pytest.raises(FirstSessionError, match=r"sha256 of one/one\.nwb: found cd34, expected ab12"):
        check(files=changed)


def test_a_file_that_is_gone_is_named(check):
    check()
    with pytest.raises(FirstSessionError, match=r"bytes of one/one\.nwb: found None, expected 1000"):
        check(files=[])


def test_a_number_that_does_not_exist_is_named(check):
    with pytest.raises(FirstSessionError, match="no number called unit; it has subject, units"):
        check(unit=3)


# settings


def test_the_sessions_take_part_in_the_papers_cohort(release_tables):
    sessions = yaml.safe_load(SETTINGS.read_text())["sessions"]
    ibl, allen = sessions["ibl"]["row"], sessions["allen"]["row"]
    released = (release_tables / "ibl_2023_12_bwm_release.csv").read_text()
    line = next(one for one in released.splitlines() if ibl["session"] in one)
    assert line.endswith(
        f"{ibl['session']},{ibl['extras']['probes']},{ibl['extras']['number']},{ibl['date']},{ibl['subject']},{ibl['lab']}"
    )
    assert ibl["session"] not in (ROOT / "config" / "cohorts" / "bwb_heldout.txt").read_text(), "it would be reserved"
    line = next(
        one for one in (release_tables / "allen_sessions.csv").read_text().splitlines() if allen["session"] in one
    )
    assert line.startswith(f"{allen['session']},{allen['date']}") and f",{allen['subject']}," in line
    assert sessions["allen"]["expected"]["session_type"] in line


class Wildcards:
    source = "allen"


def test_a_number_may_differ_between_modes(tmp_path):
    config = read_config(ROOT / "config" / "demo.yaml")
    values = yaml.safe_load(SETTINGS.read_text())
    values["sessions"]["allen"]["expected"] = {"units": {"remote": 3, "local": 4}, "spikes": 5, "trials": {"remote": 6}}
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(values))
    first = FirstSession(tmp_path / "first.yaml", config)
    assert json.loads(first.expected(Wildcards)) == {"units": 4, "spikes": 5, "trials": None}
    assert first.recorded(Wildcards) == "results/demo/first_session/recorded/allen_local.json"


def test_its_downloads_wait_only_minutes_and_read_like_the_runs():
    config = read_config(ROOT / "config" / "config.yaml")
    first = FirstSession(SETTINGS, config)
    assert first.sources == ["ibl", "allen"]
    section = json.loads(first.section("allen"))
    assert 0 < section.pop("outage_hours") < 0.1
    assert section == json.loads(config.sources.allen.model_dump_json(exclude={"outage_hours"}))
