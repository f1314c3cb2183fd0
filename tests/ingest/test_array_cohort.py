"""Cohorts of multi-electrode arrays: no animal on two sides, no recording twice, and none lost without a reason."""

import csv
import random

import h5py
import numpy as np
import pytest
from factories import ROOT
from factories.nwb_files import make_long_file

from neurohorizon.cohort import (
    CohortError,
    Row,
    cohort_hash,
    folds,
    heldout_sessions,
    read_cohort,
    recorded_hash,
    training_sessions,
    write_cohort,
)
from neurohorizon.config import ArrayCohort, read_config
from neurohorizon.ingest.array_cohort import (
    COLUMNS,
    Content,
    animal_key,
    array_rows,
    make_array_cohort,
    read_manifest,
)
from neurohorizon.ingest.nwb import ingest_nwb
from neurohorizon.session import SessionError

ANIMALS = read_config(ROOT / "config" / "mea.yaml")
STUDIES = read_config(ROOT / "config" / "mea_studies.yaml")


def entry(
    session: str, lab: str, *, age="5", genotype="wt", region="retina", subject="", units="6", spikes="0"
) -> dict:
    values = (session, subject or session, lab, "mouse", age, region, genotype, "ctl", units, spikes)
    return dict(zip(COLUMNS, values, strict=True))


def made_entries() -> list[dict[str, str]]:
    """Return five studies with names as in the public collections: cultures over days, litters, days, and ages only."""
    found = [
        entry(name, "charlesworth", age=str(day), region="hpc")
        for day in (7, 14, 28)
        for number in range(101, 109)
        for name in (f"TC{number}-NB-C57-DIV{day:02d}_A", f"TC{number}-NB-C57-DIV{day:02d}_APV_B")
    ]
    found += [
        entry(
            f"C57_CTX_G2CEPHYS{rig}{drug}_DIV{day}_TC{number:02d}_{letter}", "charlesworth", age=str(day), region="ctx"
        )
        for number in (1, 2, 3, 11)
        for day, drug in ((10, ""), (17, "_KN62"))
        for rig, letter in ((1, "A"), (3, "C"))
    ]
    found += [
        entry(f"Demas2003_P15_{group}_{litter}{pup}_1A", "demas2003", age="15")
        for group, litter in (("CTRL", "MI"), ("CTRL", "MII"), ("DR", "HE"), ("DR", "HL"))
        for pup in (1, 2)
    ]
    found += [
        entry(f"Demas2006_p{age}nob{n}", "demas2006", age=str(age), genotype="nob") for age in (7, 12) for n in (1, 2)
    ]
    found += [entry("Demas2006_p15wt1", "demas2006", age="15")]
    found += [entry(f"Torborg2004_2002-08-0{day}-{run}", "torborg2004") for day in range(1, 6) for run in (0, 1)]
    found += [entry(f"Sun_{age}{eye}", "sun2008", age=f"{age}.0") for age in range(1, 8) for eye in "LR"]
    return sorted(found, key=lambda one: (one["lab"], one["session"]))


def content(session: str, *, trains=None, reference_s=450.0, active_units=20, fault="") -> Content:
    return Content(frozenset(trains or {f"{session} {unit}" for unit in range(3)}), reference_s, active_units, fault)


def made_contents(entries: list[dict[str, str]]) -> dict[str, Content]:
    """Return contents in which one recording is in two studies, and three cannot be used."""
    found = {one["session"]: content(one["session"]) for one in entries}
    shared = found["Demas2003_P15_CTRL_MI1_1A"].trains
    return found | {
        "Demas2006_p15wt1": content("Demas2006_p15wt1", trains={*list(shared)[:1], "another train"}),
        "Sun_3L": content("Sun_3L", reference_s=120.5),
        "Sun_4L": content("Sun_4L", active_units=9),
        "Sun_5R": content("Sun_5R", fault="the file is damaged"),
    }


def rows_of(config, entries=None, *, seed=0) -> tuple[Row, ...]:
    entries = made_entries() if entries is None else entries
    cohort = config.cohort
    contents = made_contents(entries)
    return array_rows(entries, contents, arrays=cohort.arrays, heldout_fraction=cohort.heldout_fraction, seed=seed)


@pytest.mark.parametrize("config", [ANIMALS, STUDIES], ids=["animals", "studies"])
def test_every_recording_has_a_row_and_none_is_excluded_without_a_reason(config, tmp_path):
    rows = rows_of(config)
    assert sorted(row.session for row in rows) == sorted(one["session"] for one in made_entries())
    write_cohort(tmp_path / "table.tsv", rows)
    assert len(read_cohort(tmp_path / "table.tsv")) == len(rows)
    assert {row.session: row.why for row in rows if row.role == "left_out"} == {
        "Demas2006_p15wt1": "the same spike trains as Demas2003_P15_CTRL_MI1_1A",
        "Sun_3L": "the reference window has 120.5 s, fewer than 300",
        "Sun_4L": "9 units are active in the reference window, fewer than 10",
        "Sun_5R": "the file is damaged",
    }


@pytest.mark.parametrize("config", [ANIMALS, STUDIES], ids=["animals", "studies"])
def test_no_animal_is_on_two_sides_of_a_fold(config):
    rows = rows_of(config)
    keys = {one["session"]: animal_key(one) for one in made_entries()}
    assert folds(rows)
    for fold in folds(rows):
        trained, held_out = (
            {name for row in of_fold for name in (row.subject, keys[row.session])}
            for of_fold in (training_sessions(rows, fold), heldout_sessions(rows, fold))
        )
        assert trained and held_out
        assert not trained & held_out


def test_a_share_of_the_animals_of_each_study_and_tissue_is_held_out():
    rows = [row for row in rows_of(ANIMALS) if row.role != "left_out"]
    for stratum, animals, wanted in (
        (("charlesworth", "hpc"), 8, 2),
        (("charlesworth", "ctx"), 4, 1),
        (("torborg2004", "retina"), 5, 1),
        (("sun2008", "retina"), 7, 1),
    ):
        of_stratum = [row for row in rows if (row.lab, row.extras["region"]) == stratum]
        assert len({row.subject for row in of_stratum}) == animals
        assert len({row.subject for row in of_stratum if row.role == "heldout"}) == wanted


def test_each_study_is_held_out_once_and_studies_that_share_a_recording_together():
    rows = [row for row in rows_of(STUDIES) if row.role != "left_out"]
    assert {row.role for row in rows} == {"rotate"}
    held_out = {fold: {row.lab for row in heldout_sessions(rows, fold)} for fold in folds(rows)}
    assert held_out == {
        "charlesworth": {"charlesworth"},
        "demas2003": {"demas2003"},
        "demas2006": {"demas2006"},
        "sun2008": {"sun2008"},
        "torborg2004": {"torborg2004"},
    }
    # a second recording of the animal whose first is in both studies
    entries = [*made_entries(), entry("Demas2006_p15wt2", "demas2006", age="15")]
    contents = made_contents(made_entries()) | {"Demas2006_p15wt2": content("Demas2006_p15wt2")}
    rows = array_rows(entries, contents, arrays=STUDIES.cohort.arrays, heldout_fraction=None, seed=0)
    joined = {row.fold for row in rows if row.lab.startswith("demas") and row.role != "left_out"}
    assert joined == {"demas2003-demas2006"}
    of_name = {row.session: row.subject for row in rows}
    assert of_name["Demas2006_p15wt2"] == of_name["Demas2003_P15_CTRL_MI2_1A"] == "demas2003 MI + demas2006 P15 wt"


def test_the_seed_decides_the_draw_and_changes_no_reason():
    first, again, other = rows_of(ANIMALS), rows_of(ANIMALS), rows_of(ANIMALS, seed=1)
    assert first == again != other
    assert [row for row in first if row.role == "left_out"] == [row for row in other if row.role == "left_out"]
    assert rows_of(STUDIES) == rows_of(STUDIES, seed=1)


@pytest.mark.parametrize(
    ("lab", "one", "other"),
    [
        ("charlesworth", "TC188-DIV07_A", "TC188-DIV26_A"),
        ("charlesworth", "TC175-C57-DIV07_A", "TC175-C57-DIV28_APV_A"),
        ("charlesworth", "TC145-C57-DIV11_A", "TC145-C57-DIV14-preSham_A"),
        ("charlesworth", "C57_CTX_G2CEPHYS1_DIV10_TC01_A", "C57_CTX_G2CEPHYS3_DIV17_KN62_TC01_C"),
        ("charlesworth", "CTX_TC82_G2CEHYS3_DIV07_C", "CTX_TC82_G2CEPHYS1_DIV25_A"),
        ("demas2003", "Demas2003_6WK_DR_HE1_1A", "Demas2003_6WK_DR_HE5"),
        ("demas2003", "Demas2003_P9_CTRL_MY1_1A", "Demas2003_P9_CTRL_MY1_2A"),
        ("demas2003", "Demas2003_p21_ctrl_1a_short_new", "Demas2003_p22_ctrl_1a"),
        (
            "stafford2009",
            "Stafford2009_Beta2KO_37C_Nasal_2008-01-29-3",
            "Stafford2009_Beta2KO_37C_Temporal_2008-01-29-4",
        ),
        ("torborg2004", "Torborg2004_2002-11-26-1", "Torborg2004_2002-11-26-1no_units_strych"),
        ("sun2008", "Sun2008_CS078P05L-MEME", "Sun2008_CS078P05R-MEME"),
        ("kirkby2013", "Kirkby2013_02_WT_P5", "Kirkby2013_03_WT_P5"),
    ],
)
def test_recordings_that_may_be_of_one_animal_have_one_name(lab, one, other):
    assert animal_key(entry(one, lab)) == animal_key(entry(other, lab))


@pytest.mark.parametrize(
    ("lab", "one", "other"),
    [
        ("charlesworth", "TC11_DIV14_A", "TC111-UO126-DIV17_A"),
        ("demas2003", "Demas2003_P15_DR_HEE3_1B", "Demas2003_P15_DR_HE3_1B"),
        ("torborg2004", "Torborg2004_2002-08-01-0", "Torborg2004_2002-08-02-0"),
    ],
)
def test_other_marks_in_names_are_other_animals(lab, one, other):
    assert animal_key(entry(one, lab)) != animal_key(entry(other, lab))


def test_an_age_or_a_genotype_more_is_another_animal_and_its_spelling_is_not():
    keys = [animal_key(entry("a", "kirkby2013", age=age, genotype=kind)) for age, kind in (("6", "wt"), ("6.0", "wt"))]
    assert keys == ["kirkby2013 P6 wt"] * 2
    assert animal_key(entry("a", "wong1993", age="0", genotype="")) == "wong1993 P0"
    with pytest.raises(CohortError, match=r"culture-7: no number of a culture"):
        animal_key(entry("culture-7", "charlesworth"))


# files


def write_manifest(folder, entries, name="manifest.tsv"):
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(entries)
    return folder / name


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write files of two studies: one recording is there twice, with another clock, and one file is damaged."""
    folder = tmp_path_factory.mktemp("arrays")
    names = [("Torborg2004_2002-08-01-0", "torborg2004"), ("Torborg2004_2002-08-02-0", "torborg2004")]
    names += [("Wong1993_P0", "wong1993"), ("Wong1993_P1", "wong1993"), ("Wong1993_P4", "wong1993")]
    entries = []
    rng = np.random.default_rng(3)
    for session, lab in names:
        path = make_long_file(folder / f"{session}.nwb", subject=f"{session}, named so", units=12)
        with h5py.File(path, "a") as file:
            times = file["units/spike_times"]
            # no two trains of these files are equal, within or between recordings
            times[:] = times[:] + rng.uniform(0, 1e-3, times.shape)
            counts = {"units": "12", "spikes": str(len(times))}
            entries.append(entry(session, lab, age=session[-1], subject=f"{session}, named so", **counts))
    twin = folder / "Wong1993_P1.nwb"
    with h5py.File(folder / "Torborg2004_2002-08-02-0.nwb") as first, h5py.File(twin, "a") as file:
        file["units/spike_times"][:] = first["units/spike_times"][:] + 0.25
        file["units/obs_intervals"][:] += 0.25
    (folder / "Wong1993_P4.nwb").write_bytes((folder / "Wong1993_P4.nwb").read_bytes()[:5000])
    return folder, entries


def make(output, manifest, **changes):
    config = ANIMALS
    arrays = ArrayCohort(manifest="manifest.tsv", hold_out="animals", minimum_reference_s=50.0, minimum_units=10)
    settings = {"heldout_fraction": 0.3, "seed": 0, "minimum_rate_hz": 0.05, "arrays": arrays} | changes
    parts = {"nwb": config.sources.nwb, "timeline": config.timeline, "splits": config.splits}
    make_array_cohort(output, manifest=manifest, **parts, **settings)
    return read_cohort(output)


def test_a_table_is_made_from_the_files_and_frozen(files, tmp_path):
    folder, entries = files
    rows = make(tmp_path / "mea.tsv", write_manifest(folder, entries))
    of_name = {row.session: row for row in rows}
    assert of_name["Wong1993_P1"].why == "the same spike trains as Torborg2004_2002-08-02-0"
    assert "Wong1993_P4.nwb" in of_name["Wong1993_P4"].why
    assert sorted(row.role for row in rows) == ["heldout", "left_out", "left_out", "train", "train"]
    assert recorded_hash(tmp_path / "mea.tsv") == cohort_hash(tmp_path / "mea.tsv")
    with pytest.raises(CohortError, match="frozen once made"):
        make(tmp_path / "mea.tsv", folder / "manifest.tsv")
    # the file has another name for the animal than the table
    path, row = folder / "Wong1993_P0.nwb", of_name["Wong1993_P0"]
    assert row.subject == "wong1993 P0 wt"
    assert ingest_nwb(path, row, source=ANIMALS.sources.nwb, splits=ANIMALS.splits).subject == row.subject
    row.extras["file_subject"] = "Ada"
    with pytest.raises(SessionError, match=r"of subject 'Wong1993_P0, named so', the cohort table has 'Ada'"):
        ingest_nwb(path, row, source=ANIMALS.sources.nwb, splits=ANIMALS.splits)


def test_the_order_of_the_manifest_changes_no_byte_and_another_manifest_is_refused(files, tmp_path):
    folder, entries = files
    output = tmp_path / "mea.tsv"
    make(output, write_manifest(folder, entries))
    first = output.read_bytes()
    output.unlink()
    make(output, write_manifest(folder, random.Random(1).sample(entries, len(entries))))
    assert output.read_bytes() == first
    output.unlink()
    older = [one | {"age": "3"} if one["session"] == "Wong1993_P0" else one for one in entries]
    with pytest.raises(CohortError, match=r"2 recordings left out \(Wong1993_P1, Wong1993_P4\) give"):
        make(output, write_manifest(folder, older))
    assert not output.exists()
    make(output, folder / "manifest.tsv", force=True)
    assert recorded_hash(output) == cohort_hash(output)
    assert output.read_bytes() != first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "1 files have no row, such as 'Wong1993_P4'"),
        (lambda rows: [*rows, entry("Wong1993_P9", "wong1993")], "1 rows have no file, such as 'Wong1993_P9'"),
        (lambda rows: [*rows, rows[0]], "1 rows are of a recording that is listed before, such as 'Torborg2004"),
        (lambda rows: [rows[0] | {"age": "adult"}, *rows[1:]], "2002-08-01-0: age is 'adult', expected a number"),
        (lambda rows: [rows[0] | {"units": "11"}, *rows[1:]], "the manifest has 11 units and .*, the file 12 and"),
    ],
    ids=["file", "row", "twice", "age", "units"],
)
def test_a_manifest_that_does_not_fit_its_files_is_refused_by_name(files, tmp_path, change, message):
    folder, entries = files
    with pytest.raises(CohortError, match=message):
        make(tmp_path / "mea.tsv", write_manifest(folder, change(entries)))
    assert not (tmp_path / "mea.tsv").exists()


def test_without_a_manifest_one_line_says_what_to_do(tmp_path):
    with pytest.raises(CohortError) as error:
        read_manifest(tmp_path / "manifest.tsv")
    assert str(error.value) == (
        f"there is no manifest {tmp_path}/manifest.tsv: put the recordings there, or set NEUROHORIZON_NWB to their "
        "folder"
    )


def test_in_the_real_manifest_no_animal_is_on_two_sides_and_every_study_is_held_out_once(arrays):
    entries = read_manifest(arrays / "manifest.tsv")
    assert len(entries) == 449
    contents = {one["session"]: content(one["session"]) for one in entries}
    for config in (ANIMALS, STUDIES):
        cohort = config.cohort
        rows = array_rows(
            entries, contents, arrays=cohort.arrays, heldout_fraction=cohort.heldout_fraction, seed=config.run.seed
        )
        for fold in folds(rows):
            # cultures keep their name over days in vitro
            trained, held_out = (
                {row.extras["file_subject"] for row in of_fold} | {row.subject for row in of_fold}
                for of_fold in (training_sessions(rows, fold), heldout_sessions(rows, fold))
            )
            assert not trained & held_out
    assert sorted(folds(rows)) == sorted({one["lab"] for one in entries})
