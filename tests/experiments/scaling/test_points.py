"""Which sessions a point of the scaling experiment trains on."""

import json
import random
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from factories import ROOT

from neurohorizon.cohort import Row, heldout_sessions, read_cohort, training_sessions
from neurohorizon.config import read_config
from neurohorizon.experiments.scaling.points import (
    Point,
    SubsetError,
    matched_subset,
    nested_subset,
    parse_point,
    points,
    random_distance,
    region_distance,
    same_lab_subset,
)
from neurohorizon.experiments.scaling.region_match import choose_matched
from neurohorizon.session import Session, left_out_session, write_session
from neurohorizon.timeline import Intervals, Splits

LABS = {"north": 24, "south": 12, "west": 6, "east": 3}  # sessions, two of each animal


def cohort_rows():
    return [
        Row(
            session=f"{lab}-{number:02d}",
            source="ibl",
            subject=f"{lab}-animal-{number // 2}",
            lab=lab,
            date="",
            role="train",
            fold="",
            why="",
        )
        for lab, sessions in LABS.items()
        for number in range(sessions)
    ]


def names(rows):
    return [row.session for row in rows]


@pytest.mark.parametrize("choose", [nested_subset, same_lab_subset])
def test_subsets_of_a_draw_are_nested_and_have_the_size_that_was_asked_for(choose):
    rows = cohort_rows()
    before = set()
    for size in range(1, 4 if choose is same_lab_subset else len(rows) + 1):  # one lab has as many as three
        chosen = names(choose(rows, size=size, draw=1, seed=0))
        assert len(set(chosen)) == size
        assert before <= set(chosen)
        before = set(chosen)


def test_every_lab_has_its_share_of_every_subset():
    rows = cohort_rows()
    for draw in range(5):
        for size in range(1, len(rows) + 1):
            found = Counter(row.lab for row in nested_subset(rows, size=size, draw=draw, seed=0))
            for lab, sessions in LABS.items():
                assert abs(found[lab] - size * sessions / len(rows)) < 2


def test_no_animal_comes_twice_in_a_lab_before_all_came_once():
    rows = cohort_rows()
    for size in range(1, len(rows) + 1):
        chosen = nested_subset(rows, size=size, draw=0, seed=3)
        for lab in LABS:
            of_animal = Counter(row.subject for row in chosen if row.lab == lab)
            everyone = {row.subject for row in rows if row.lab == lab}
            assert max(of_animal.values(), default=0) < 2 or set(of_animal) == everyone


def test_draws_and_seeds_differ_and_the_order_of_the_table_changes_nothing():
    rows = cohort_rows()
    found = [tuple(names(nested_subset(rows, size=9, draw=draw, seed=seed))) for draw in (0, 1, 2) for seed in (0, 1)]
    assert len(set(found)) == 6
    shuffled = random.Random(0).sample(rows, len(rows))
    for choose in (nested_subset, same_lab_subset):
        assert set(names(choose(shuffled, size=9, draw=0, seed=0))) == set(names(choose(rows, size=9, draw=0, seed=0)))
    chosen = nested_subset(shuffled, size=9, draw=0, seed=0)
    assert list(chosen) == [row for row in shuffled if row in chosen]


def test_no_lab_and_no_session_of_it_is_drawn_more_often_than_others():
    rows, draws, size = cohort_rows(), 600, 9
    found = Counter(name for draw in range(draws) for name in names(nested_subset(rows, size=size, draw=draw, seed=0)))
    for lab, sessions in LABS.items():
        counts = [found[row.session] for row in rows if row.lab == lab]
        expected = draws * size / len(rows)
        assert sum(counts) / sessions == pytest.approx(expected, rel=0.1)
        if lab != "east":  # whose animals have not as many sessions
            assert all(abs(count - sum(counts) / sessions) < 5 * expected**0.5 for count in counts)


def test_one_lab_where_one_is_large_enough_and_draws_take_them_in_turn():
    rows = cohort_rows()
    for draw in range(4):
        assert len({row.lab for row in same_lab_subset(rows, size=12, draw=draw, seed=0)}) == 1
    taken = [same_lab_subset(rows, size=12, draw=draw, seed=0)[0].lab for draw in range(4)]
    assert set(taken) == {"north", "south"}
    assert taken[0] != taken[1]
    assert taken[:2] == taken[2:]


def test_as_few_labs_as_it_takes_where_none_is_large_enough():
    rows = cohort_rows()
    for draw in range(4):
        chosen = Counter(row.lab for row in same_lab_subset(rows, size=30, draw=draw, seed=0))
        assert sum(chosen.values()) == 30
        assert len(chosen) <= 3
        assert {"north"} <= set(chosen)


def test_more_sessions_than_there_are_is_an_error_that_names_the_keys():
    for choose in (nested_subset, same_lab_subset):
        with pytest.raises(SubsetError, match=r"cannot choose 46 of 45.*scaling\.sessions"):
            choose(cohort_rows(), size=46, draw=0, seed=0)
        with pytest.raises(SubsetError, match="cannot choose 0"):
            choose(cohort_rows(), size=0, draw=0, seed=0)


REGIONS = {
    "visual-1": {"VISp": 40, "CA1": 2},
    "visual-2": {"VISp": 35, "LP": 20},
    "hippocampal-1": {"CA1": 60},
    "hippocampal-2": {"CA1": 30, "DG": 30},
    "motor-1": {"MOs": 50},
    "motor-2": {"MOs": 20, "CP": 40},
    "mixed-1": {"VISp": 20, "CA1": 20},
    "mixed-2": {"LP": 30, "DG": 5},
}


def test_the_distance_is_half_the_sum_of_differences_of_shares():
    assert region_distance([{"a": 3, "b": 1}], {"a": 1, "b": 1}) == pytest.approx(0.25)
    assert region_distance([{"a": 3}, {"b": 3}], {"a": 7, "b": 7}) == 0
    assert region_distance([{"a": 3}], {"b": 2}) == 1
    assert region_distance([{}], {"b": 2}) == 1


def test_matched_sessions_lie_where_the_heldout_units_do():
    heldout = {"VISp": 50, "CA1": 50}
    for draw in range(4):
        chosen = matched_subset(REGIONS, heldout, size=2, draw=draw, seed=0)
        assert not {"motor-1", "motor-2"} & set(chosen)
    distances = {pair: region_distance([REGIONS[one] for one in pair], heldout) for pair in combinations(REGIONS, 2)}
    found = [matched_subset(REGIONS, heldout, size=2, draw=draw, seed=0) for draw in range(8)]
    assert len(set(found)) > 1
    # a draw looks at half of the sessions, so not all find the best pair; together they come close
    of_found = [region_distance([REGIONS[one] for one in pair], heldout) for pair in found]
    assert sum(of_found) / len(of_found) < 0.6 * sum(distances.values()) / len(distances)


def test_matching_all_sessions_takes_all_of_them_and_order_changes_nothing():
    assert matched_subset(REGIONS, {"MOs": 1}, size=8, draw=0, seed=0) == tuple(sorted(REGIONS))
    backwards = dict(reversed(REGIONS.items()))
    for draw in range(3):
        assert matched_subset(REGIONS, {"MOs": 9}, size=3, draw=draw, seed=1) == matched_subset(
            backwards, {"MOs": 9}, size=3, draw=draw, seed=1
        )
    with pytest.raises(SubsetError, match="cannot choose 9 of 8"):
        matched_subset(REGIONS, {"MOs": 1}, size=9, draw=0, seed=0)
    with pytest.raises(SubsetError, match="no units"):
        matched_subset(REGIONS, {}, size=1, draw=0, seed=0)


def test_the_points_of_the_paper_are_named_and_read_back():
    found = points(read_config(ROOT / "config" / "config.yaml").scaling)
    assert "sessions-50_draw-2_seed-0" in found
    assert [one for one in found if "max" in one] == ["sessions-max_draw-0_seed-0"]
    assert len(set(found)) == len(found)
    assert [str(parse_point(one)) for one in found] == list(found)
    assert parse_point("same_lab-50_draw-1_seed-2") == Point(kind="same_lab", size=50, draw=1, seed=2)
    assert parse_point("size-width-16_seed-3") == Point(kind="size", size=None, draw=0, seed=3, name="width-16")
    assert parse_point("sessions-4_draw-1_seed-0").method == "sessions-4_draw-1"
    assert parse_point("sessions-max_draw-0_seed-1").method == "sessions-max_draw-0"


@pytest.mark.parametrize("name", ["sessions-50", "same_lab-max_draw-0_seed-0", "lab-5_draw-0_seed-0", "size-_seed-0"])
def test_what_is_no_point_is_refused(name):
    with pytest.raises(SubsetError, match="is no point"):
        parse_point(name)


def test_every_subset_of_the_demo_can_be_drawn_and_leaves_out_what_is_held_out():
    rows = [row for row in read_cohort(ROOT / "config" / "cohorts" / "demo.tsv") if row.source == "ibl"]
    scaling = read_config(ROOT / "config" / "demo.yaml").scaling
    training = training_sessions(rows, "main")
    kept_apart = {row.subject for row in heldout_sessions(rows, "main")}
    for point in map(parse_point, points(scaling)):
        choose = {"sessions": nested_subset, "same_lab": same_lab_subset}.get(point.kind)
        if choose and point.size:
            chosen = choose(training, size=point.size, draw=point.draw, seed=0)
            assert not kept_apart & {row.subject for row in chosen}
            assert len(chosen) == point.size


def write_regions(folder, name, regions):
    """A session file with units in some regions; None: one that was left out."""
    path = folder / f"{name}.h5"
    identity = {"session_id": name, "source": "ibl", "subject": "a", "lab": "l", "date": "2024-01-01"}
    if regions is None:
        write_session(path, left_out_session(**identity, reason="no spikes"))
        return path
    region = np.repeat(list(regions), list(regions.values()))
    whole = Intervals(np.array([0]), np.array([10_000_000]))
    write_session(
        path,
        Session(
            **identity,
            spike_times_us=np.arange(5, dtype=np.int64) * 1_000_000,
            spike_unit=np.zeros(5, dtype=np.int64),
            units={"id": np.array([f"u{unit}" for unit in range(len(region))]), "region": region},
            domain=whole,
            splits=Splits(reference=whole, test=whole, train=whole, validation=whole),
        ),
    )
    return path


def test_the_file_of_matched_sessions_is_chosen_by_the_regions_of_session_files(tmp_path):
    training = [write_regions(tmp_path, name, regions) for name, regions in REGIONS.items()]
    training.append(write_regions(tmp_path, "lost", None))
    heldout = [write_regions(tmp_path, "first", {"MOs": 30}), write_regions(tmp_path, "second", {"CP": 10})]
    heldout.append(write_regions(tmp_path, "gone", None))
    choose_matched(training=training, heldout=heldout, size=3, draw=1, seed=0, output=tmp_path / "chosen.json")
    found = json.loads((tmp_path / "chosen.json").read_text())
    assert tuple(found["sessions"]) == matched_subset(REGIONS, {"MOs": 30, "CP": 10}, size=3, draw=1, seed=0)
    chosen = [REGIONS[session] for session in found["sessions"]]
    assert found["distance"] == region_distance(chosen, {"MOs": 3, "CP": 1})
    assert found["distance_of_random"] == random_distance(REGIONS, {"MOs": 3, "CP": 1}, size=3, seed=0)


def test_the_distance_of_random_choices_is_their_mean():
    heldout = {"MOs": 3, "CP": 1}
    triples = [region_distance([REGIONS[one] for one in triple], heldout) for triple in combinations(REGIONS, 3)]
    assert random_distance(REGIONS, heldout, size=3, seed=0) == pytest.approx(sum(triples) / len(triples), rel=0.1)
    everyone = region_distance(list(REGIONS.values()), heldout)
    assert random_distance(REGIONS, heldout, size=len(REGIONS), seed=0) == pytest.approx(everyone)
