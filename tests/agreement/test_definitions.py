"""Every published definition of bits per spike agrees with one written anew from its source, on the same forecasts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from factories.brain_wide_bench import bench_bps, bench_d2
from factories.forecasts import forecast_of, make_session, write_run
from scipy.special import gammaln
from scipy.stats import poisson

from neurohorizon.agreement.definition_tables import (
    definition_table,
    make_tables,
    score_definitions,
)
from neurohorizon.agreement.definitions import (
    DEFINITIONS,
    UnitSums,
    brain_wide_bench,
    brain_wide_bench_d2,
    forecast_information,
    mean_over_units,
    neural_latents_benchmark,
    over_reference,
    over_window_mean,
    single_spike_information,
    unit_sums,
)
from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.cross_session.tables import comparison_table, pool_scores, session_table, summary_table
from neurohorizon.forecasts.forecast_file import write_forecast

WINDOWS, BINS, UNITS = 150, 10, 6
SILENT, ZERO_RATE, SURPRISED = 1, 3, 5


def example(seed: int = 0) -> dict[str, np.ndarray]:
    """Rates on a ramp, forecast wrong by a factor; one unit stays silent, one is also forecast at rate 0."""
    rng = np.random.default_rng(seed)
    true = np.exp(np.linspace(-3.0, 0.7, WINDOWS * BINS * UNITS)).reshape(UNITS, WINDOWS, BINS).transpose(1, 2, 0)
    counts = rng.poisson(true)
    counts[:, :, [SILENT, ZERO_RATE]] = 0
    log_rate = (0.7 * np.log(true) + np.linspace(-0.6, 0.4, UNITS)).astype(np.float32)
    log_rate[:, :, ZERO_RATE] = -np.inf
    mask = np.ones((WINDOWS, BINS), bool)
    mask[3, 6:] = mask[9] = False
    return {
        "counts": counts,
        "log_rate": log_rate,
        "mask": mask,
        "reference_log_rate": np.log(np.linspace(0.05, 1.0, UNITS)),
    }


def surprised(seed: int = 0) -> dict[str, np.ndarray]:
    """As the example, with spikes of a unit in bins where its forecast rate is 0."""
    made = example(seed)
    made["log_rate"][40:45, 2, SURPRISED] = -np.inf
    made["counts"][40:45, 2, SURPRISED] = 1
    return made


def valid_of(made: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Counts and rates of valid bins, [bin, unit]."""
    return made["counts"][made["mask"]].astype(float), np.exp(made["log_rate"][made["mask"]].astype(float))


# the other side: written from the sources, in rates and probabilities, with no sum of ours


def co_bps(rates: np.ndarray, spikes: np.ndarray) -> float:
    """``nlb_tools.evaluation.bits_per_spike``: negative log-likelihoods of rates and of mean rates."""

    def negative_log_likelihood(rates: np.ndarray) -> float:
        floored = np.where(rates == 0, 1e-9, rates)
        return float(np.sum(floored - spikes * np.log(floored) + gammaln(spikes + 1.0)))

    mean = np.broadcast_to(spikes.reshape(-1, spikes.shape[-1]).mean(axis=0), spikes.shape)
    gained = negative_log_likelihood(mean) - negative_log_likelihood(rates)
    return gained / spikes.sum() / np.log(2)


@pytest.mark.parametrize("made", [example(), example(1), surprised()], ids=["plain", "other", "spikes at rate 0"])
def test_co_bps_is_that_of_the_neural_latents_benchmark(made):
    counts, rates = valid_of(made)
    assert neural_latents_benchmark(unit_sums(**made)) == pytest.approx(co_bps(rates, counts), abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bits_per_spike_and_poisson_d2_are_those_of_the_brain_wide_bench(seed):
    made = example(seed)
    made["log_rate"][:, :, ZERO_RATE] = -6.0  # the benchmark takes no rate of 0
    counts, rates = valid_of(made)
    sums = unit_sums(**made)
    assert brain_wide_bench(sums) == pytest.approx(bench_bps(np.log(rates), counts), abs=1e-6)
    assert brain_wide_bench_d2(sums) == pytest.approx(bench_d2(np.log(rates), counts), abs=1e-6)


def test_a_silent_unit_costs_in_one_benchmark_and_not_in_the_other():
    made = example()
    made["log_rate"][:, :, SILENT] += 1.0
    before, after = unit_sums(**example()), unit_sums(**made)
    assert brain_wide_bench(after) == brain_wide_bench(before)
    assert neural_latents_benchmark(after) < neural_latents_benchmark(before) - 0.01


def test_the_mean_over_units_is_that_of_each_unit_alone():
    made = surprised()
    counts, rates = valid_of(made)
    alone = []
    for unit in range(UNITS):
        with np.errstate(divide="ignore", invalid="ignore"):
            alone.append(co_bps(rates[:, [unit]], counts[:, [unit]]) if counts[:, unit].any() else np.nan)
    assert mean_over_units(unit_sums(**made)) == pytest.approx(np.nanmean(alone), abs=1e-6)


def test_the_window_null_is_the_mean_count_of_each_window():
    made = example()
    gained = 0.0
    for window in range(WINDOWS):
        seen = made["counts"][window][made["mask"][window]]
        if not len(seen):
            continue
        rates = np.exp(made["log_rate"][window][made["mask"][window]].astype(float))
        gained += (poisson.logpmf(seen, rates) - poisson.logpmf(seen, seen.mean(axis=0))).sum()
    expected = gained / made["counts"][made["mask"]].sum() / np.log(2)
    assert over_window_mean(unit_sums(**made)) == pytest.approx(expected, abs=1e-6)


def test_single_spike_information_is_co_bps_of_rates_scaled_to_the_right_mean():
    made = example()
    counts, rates = valid_of(made)
    with np.errstate(invalid="ignore"):
        scaled = np.where(counts.sum(axis=0) > 0, rates * counts.sum(axis=0) / rates.sum(axis=0), 0.0)
    assert single_spike_information(unit_sums(**made)) == pytest.approx(co_bps(scaled, counts), abs=1e-6)
    louder = example()
    louder["log_rate"] += 1.3
    assert single_spike_information(unit_sums(**louder)) == pytest.approx(co_bps(scaled, counts), abs=1e-6)
    assert over_reference(unit_sums(**louder)) < over_reference(unit_sums(**made))


def test_information_of_the_forecast_is_the_formula_of_a_rate_map():
    made = example()
    _, rates = valid_of(made)
    each, weight = [], []
    for rate in rates.T[rates.sum(axis=0) > 0]:
        share = rate / rate.mean()
        each.append(np.mean(share * np.log2(share)))
        weight.append(rate.sum())
    assert forecast_information(unit_sums(**made)) == pytest.approx(np.average(each, weights=weight), abs=1e-6)
    other = example()
    other["counts"] = other["counts"][::-1]
    assert forecast_information(unit_sums(**other)) == forecast_information(unit_sums(**made)), "no spike is looked at"


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.name)
def test_a_masked_bin_and_the_order_of_units_change_no_score(definition):
    made = example()
    before = definition.score(unit_sums(**made))
    made["counts"][~made["mask"]] = 7
    made["log_rate"][~made["mask"]] = np.nan
    order = np.array([4, 2, 0, 5, 3, 1])
    made = {name: value if name == "mask" else value[..., order] for name, value in made.items()}
    assert definition.score(unit_sums(**made)) == pytest.approx(before, rel=1e-9)


def test_sums_of_chunks_are_the_sums_of_all_windows(monkeypatch):
    whole = unit_sums(**example())
    monkeypatch.setattr("neurohorizon.agreement.definitions._CHUNK_WINDOWS", 7)
    chunked = unit_sums(**example())
    for name in UnitSums.__dataclass_fields__:
        np.testing.assert_allclose(getattr(chunked, name), getattr(whole, name), rtol=1e-9)


def test_the_first_definition_is_that_of_all_tables_and_each_names_its_source():
    assert DEFINITIONS[0].name == "reference"
    assert DEFINITIONS[0].score is over_reference
    assert len({definition.name for definition in DEFINITIONS}) == len(DEFINITIONS) >= 5
    assert all(definition.null and definition.units and definition.source for definition in DEFINITIONS)


# the table


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Score files of the tables and of the definitions, of the same made forecasts; one session is left out."""
    folder = tmp_path_factory.mktemp("run")
    scores = write_run(
        folder, sessions=4, methods=("reference_mean", "neurohorizon", "oracle"), seeds=(0, 1), left_out=1
    )
    files = []
    for session in sorted((folder / "forecasts").iterdir()):
        files.append(folder / "definitions" / f"{session.name}.parquet")
        score_definitions(forecasts=sorted(session.glob("*.h5")), output=files[-1], minimum_rate_hz=0.0)
    return scores, files


RESAMPLING = Resampling(draws=200, interval=0.95, seed=0)


def test_the_table_agrees_with_the_tables_of_scores(run):
    scores, files = run
    sessions = session_table(pool_scores(scores))
    summary = summary_table(sessions, comparison_table(sessions, RESAMPLING), RESAMPLING)
    table = definition_table(files, RESAMPLING)
    for definition, null in (("reference", "reference"), ("co-bps", "evaluation")):
        ours = table[table["definition"] == definition].set_index("method")
        theirs = summary[summary["null"] == null].set_index("method")
        for column in ("bits_per_spike", "lower", "upper", "sessions", "animals", "units"):
            found = ours.loc[["reference_mean", "neurohorizon"], column].astype(float)
            expected = theirs.loc[["reference_mean", "neurohorizon"], column].astype(float)
            np.testing.assert_allclose(found, expected, atol=1e-7, err_msg=f"{definition} {column}")


def test_the_table_has_every_method_under_every_definition_with_counts(run, tmp_path):
    _, files = run
    make_tables(scores=files, folder=tmp_path, resampling=RESAMPLING)
    table = pd.read_csv(tmp_path / "definitions.tsv", sep="\t")
    assert len(table) == 3 * len(DEFINITIONS)
    assert list(table["definition"][: len(DEFINITIONS)]) == [definition.name for definition in DEFINITIONS]
    assert (table["sessions"] == 4).all()
    assert (table["animals"] == 2).all()
    assert table.loc[table["method"] == "neurohorizon", "seeds"].eq(2).all()
    assert table.loc[table["class"] == "ceiling", "rank"].isna().all()
    assert table[["null", "units_are", "source"]].notna().all(axis=None)
    first = table[table["definition"] == "reference"].set_index("method")["rank"]
    assert (first["neurohorizon"], first["reference_mean"]) == (1, 2)


def test_the_same_forecast_scores_differ_by_definition_as_their_nulls_do(run):
    _, files = run
    table = definition_table(files, RESAMPLING)
    ours = table[table["method"] == "neurohorizon"].set_index("definition")["bits_per_spike"]
    # a null that knows more leaves less to gain
    assert ours["window mean"] < ours["co-bps"] < ours["single-spike information"] + 1e-9
    assert ours["window mean"] < 0 < ours["reference"]


def test_slow_units_count_only_where_a_definition_takes_every_unit(tmp_path):
    made = make_session(0)
    paths = []
    for method in ("reference_mean", "neurohorizon"):
        paths.append(tmp_path / f"{method}.h5")
        write_forecast(paths[-1], forecast_of(made, method))
    score_definitions(forecasts=paths, output=tmp_path / "scores.parquet", minimum_rate_hz=1.0)
    table = definition_table([tmp_path / "scores.parquet"], RESAMPLING).set_index(["method", "definition"])
    units = table.loc["neurohorizon", "units"]
    assert units["reference"] < units["reference, every unit"] == made.counts.shape[1]


def test_the_part_after_the_origin_sees_no_later_bin(tmp_path):
    made = make_session(0)
    before = forecast_of(made, "neurohorizon")
    later = before.log_rate.copy()
    later[:, 5:] += 2.0
    found = []
    for number, forecast in enumerate((before, replace(before, log_rate=later))):
        write_forecast(tmp_path / f"{number}.h5", forecast)
        score_definitions(
            forecasts=[tmp_path / f"{number}.h5"], output=tmp_path / f"{number}.parquet", minimum_rate_hz=0.0
        )
        table = definition_table([tmp_path / f"{number}.parquet"], RESAMPLING)
        found.append(table.set_index("definition")["bits_per_spike"])
    assert found[0]["Brain-Wide Bench, 100 ms"] == found[1]["Brain-Wide Bench, 100 ms"]
    assert found[0]["Brain-Wide Bench"] != found[1]["Brain-Wide Bench"]
