"""Cohort tables: what they may hold, how the paper's is drawn, and that it stays as it was made."""

import csv
import json
import random
import types
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from factories import ROOT
from factories.file_server import serving

from neurohorizon.cohort import (
    RELEASED,
    CohortError,
    Row,
    check_cohort,
    cohort_hash,
    folds,
    heldout_sessions,
    read_cohort,
    recorded_hash,
    sessions_in_use,
    shared_subjects,
    training_sessions,
    write_cohort,
)
from neurohorizon.config import read_config
from neurohorizon.ingest.allen_release import fetch_allen_release
from neurohorizon.ingest.ibl_archive import fetch_archive_insertions
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.paper_cohort import (
    ALLEN_COLUMNS,
    IBL_COLUMNS,
    allen_rows,
    draw_animals,
    ibl_rows,
    make_cohort,
    read_release,
    read_reserved,
    write_release,
)

BENCH = ROOT / "config" / "cohorts" / "bwb_heldout.txt"


def row(session, subject, role, fold="", **extras):
    return Row(
        session=session,
        source="nwb",
        subject=subject,
        lab="lab-a",
        date="2020-01-02",
        role=role,
        fold=fold,
        why="made for a test",
        extras=extras,
    )


def rotation():
    return [row(f"{mouse}_{day}", mouse, "rotate", mouse) for mouse in ("ant", "bee", "cat") for day in (1, 2)]


# reading and writing


def test_a_table_comes_back_as_it_was_written(tmp_path):
    rows = [
        row("a1", "ant", "train", number="001", eid=""),
        row("b1", "bee", "heldout", "main", number="002", eid="x"),
    ]
    write_cohort(tmp_path / "cohort.tsv", rows)
    assert read_cohort(tmp_path / "cohort.tsv") == tuple(rows)


def test_the_order_of_rows_and_of_extras_changes_no_byte(tmp_path):
    rows = rotation()
    rows = [replace(r, extras={"number": str(i), "eid": f"e{i}"}) for i, r in enumerate(rows)]
    write_cohort(tmp_path / "one.tsv", rows)
    random.Random(3).shuffle(rows)
    write_cohort(tmp_path / "two.tsv", [replace(r, extras=dict(reversed(r.extras.items()))) for r in rows])
    assert cohort_hash(tmp_path / "one.tsv") == cohort_hash(tmp_path / "two.tsv")


def test_a_frozen_table_that_was_edited_is_refused(tmp_path):
    path = tmp_path / "cohort.tsv"
    write_cohort(path, rotation())
    (tmp_path / "cohort.tsv.sha256").write_text(f"{cohort_hash(path)}  cohort.tsv\n")
    read_cohort(path)
    path.write_text(path.read_text().replace("2020-01-02", "2020-01-03", 1))
    with pytest.raises(CohortError, match="changed since it was frozen"):
        read_cohort(path)


def test_a_missing_table_says_how_to_make_it(tmp_path):
    with pytest.raises(CohortError, match="make cohorts"):
        read_cohort(tmp_path / "cohort.tsv")


def test_a_line_with_too_few_fields_is_named(tmp_path):
    path = tmp_path / "cohort.tsv"
    write_cohort(path, rotation())
    lines = path.read_text().splitlines()
    lines[2] = lines[2].rsplit("\t", 1)[0]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(CohortError, match="line 3"):
        read_cohort(path)


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "cohort.tsv"
    write_cohort(path, rotation())
    path.write_text(path.read_text().replace("\trole\t", "\trule\t", 1))
    with pytest.raises(CohortError, match="role"):
        read_cohort(path)


def test_a_field_with_a_tab_is_refused(tmp_path):
    with pytest.raises(CohortError, match="tab"):
        write_cohort(tmp_path / "cohort.tsv", [*rotation(), replace(row("d1", "dog", "train"), why="a\tb")])


# tables as spreadsheets and people write them

TABLE = """session\tsource\tsubject\tlab\tdate\trole\tfold\twhy
a1\tnwb\tant\tlab\t2020-01-02\ttrain\t\ttrained on
b1\tnwb\tbee\tlab\t2020-01-03\theldout\tmain\tforecast
"""
NO_BREAK_SPACE, ZERO_WIDTH_SPACE = "\N{NO-BREAK SPACE}", "\N{ZERO WIDTH SPACE}"


def table(tmp_path, text: str, encoding: str = "utf-8"):
    path = tmp_path / "cohort.tsv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "written",
    [
        "\N{BYTE ORDER MARK}" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.replace("\tant\t", f"\t ant{NO_BREAK_SPACE}\t"),
        TABLE.replace("a1\t", "\N{THIN SPACE}a1 \t").replace("session\t", "session \t"),
        TABLE.replace("\n", "\t\t\n"),
        TABLE.replace("a1", "\t\t\t\t\t\t\t\n \n\na1") + "\t\t\t\t\t\t\t\n",
    ],
    ids=["mark", "crlf", "cr", "blanks", "thin space", "empty columns", "empty rows"],
)
def test_what_a_spreadsheet_adds_changes_no_row(tmp_path, written):
    expected = read_cohort(table(tmp_path, TABLE))
    assert [(one.session, one.subject) for one in expected] == [("a1", "ant"), ("b1", "bee")]
    assert read_cohort(table(tmp_path, written)) == expected


@pytest.mark.parametrize(
    ("trained", "held_out"),
    [
        ("ant", "ant "),
        ("ant", f"{NO_BREAK_SPACE}ant"),
        ("Ant", "ant"),
        ("ant 1", f"ant{NO_BREAK_SPACE}1"),
        ("ant 1", "ant  1"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}ve", "e\N{COMBINING ACUTE ACCENT}ve"),
        ("STRASSE", "stra\N{LATIN SMALL LETTER SHARP S}e"),
        ("ant1", "ant\N{FULLWIDTH DIGIT ONE}"),
    ],
)
def test_an_animal_written_in_two_ways_is_one_animal(tmp_path, trained, held_out):
    text = TABLE.replace("\tant\t", f"\t{trained}\t").replace("\tbee\t", f"\t{held_out}\t")
    with pytest.raises(CohortError, match=r"fold main: .*(trained on and also held out|differ only in case, blanks)"):
        read_cohort(table(tmp_path, text))


def test_animals_alike_on_one_side_are_the_tables_choice_and_a_group_still_names_them():
    rows = [row("a1", "ant", "train"), row("a2", "ANT", "train"), row("b1", "bee", "heldout", "main")]
    check_cohort(rows)
    days = [row("a1", "ant", "rotate", "day1", group="day1"), row("a2", "Ant ".strip(), "rotate", "day2", group="day2")]
    check_cohort(days)
    assert shared_subjects(days, "day1") == ("ant",)


def test_a_row_with_blanks_around_a_name_is_refused():
    with pytest.raises(CohortError, match="subject 'ant ' has blanks around it"):
        check_cohort([*rotation(), row("d1", "ant ", "train")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("a1\t", f"a{ZERO_WIDTH_SPACE}1\t"), r"line 2: session .* holds ZERO WIDTH SPACE, which does not show"),
        (("\tbee\t", "\tb\0ee\t"), r"line 3: subject .* holds U\+0000"),
        (("\tbee\t", '\t"bee"\t'), r"line 3: subject is in quotes"),
        (("\ttrained on", "\ttrained on\tmore"), r"line 2: does not have 8 tab-separated fields, but 9"),
        (("a1\t", "a1.nwb\t"), r"session 'a1\.nwb': write the session without \.nwb"),
        (("a1\t", "a1.NWB\t"), r"write the session without \.nwb"),
        (("a1\t", f"a{'1' * 200}\t"), r"201 characters, at most 180"),
    ],
)
def test_a_field_that_cannot_be_meant_is_named_by_line(tmp_path, change, message):
    with pytest.raises(CohortError, match=message):
        read_cohort(table(tmp_path, TABLE.replace(*change)))


def test_a_table_in_another_encoding_or_without_text_is_refused_in_words(tmp_path):
    with pytest.raises(CohortError, match="is not UTF-8 text"):
        read_cohort(table(tmp_path, TABLE, "utf-16"))
    with pytest.raises(CohortError, match="is empty"):
        read_cohort(table(tmp_path, "\t\t\n\n"))


@pytest.mark.parametrize("name", ["sub-4_ses-4_ecephys+image", "a=1,b@lab", "1.2-3"])
def test_names_of_dandi_files_are_names_of_sessions(name):
    check_cohort([*rotation(), row(name, "dog", "train")])


@pytest.mark.parametrize(
    "name", ["-a", "..", "../a", "a/b", "a b", "a$b", "a;b", "a'b", 'a"b', "a\nb", "a*", "{a}", "\u00e4"]
)
def test_names_that_mean_something_to_a_shell_or_a_path_are_refused_by_name(name):
    with pytest.raises(CohortError) as refused:
        check_cohort([*rotation(), row(name, "dog", "train")])
    assert repr(name) in str(refused.value)


def test_a_file_of_another_name_belongs_to_the_id_of_its_session(tmp_path):
    name = "sub-1/sub-1 (day 1) f\u00fcr+image.nwb"
    rows = [row("d1", "dog", "train", file=name), row("b1", "bee", "heldout", "main", file="")]
    write_cohort(tmp_path / "cohort.tsv", rows)
    read = {one.session: one for one in read_cohort(tmp_path / "cohort.tsv")}
    assert (read["d1"].recording_names, read["b1"].recording_names) == ((name,), ("b1.nwb",))
    assert row("d1", "dog", "train", file=f"{name}; b.nwb").recording_names == (name, "b.nwb")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("../x.nwb", "is refused"),
        ("/etc/x.nwb", "is refused"),
        ("-x.nwb", "is refused"),
        ("a/-x.nwb", "is refused"),
        ("~/x.nwb", "is refused"),
        ("$HOME.nwb", "is refused"),
        ("a'b.nwb", "is refused"),
        ("a|b.nwb", "is refused"),
        ("a\nb.nwb", "is refused"),
        ("{session}.nwb", "is refused"),
        ("x.h5", r"with \.nwb at its end"),
        ("ant_1.nwb", "has the file 'ant_1.nwb' of session 'ant_1'"),
        ("d.nwb; d.nwb", "has the file 'd.nwb' of session 'd1'"),
    ],
)
def test_a_file_outside_the_folder_or_of_the_shell_is_refused_by_name(file, message):
    with pytest.raises(CohortError, match=message) as refused:
        check_cohort([*rotation(), row("d1", "dog", "train", file=file)])
    assert repr(file.split("; ")[0]) in str(refused.value)


def test_only_nwb_and_dandi_sessions_have_a_file():
    named = row("d1", "dog", "train", file="d.nwb")
    check_cohort([*rotation(), named, replace(named, session="d2", source="dandi")])
    with pytest.raises(CohortError, match="only sessions of the sources nwb and dandi have a file"):
        check_cohort([*rotation(), replace(named, source="ibl")])
    twice = [replace(named, session=name, source="dandi") for name in ("d2", "d3")]
    with pytest.raises(CohortError, match=r"has the file 'd\.nwb' of session 'd2'"):
        check_cohort([*rotation(), *twice])


# checks


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (row("ant_1", "dog", "train"), "twice"),
        (row("d1", "dog", "held_out", "main"), "unknown role 'held_out'"),
        (replace(row("d1", "dog", "train"), source="ibll"), "unknown source 'ibll'"),
        (row("d/1", "dog", "train"), "names files"),
        (replace(row("d1", "dog", "train"), date="2020-1-2"), "not YYYY-MM-DD"),
        (row("d1", "dog", "train", "main"), "has no fold"),
        (row("d1", "dog", "heldout"), "needs a fold"),
        (replace(row("d1", "dog", "left_out"), why=""), "say why"),
        (row("a3", "ant", "train"), "fold ant: ant trained on and also held out"),
        (row("a3", "ant", "heldout", "bee"), "fold bee: ant trained on"),
        (row("a3", "ant", "reserved"), "ant trained on and also held out or reserved"),
    ],
)
def test_a_faulty_row_is_named(fault, message):
    with pytest.raises(CohortError, match=message):
        check_cohort([*rotation(), fault])


def test_a_table_must_have_something_to_forecast_and_something_to_train_on():
    with pytest.raises(CohortError, match="nothing to forecast"):
        check_cohort([row("a1", "ant", "train")])
    with pytest.raises(CohortError, match="fold main: nothing to train on"):
        check_cohort([row("a1", "ant", "heldout", "main")])


# folds


def test_a_rotated_animal_is_trained_on_in_every_fold_but_its_own():
    rows = [
        *rotation(),
        row("d1", "dog", "train"),
        row("e1", "eel", "reserved"),
        row("f1", "fox", "left_out"),
    ]
    assert folds(rows) == ("ant", "bee", "cat")
    assert [r.session for r in heldout_sessions(rows, "bee")] == ["bee_1", "bee_2"]
    assert [r.session for r in training_sessions(rows, "bee")] == ["ant_1", "ant_2", "cat_1", "cat_2", "d1"]


def test_a_heldout_session_is_trained_on_in_no_fold():
    rows = [*rotation(), row("d1", "dog", "heldout", "ant")]
    assert all("d1" not in {r.session for r in training_sessions(rows, fold)} for fold in folds(rows))
    assert "d1" in {r.session for r in heldout_sessions(rows, "ant")}


def test_a_group_column_lets_days_of_one_animal_be_held_out_and_names_the_animal():
    rows = [
        row("a1", "ant", "rotate", "day1", group="day1"),
        row("a2", "ant", "rotate", "day2", group="day2"),
        row("b1", "bee", "train", group="bee"),
    ]
    check_cohort(rows)
    assert shared_subjects(rows, "day1") == ("ant",)
    with pytest.raises(CohortError, match="day1 trained on"):
        check_cohort([*rows, row("a3", "ant", "train", group="day1")])


def test_without_a_group_no_animal_is_shared():
    assert all(shared_subjects(rotation(), fold) == () for fold in folds(rotation()))


def test_a_source_without_a_section_takes_no_part():
    rows = [*rotation(), replace(row("x1", "yak", "heldout", "main"), source="allen")]
    sources = read_config(ROOT / "config" / "steinmetz.yaml").sources
    assert sources.nwb
    assert sources.allen is None
    assert sessions_in_use(rows, sources) == tuple(rotation())
    with pytest.raises(CohortError, match="nothing to forecast"):
        sessions_in_use(rows, sources.model_copy(update={"nwb": None}))


@pytest.mark.parametrize(
    "table", sorted((ROOT / "config" / "cohorts").glob("*.tsv"), key=str), ids=lambda path: path.stem
)
def test_the_cohorts_in_the_project_can_be_read(table):
    assert folds(read_cohort(table))


# making the paper's cohort, on tables made here


def made_insertions():
    """Three labs of 10, 4 and 2 animals, one to three sessions each, one or two probes."""
    rows = []
    for lab, animals in (("north", 10), ("south", 4), ("west", 2)):
        for animal in range(animals):
            for day in range(1 + animal % 3):
                for probe in range(1 + day % 2):
                    rows.append(
                        {
                            "pid": f"pid-{lab}-{animal}-{day}-{probe}",
                            "eid": f"eid-{lab}-{animal}-{day}",
                            "probe_name": f"probe{probe:02d}",
                            "session_number": str(1 + day % 2),
                            "date": f"2021-03-{10 + day}",
                            "subject": f"{lab[0].upper()}-{animal:03d}",
                            "lab": lab,
                        }
                    )
    return rows


def made_allen():
    return [
        {
            "id": str(700 + i),
            "date_of_acquisition": f"2019-01-{1 + i:02d}T08:00:00Z",
            "specimen_id": str(9000 + i),
            "session_type": "gratings" if i < 7 else "movies",
        }
        for i in range(20)
    ]


MADE_RESERVED = frozenset({"eid-north-2-1", "eid-south-1-0"})


def made_rows(seed=0, heldout_fraction=0.25, insertions=None):
    insertions = made_insertions() if insertions is None else insertions
    return ibl_rows(insertions, reserved=MADE_RESERVED, heldout_fraction=heldout_fraction, seed=seed)


def write_made(folder):
    write_release(folder / "ibl.csv", made_insertions(), IBL_COLUMNS)
    write_release(folder / "allen.csv", made_allen(), ALLEN_COLUMNS)
    (folder / "reserved.txt").write_text("# made\n" + "\n".join(sorted(MADE_RESERVED)) + "\n")
    return {
        "ibl_table": folder / "ibl.csv",
        "allen_table": folder / "allen.csv",
        "reserved": folder / "reserved.txt",
        "heldout_fraction": 0.25,
        "seed": 0,
    }


def test_insertions_of_a_session_become_one_row():
    rows = {r.session: r for r in made_rows()}
    assert len(rows) == len({i["eid"] for i in made_insertions()})
    assert rows["eid-north-1-1"].extras == {
        "eid": "eid-north-1-1",
        "number": "2",
        "probes": "probe00,probe01",
    }


def test_reserved_sessions_are_reserved_and_their_animals_never_trained_on():
    roles = {r.session: r.role for r in made_rows()}
    assert {session for session, role in roles.items() if role == "reserved"} == MADE_RESERVED
    assert roles["eid-north-2-0"] == roles["eid-north-2-2"] == roles["eid-south-1-1"] == "heldout"


@pytest.mark.parametrize("seed", range(6))
def test_each_lab_holds_out_its_share_of_the_other_animals(seed):
    rows = made_rows(seed)
    benchmark = {"N-002", "S-001"}
    drawn = {
        lab: len({r.subject for r in rows if r.lab == lab and r.role == "heldout"} - benchmark)
        for lab in ("north", "south", "west")
    }
    # 9, 3 and 2 animals at a quarter: 2.25, 0.75 and 0.5
    assert drawn == {"north": 2, "south": 1, "west": 1}


def test_a_lab_is_never_held_out_as_a_whole():
    assert draw_animals(["only"], source="ibl", heldout_fraction=0.9, seed=0) == frozenset()
    assert len(draw_animals("abcd", source="ibl", heldout_fraction=0.99, seed=0)) == 3


def test_the_order_of_the_release_changes_nothing():
    shuffled = made_insertions()
    random.Random(5).shuffle(shuffled)
    assert {r.session: r for r in made_rows(insertions=shuffled)} == {r.session: r for r in made_rows()}


def test_another_seed_draws_other_animals():
    names = [f"animal-{i}" for i in range(40)]
    draws = {draw_animals(names, source="ibl", heldout_fraction=0.25, seed=seed) for seed in range(5)}
    assert len(draws) == 5


def test_each_animal_is_drawn_about_as_often_as_its_share():
    names = [f"animal-{i}" for i in range(8)]
    draws = [draw_animals(names, source="ibl", heldout_fraction=0.25, seed=seed) for seed in range(400)]
    often = [sum(name in draw for draw in draws) / len(draws) for name in names]
    # 400 draws at 1/4: standard deviation 0.022
    assert 0.16 < min(often) <= max(often) < 0.34


def test_allen_sessions_are_stratified_by_session_type():
    rows = allen_rows(made_allen(), heldout_fraction=0.25, seed=0)
    heldout = [r.extras["session_type"] for r in rows if r.role == "heldout"]
    # 7 and 13 animals at a quarter: 1.75 and 3.25
    assert (heldout.count("gratings"), heldout.count("movies")) == (2, 3)
    assert {r.lab for r in rows} == {"allen"}


def test_insertions_that_disagree_are_refused():
    insertions = made_insertions()
    insertions.append({**insertions[0], "pid": "other", "subject": "N-009"})
    with pytest.raises(CohortError, match="disagree: subject"):
        made_rows(insertions=insertions)


def test_a_release_without_the_reserved_sessions_is_refused():
    insertions = [i for i in made_insertions() if i["eid"] != "eid-south-1-0"]
    with pytest.raises(CohortError, match="eid-south-1-0"):
        made_rows(insertions=insertions)


def test_a_made_cohort_is_frozen(tmp_path):
    release, output = write_made(tmp_path), tmp_path / "cohorts" / "paper.tsv"
    make_cohort(output, **release)
    assert recorded_hash(output) == cohort_hash(output)
    with pytest.raises(CohortError, match="frozen once made"):
        make_cohort(output, **release)
    first = cohort_hash(output)
    output.unlink()
    make_cohort(output, **release)
    assert cohort_hash(output) == first


def test_a_cohort_other_than_the_recorded_one_is_made_only_when_asked(tmp_path):
    release, output = write_made(tmp_path), tmp_path / "paper.tsv"
    make_cohort(output, **release)
    first = recorded_hash(output)
    output.unlink()
    with pytest.raises(CohortError, match="records"):
        make_cohort(output, **release | {"seed": 1})
    assert not output.exists()
    assert recorded_hash(output) == first
    make_cohort(output, **release | {"seed": 1}, force=True)
    assert recorded_hash(output) == cohort_hash(output) != first


def test_a_release_table_without_a_column_is_refused(tmp_path):
    (tmp_path / "ibl.csv").write_text("pid,eid\na,b\n")
    with pytest.raises(CohortError, match="no column probe_name, session_number"):
        read_release(tmp_path / "ibl.csv", IBL_COLUMNS)


def test_a_release_table_with_an_empty_field_is_refused(tmp_path):
    sessions = made_allen()
    sessions[3]["specimen_id"] = ""
    write_release(tmp_path / "allen.csv", sessions, ALLEN_COLUMNS)
    with pytest.raises(CohortError, match="line 5: no specimen_id"):
        read_release(tmp_path / "allen.csv", ALLEN_COLUMNS)


def test_the_brain_wide_bench_list_has_29_recordings():
    ids = read_reserved(BENCH)
    assert len(ids) == 29
    assert all(len(eid) == 36 and eid.count("-") == 4 for eid in ids)


# the archives: stand-ins that record the calls, since tests do not use the network


def test_the_ibl_release_is_the_insertions_of_both_tags(tmp_path, monkeypatch):
    # ingest.ibl imports ONE, which has an environment of its own
    ibl_release = pytest.importorskip("neurohorizon.ingest.ibl_release", reason="needs ONE")
    asked = []

    class Database:
        def rest(self, endpoint, action, *, django):
            asked.append((endpoint, action, django))
            return [
                {
                    "id": i["pid"],
                    "session": i["eid"],
                    "name": i["probe_name"],
                    "session_info": {
                        "number": int(i["session_number"]),
                        "start_time": i["date"] + "T10:00:00.123",
                        "subject": i["subject"],
                        "lab": i["lab"],
                    },
                }
                for i in made_insertions()[:: 1 if len(asked) == 1 else 3]
            ]

    monkeypatch.setattr(ibl_release, "open_one", lambda source: types.SimpleNamespace(alyx=Database()))
    source = read_config(ROOT / "config" / "config.yaml").sources.ibl
    ibl_release.fetch_ibl_release(tmp_path / "ibl.csv", ibl=source)
    assert asked == [
        ("insertions", "list", "datasets__tags__name,2022_Q4_IBL_et_al_BWM"),
        ("insertions", "list", "datasets__tags__name,2023_Q4_IBL_et_al_BWM_2"),
    ]
    read = read_release(tmp_path / "ibl.csv", IBL_COLUMNS)
    assert sorted(read, key=lambda r: r["pid"]) == sorted(made_insertions(), key=lambda r: r["pid"])


def archive_index(folder: Path, insertions: list) -> Path:
    """Write the table of insertions of the IBL's public archive, and the index that its download writes."""
    table = pd.DataFrame(insertions).astype({"session_number": "int16"})
    table.assign(n_good_units=7, n_trials=500).to_parquet(folder / "insertions.parquet", index=False)
    place = {"path": "insertions.parquet", "offset": 0, "size": (folder / "insertions.parquet").stat().st_size}
    listed = {"archive": "bwm_ephys", "version": "1.2.1"}
    members = {"metadata/insertions.parquet": place | {"sha256": ""}}
    (folder / "bwm_ephys.json").write_text(json.dumps(listed | {"members": members}))
    return folder / "bwm_ephys.json"


def cohort_from_archive(folder: Path, insertions: list, made_with: dict) -> Path:
    source = read_config(ROOT / "config" / "config.yaml").sources.ibl.model_copy(update={"folder": str(folder)})
    index = archive_index(folder, insertions)
    fetch_archive_insertions(archive=index, ibl=source, output=folder / "ibl.csv")
    make_cohort(folder / "archive.tsv", ibl_table=folder / "ibl.csv", **made_with)
    return folder / "archive.tsv"


def test_the_insertions_of_the_archive_give_the_same_cohort_as_those_of_the_database(tmp_path):
    insertions = made_insertions()
    write_release(tmp_path / "database.csv", insertions, IBL_COLUMNS)
    write_release(tmp_path / "allen.csv", made_allen(), ALLEN_COLUMNS)
    (tmp_path / "reserved.txt").write_text(insertions[0]["eid"])
    settings = {"reserved": tmp_path / "reserved.txt", "heldout_fraction": 0.25, "seed": 1}
    settings["allen_table"] = tmp_path / "allen.csv"
    make_cohort(tmp_path / "database.tsv", ibl_table=tmp_path / "database.csv", **settings)
    archive = cohort_from_archive(tmp_path, insertions[::-1], settings)
    assert archive.read_bytes() == (tmp_path / "database.tsv").read_bytes()


def test_the_paper_cohort_from_the_archive_has_the_recorded_hash(release_tables, tmp_path):
    config = read_config(ROOT / "config" / "config.yaml")
    settings = {
        "allen_table": release_tables / "allen_sessions.csv",
        "reserved": BENCH,
        "heldout_fraction": config.cohort.heldout_fraction,
        "seed": config.run.seed,
    }
    insertions = list(read_release(release_tables / "ibl_2023_12_bwm_release.csv", IBL_COLUMNS))
    archive = cohort_from_archive(tmp_path, insertions, settings)
    assert cohort_hash(archive) == recorded_hash(ROOT / "config" / "cohorts" / "paper.tsv")


def allen_source(folder, **changes):
    return read_config(ROOT / "config" / "config.yaml").sources.allen.model_copy(
        update={"folder": str(folder), "outage_hours": 1e-9, **changes}
    )


def test_the_allen_release_is_the_one_small_table_of_the_bucket(tmp_path):
    write_release(tmp_path / "bucket" / "sessions.csv", made_allen(), (*ALLEN_COLUMNS[::-1],))
    with serving(tmp_path / "bucket") as bucket:
        source = allen_source(tmp_path / "cache", base_url=f"{bucket.url}/")
        fetch_allen_release(tmp_path / "allen.csv", allen=source)
        assert bucket.requests == [("sessions.csv", 0)]
    assert list(read_release(tmp_path / "allen.csv", ALLEN_COLUMNS)) == made_allen()
    # sessions are downloaded to the same folder, where the table now is
    fetch_allen_release(tmp_path / "again.csv", allen=source)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "allen.csv").read_bytes()
    fetch_allen_release(tmp_path / "local.csv", allen=allen_source(tmp_path / "cache", mode="local"))
    assert (tmp_path / "local.csv").read_bytes() == (tmp_path / "allen.csv").read_bytes()


def test_without_the_allen_release_one_line_says_how_to_go_on(tmp_path):
    with serving() as bucket:
        for source in (
            None,
            allen_source(tmp_path, mode="local"),
            allen_source(tmp_path, base_url="http://127.0.0.1:9"),
            allen_source(tmp_path, base_url=bucket.url),
        ):
            with pytest.raises(SourceUnavailable, match=r"^[^\n]*ALLEN_TABLE=$"):
                fetch_allen_release(tmp_path / "allen.csv", allen=source)


# the real release tables


@pytest.fixture
def paper(release_tables, tmp_path):
    output = tmp_path / "paper.tsv"
    config = read_config(ROOT / "config" / "config.yaml")
    make_cohort(
        output,
        ibl_table=release_tables / "ibl_2023_12_bwm_release.csv",
        allen_table=release_tables / "allen_sessions.csv",
        reserved=BENCH,
        heldout_fraction=config.cohort.heldout_fraction,
        seed=config.run.seed,
    )
    return output


def test_the_paper_cohort_has_the_hash_recorded_in_the_project(paper):
    assert cohort_hash(paper) == recorded_hash(ROOT / "config" / "cohorts" / "paper.tsv")


def test_the_paper_cohort_is_the_whole_release(paper):
    rows = read_cohort(paper)
    ibl = [r for r in rows if r.source == "ibl"]
    assert (len(ibl), len({r.subject for r in ibl}), len({r.lab for r in ibl})) == (459, 139, 12)
    assert sum(len(r.extras["probes"].split(",")) for r in ibl) == 699
    assert sum(r.source == "allen" for r in rows) == 58


def test_the_paper_cohort_reserves_the_29_and_shares_no_animal(paper):
    rows = read_cohort(paper)
    assert {r.session for r in rows if r.role == "reserved"} == read_reserved(BENCH)
    train = {r.subject for r in rows if r.role == "train"}
    assert not train & {r.subject for r in rows if r.role in ("heldout", "reserved")}
    assert folds(rows) == ("main",)


def test_the_paper_cohort_holds_out_animals_of_every_lab(paper):
    ibl = [r for r in read_cohort(paper) if r.source == "ibl"]
    reserved = {r.subject for r in ibl if r.role == "reserved"}
    for lab in {r.lab for r in ibl}:
        animals = {r.subject for r in ibl if r.lab == lab} - reserved
        heldout = {r.subject for r in ibl if r.lab == lab and r.role == "heldout"} - reserved
        assert abs(len(heldout) - 0.15 * len(animals)) <= 0.5


def test_the_order_of_the_real_release_changes_nothing(paper, release_tables, tmp_path):
    for name in ("ibl_2023_12_bwm_release.csv", "allen_sessions.csv"):
        with (release_tables / name).open(newline="") as file:
            header, *lines = csv.reader(file)
        random.Random(1).shuffle(lines)
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *lines])
    config = read_config(ROOT / "config" / "config.yaml")
    again = tmp_path / "again.tsv"
    make_cohort(
        again,
        ibl_table=tmp_path / "ibl_2023_12_bwm_release.csv",
        allen_table=tmp_path / "allen_sessions.csv",
        reserved=BENCH,
        heldout_fraction=config.cohort.heldout_fraction,
        seed=config.run.seed,
    )
    assert cohort_hash(again) == cohort_hash(paper)


# released weights


def test_the_fold_of_released_weights_trains_on_every_session_and_no_table_may_use_its_name():
    rows = [*rotation(), row("d_1", "dog", "train"), row("e_1", "emu", "heldout", "fixed")]
    names = [one.session for one in training_sessions(rows, RELEASED)]
    assert names == [one.session for one in rows if one.role != "heldout"]
    assert not heldout_sessions(rows, RELEASED)
    with pytest.raises(CohortError, match="fold 'released' is the name of the weights"):
        check_cohort([row("a_1", "ant", "train"), row("b_1", "bee", "heldout", RELEASED)])
