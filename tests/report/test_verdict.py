"""The verdict on a run follows from its numbers, good or bad, with several animals or one."""

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from neurohorizon.analysis.tables import Resampling, smallest_adjusted_p, write_table  # noqa: E402
from neurohorizon.experiments.cross_session.tables import comparison_table  # noqa: E402
from neurohorizon.methods import METHODS  # noqa: E402
from neurohorizon.report.verdict import judge_run  # noqa: E402

RESAMPLING = Resampling(draws=500, interval=0.95, seed=0)


def judged(folder, scores, *, animals=None, busiest=(0.2, None), horizon=(0.3, 0.2, 0.1)):
    """Judge a run of the given scores: method -> a score for each session."""
    number = len(next(iter(scores.values())))
    animals = animals or [f"animal-{place}" for place in range(number)]
    rows = [
        {"fold": "main", "session": f"s{place}", "subject": animal, "lab": "lab", "source": "ibl", "method": method}
        | {"class": METHODS[method].kind, "null": "reference", "bits_per_spike": values[place]}
        for method, values in scores.items()
        for place, animal in enumerate(animals)
    ]
    sessions = pd.DataFrame(rows)
    named = dict.fromkeys(("units", "spiking_units", "better_units"), 5) | {"unscored_units": 1, "source": "all"}
    summary = pd.DataFrame(
        [
            RESAMPLING.mean_row(part)
            | {"method": method, "class": METHODS[method].kind, "null": "reference", "pooled": 0.1, "unit_mean": 0.2}
            | named
            for method, part in sessions.groupby("method", sort=False)
        ]
    )
    share, without = busiest
    influence = sessions.assign(unit_id="u1", spike_share=share)
    influence["bits_per_spike_without"] = influence["bits_per_spike"] if without is None else without
    curve = [
        {"method": method, "null": "reference", "horizon_ms": 20.0 * (place + 1), "bits_per_spike": value}
        | {"lower": value - 0.05, "upper": value + 0.05}
        for method in scores
        for place, value in enumerate(horizon)
    ]
    region = {"method": "neurohorizon", "null": "reference", "region": "CA1", "units": 20, "bits_per_spike": 0.1}
    tables = {
        "summary": summary,
        "sessions": sessions,
        "comparisons": comparison_table(sessions, RESAMPLING),
        "unit_influence": influence,
        "horizon": pd.DataFrame(curve),
        "regions": pd.DataFrame([region, region | {"region": "LP", "bits_per_spike": 0.3}]),
        "left_out": pd.DataFrame(columns=["session", "reason"]),
    }
    for name, table in tables.items():
        write_table(table, folder, name)
    return judge_run(folder, minimum_rate_hz=0.1, simulated=False)


GOOD = {"reference_mean": [0.0] * 4, "own_history": [0.1, 0.2, 0.15, 0.1], "neurohorizon": [0.2, 0.3, 0.25, 0.15]}


def test_a_forecast_above_the_mean_rates_in_every_animal_works_and_names_its_rival(tmp_path):
    found = judged(tmp_path, GOOD)
    assert found.mark == "works" and found.rival == "own_history"
    assert found.score == pytest.approx(0.225) and found.lower > 0 and found.animals == 4
    assert "better than them in 4 of 4, and scores more than the best rival" in found.sentence
    assert "difference is +0.087" in found.answers["Against what?"]
    assert "Best region: LP (0.300); lowest: CA1 (0.100)" in found.answers["On which units?"]
    assert found.answers["How far ahead?"].startswith("The full horizon of 60 ms")


def test_the_adaptive_mixture_is_what_the_verdict_is_about_and_the_network_is_no_rival(tmp_path):
    found = judged(tmp_path, GOOD | {"neurohorizon_adaptive": [0.3, 0.4, 0.3, 0.2]})
    assert (found.method, found.rival) == ("neurohorizon_adaptive", "own_history")


def test_an_interval_that_includes_zero_fails(tmp_path):
    found = judged(tmp_path, GOOD | {"neurohorizon": [-0.3, 0.4, -0.1, 0.1]})
    assert found.mark == "fails" and "not better than the mean rate" in found.sentence


def test_a_simple_method_that_is_better_is_named_with_the_advice_to_use_it(tmp_path):
    found = judged(tmp_path, GOOD | {"shrinkage": [0.4, 0.5, 0.4, 0.3]})
    assert found.mark == "barely" and "tuned shrinkage, is better" in found.sentence
    assert found.advice[0].startswith("Use tuned shrinkage")


def test_a_small_gain_barely_works(tmp_path):
    assert judged(tmp_path, {"neurohorizon": [0.004, 0.005, 0.006]}).mark == "barely"


def test_units_that_carry_the_score_are_named_and_excluding_them_is_advised(tmp_path):
    found = judged(tmp_path, GOOD, busiest=(0.9, -0.1))
    assert found.mark == "barely" and "single units carry the score" in found.sentence
    assert any("exclude it by cohort.exclude_units" in one for one in found.advice)
    assert "in 4 of 4 recordings: the largest share is 90%" in found.answers["On which units?"]
    assert judged(tmp_path, GOOD, busiest=(0.9, 0.3)).mark == "works"


def test_one_animal_has_no_interval_and_works_only_in_each_of_its_recordings(tmp_path):
    found = judged(tmp_path, GOOD, animals=["one"] * 4)
    assert found.mark == "works" and found.lower is None
    assert "interval" not in found.answers["Against what?"]
    assert any("nothing follows for others" in one for one in found.advice)
    mixed = judged(tmp_path, GOOD | {"neurohorizon": [0.3, 0.3, -0.1, 0.3]}, animals=["one"] * 4)
    assert mixed.mark == "barely" and "3 of 4 recordings of one animal" in mixed.sentence


def test_bins_that_are_not_better_bound_the_advised_horizon(tmp_path):
    found = judged(tmp_path, GOOD, horizon=(0.3, 0.2, 0.02))
    assert found.answers["How far ahead?"].startswith("Up to 40 ms")
    assert "Forecast at most 40 ms ahead." in found.advice


def test_a_run_without_the_network_has_no_verdict(tmp_path):
    assert judged(tmp_path, {"own_history": [0.1, 0.2]}) is None


def test_p_is_given_only_if_enough_animals_allow_one(tmp_path):
    few = judged(tmp_path, GOOD)
    assert "p =" not in few.answers["Against what?"]
    many = {name: np.linspace(values[0], values[0] + 0.1, 12) for name, values in GOOD.items()}
    assert "Holm p = " in judged(tmp_path, many).answers["Against what?"]
    comparisons = pd.read_parquet(tmp_path / "comparisons.parquet")
    assert smallest_adjusted_p(comparisons) == 2 * 2.0**-11
