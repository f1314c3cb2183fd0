"""Tables and figures of calibration, from made sums whose truth is known."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neurohorizon.analysis.style import render_png, save_figure
from neurohorizon.analysis.tables import Resampling, TableError, horizon_parts
from neurohorizon.experiments.horizons.calibration import (
    PIT_BINS,
    TARGETS,
    VECTORS,
    NegativeBinomial,
    Poisson,
    measure_law,
    measure_paths,
    sum_measures,
)
from neurohorizon.experiments.horizons.calibration_figures import draw_calibration, draw_paths
from neurohorizon.experiments.horizons.calibration_scores import SCHEMA
from neurohorizon.experiments.horizons.calibration_tables import (
    DECLARED,
    NOMINAL,
    make_tables,
    read_calibration,
    session_calibration,
)
from neurohorizon.experiments.horizons.example_paths import (
    EXAMPLE_LEVELS,
    PathsExample,
    read_paths_example,
    write_paths_example,
)

BINS, BIN_US, WINDOWS, UNITS, PATHS = 10, 20_000, 60, 6, 16
SHAPE = 1.0
RESAMPLING = Resampling(draws=200, interval=0.95, seed=0)
HORIZONS_MS = (100, 200)
METHODS = {  # method: (law of all that is made, whether it is judged by its law too)
    "reference_mean": (lambda mean: Poisson(np.full_like(mean, 1.0)), True),
    "gamma_poisson": (lambda mean: NegativeBinomial(mean, np.full_like(mean, SHAPE)), True),
    "neurohorizon": (Poisson, True),
    "neurohorizon_autoregressive": (lambda mean: NegativeBinomial(mean, np.full_like(mean, SHAPE)), False),
    "neurohorizon_autoregressive_exchanged": (lambda mean: NegativeBinomial(mean, np.full_like(mean, SHAPE)), False),
}
ENERGY = dict(zip(METHODS, (4.0, 3.0, 2.0, 1.5, 1.6), strict=True))  # known energy scores of a window


def write_sums(path, session, *, seed=0, left_out=None):
    """Sums of counts that are negative binomial around a mean that all but the reference mean know."""
    rng = np.random.default_rng([session, 0])
    rows = []
    for target in TARGETS:
        parts = BINS if target in ("unit", "population") else 1
        mean = rng.gamma(4.0, 0.25, (WINDOWS, parts, UNITS if target.startswith("unit") else 1))
        counts = NegativeBinomial(mean, np.full_like(mean, SHAPE)).draw(1, rng)[..., 0]
        mask = np.ones((WINDOWS, parts), bool)
        for method, (law_of, has_law) in METHODS.items():
            draws = np.random.default_rng([session, seed])
            law = law_of(mean)
            found = {PATHS: measure_paths(law.draw(PATHS, draws), counts, draws)}
            found |= {0: measure_law(law, counts, draws)} if has_law else {}
            for paths, judged in found.items():
                sums = sum_measures(judged, counts, mask)
                for part in range(parts):
                    row = dict.fromkeys(SCHEMA.names) | {
                        "fold": "f",
                        "session": f"s{session}",
                        "subject": f"a{session // 2}",
                        "lab": "l",
                        "source": "ibl",
                        "method": method,
                        "class": "control" if method.endswith("_exchanged") else "zero_shot",
                        "seed": seed if method.startswith("neuro") else None,
                        "target": target,
                        "first_bin": part * BINS // parts,
                        "last_bin": (part + 1) * BINS // parts,
                        "bin_us": BIN_US,
                        "paths": paths,
                        "units": UNITS,
                        "unscored_units": 0,
                        "windows": WINDOWS,
                        "cases": int(sums.cases[part]),
                        "spikes": int(sums.spikes[part]),
                        "crps": float(sums.crps[part]),
                        "model_nats": float(session + seed) if target == "unit" else float("nan"),
                        "reference_nats": 0.0 if target == "unit" else float("nan"),
                    }
                    for index, interval in enumerate((50, 90)):
                        row[f"covered_{interval}"] = int(sums.covered[part, index])
                        row[f"width_{interval}"] = float(sums.width[part, index])
                    row |= {f"pit_{index:02d}": int(cases) for index, cases in enumerate(sums.pit[part])}
                    if target == "population_total" and paths:
                        row |= {f"energy_{name}": WINDOWS * (ENERGY[method] + session + seed) for name in VECTORS}
                    rows.append(row)
    table = SCHEMA.empty_table() if left_out else pa.Table.from_pylist(rows, schema=SCHEMA)
    names = {"fold": "f", "session": f"s{session}", "subject": "a", "lab": "l", "source": "ibl"}
    table = table.replace_schema_metadata(names | ({"left_out": left_out} if left_out else {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def example():
    blocks, methods = 5, ["reference_mean", "gamma_poisson", "neurohorizon", "neurohorizon_autoregressive"]
    quantiles = np.arange(4 * 5 * blocks * 2, dtype=float).reshape(4, len(EXAMPLE_LEVELS), blocks, 2)
    return PathsExample(
        session="s0",
        subject="a0",
        block_ms=40.0,
        origin_s=12.5,
        methods=np.array(methods),
        units=UNITS,
        reference=3.0,
        context=np.arange(7.0),
        observed=np.arange(2.0 * blocks).reshape(blocks, 2),
        quantiles=quantiles,
        paths=np.arange(4 * 3 * blocks * 2, dtype=float).reshape(4, 3, blocks, 2),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    for session in range(4):
        for seed in (0, 1):
            write_sums(folder / f"s{session}" / f"seed-{seed}.parquet", session, seed=seed)
            write_paths_example(folder / f"s{session}" / f"seed-{seed}.h5", example() if session else None)
    write_sums(folder / "s9" / "seed-0.parquet", 9, left_out="no spikes")
    write_paths_example(folder / "s9" / "seed-0.h5", None)
    make_tables(
        sums=sorted(folder.glob("s*/*.parquet")),
        examples=sorted(folder.glob("s*/*.h5")),
        horizons_ms=HORIZONS_MS,
        folder=folder / "tables",
        resampling=RESAMPLING,
    )
    return folder


def table(folder, name):
    return pd.read_parquet(folder / "tables" / f"{name}.parquet")


def whole(folder):
    found = table(folder, "calibration")
    found = found[(found["first_ms"] == 0) & (found["last_ms"] == BINS * BIN_US / 1000)]
    return found.set_index(["target", "method"])


def test_the_law_that_made_the_counts_is_calibrated_and_a_narrower_one_is_not(folder):
    found = whole(folder)
    for target in TARGETS:
        for method in ("gamma_poisson", "neurohorizon_autoregressive"):
            assert found.loc[(target, method), "coverage_90"] == pytest.approx(0.9, abs=0.05)
        assert found.loc[(target, "neurohorizon"), "coverage_90"] < 0.87
        assert (found.loc[target, "null"] == "reference").all()
        assert found.loc[(target, "reference_mean"), "crps_skill"] == 0
        assert found.loc[(target, "gamma_poisson"), "crps_skill"] > 0.01


def test_methods_are_compared_by_as_many_paths_and_the_crps_is_that_of_the_law_where_there_is_one(folder):
    found = whole(folder)
    assert (found["paths"] == PATHS).all()
    by_law = ~found.index.get_level_values("method").str.startswith("neurohorizon_autoregressive")
    assert (found.loc[by_law, "crps_from"] == "law").all() and (found.loc[~by_law, "crps_from"] == "paths").all()
    assert found.loc[by_law, "law_coverage_50"].notna().all() and found.loc[~by_law, "law_coverage_50"].isna().all()
    sums = pd.read_parquet(folder / "s2" / "seed-0.parquet")
    rows = sums[(sums["method"] == "neurohorizon") & (sums["target"] == "population") & (sums["paths"] == 0)]
    sessions = table(folder, "sessions").set_index(["session", "target", "method", "first_ms", "last_ms"])
    row = sessions.loc[("s2", "population", "neurohorizon", 0.0, 200.0)]
    assert row["crps"] == pytest.approx(rows["crps"].sum() / rows["cases"].sum())


def test_sums_are_pooled_before_ratios_and_seeds_averaged(folder):
    row = table(folder, "sessions").set_index(["session", "target", "method", "first_ms", "last_ms"])
    row = row.loc[("s3", "unit", "neurohorizon", 0.0, 100.0)]
    sums = pd.concat([pd.read_parquet(folder / "s3" / f"seed-{seed}.parquet") for seed in (0, 1)])
    sums = sums[(sums["method"] == "neurohorizon") & (sums["target"] == "unit") & (sums["last_bin"] <= 5)]
    paths = sums[sums["paths"] == PATHS]
    middle = paths[[f"pit_{index:02d}" for index in range(5, 15)]].to_numpy().sum()
    assert row["coverage_50"] == pytest.approx(middle / paths["cases"].sum())
    assert row["plain_width_90"] == pytest.approx(paths["width_90"].sum() / paths["cases"].sum())
    assert row["seeds"] == 2
    # 3 nats of seed 0, 4 of seed 1 in each of five bins
    assert row["bits_per_spike"] == pytest.approx(3.5 * 5 / (paths["spikes"].sum() / 2) / np.log(2))


def test_coverage_and_pit_tables_hold_shares(folder):
    pit = table(folder, "pit")
    assert pit.groupby(["target", "method"])["share"].sum().to_numpy() == pytest.approx(1)
    assert len(pit) == len(TARGETS) * len(METHODS) * PIT_BINS
    coverage = table(folder, "coverage").set_index(["target", "method", "nominal"])["coverage"]
    found = whole(folder)
    for target in TARGETS:
        for method in METHODS:
            of_method = coverage.xs((target, method), level=("target", "method"))
            assert list(of_method.index) == list(NOMINAL) and of_method.is_monotonic_increasing
            assert of_method[0.5] == pytest.approx(found.loc[(target, method), "coverage_50"])


def test_intervals_are_of_animals_and_named_by_their_sessions(folder):
    found = whole(folder)
    assert (found["sessions"] == 4).all() and (found["animals"] == 2).all()
    rows = found.drop("reference_mean", level="method")
    assert (rows["crps_skill_lower"] < rows["crps_skill"]).all()
    assert (rows["crps_skill"] < rows["crps_skill_upper"]).all()
    assert found["bits_per_spike"].notna().groupby("target").all().to_dict() == {
        name: name == "unit" for name in TARGETS
    }
    horizon = table(folder, "horizon")
    assert set(horizon["target"]) == {"unit", "population"} and horizon["horizon_ms"].max() == 200
    assert {"lower", "upper"} <= set(horizon)


def test_declared_comparisons_are_paired_differences_with_one_adjustment(folder):
    found = table(folder, "comparisons")
    expected = [one for one in DECLARED if one[0] in METHODS]
    assert list(zip(found["method"], found["against"], found["measure"], found["target"], strict=True)) == expected
    sessions = table(folder, "sessions")
    sessions = sessions[(sessions["first_ms"] == 0) & (sessions["last_ms"] == 200)]
    wide = sessions[sessions["target"] == "population"].pivot(index="session", columns="method", values="crps_skill")
    row = found[(found["against"] == "neurohorizon") & (found["target"] == "population")].iloc[0]
    difference = wide["neurohorizon_autoregressive"] - wide["neurohorizon"]
    assert row["difference"] == pytest.approx(difference.mean())
    assert row["sessions_better"] == (difference > 0).sum()
    assert (found["p_holm"] >= found["p"]).all()


def test_joint_scores_are_means_over_sessions_and_dependence_the_share_of_the_control(folder):
    found, calibration = table(folder, "joint").set_index("method"), whole(folder)
    means = {name: ENERGY[name] + 0.5 + np.arange(4) for name in METHODS}  # seeds are averaged within a session
    for name in METHODS:
        assert found.loc[name, "energy_unit_total"] == pytest.approx(means[name].mean())
        skill = (1 - means[name] / means["reference_mean"]).mean()
        assert found.loc[name, "energy_skill_unit"] == pytest.approx(skill)
        for target in TARGETS:
            covered = calibration.loc[(target, name), "coverage_90"]
            assert found.loc[name, f"coverage_90_{target}"] == pytest.approx(covered)
        crps = calibration.loc[("population_total", name), "crps"]
        assert found.loc[name, "crps_population_total"] == pytest.approx(crps)
    rollout, control = "neurohorizon_autoregressive", "neurohorizon_autoregressive_exchanged"
    row = found.loc[rollout]
    assert row["dependence_energy_population"] == pytest.approx((1 - means[rollout] / means[control]).mean())
    assert row["dependence_energy_population_lower"] < row["dependence_energy_population"]
    assert found.drop(rollout)["dependence_energy_population"].isna().all()
    assert (found["animals"] == 2).all()
    text = (folder / "tables" / "summary.txt").read_text()
    assert f"{row['dependence_energy_unit_total']:+.2%}" in text


def test_what_was_left_out_is_listed_and_no_sums_at_all_are_refused(folder):
    assert list(table(folder, "left_out")["reason"]) == ["no spikes"]
    with pytest.raises(TableError, match="no session"):
        read_calibration([folder / "s9" / "seed-0.parquet"])
    assert "neurohorizon_autoregressive" in (folder / "tables" / "summary.txt").read_text()


def test_the_first_example_there_is_is_shown(folder):
    shown = read_paths_example(folder / "tables" / "example.h5")
    for name, value in vars(example()).items():
        np.testing.assert_array_equal(getattr(shown, name), value)


@pytest.mark.slow
def test_figures_are_drawn_from_tables_and_the_same_twice(folder, tmp_path):
    tables = {name: table(folder, name) for name in ("pit", "coverage", "horizon", "calibration")}
    for name in ("one", "two"):
        save_figure(draw_paths(example=example()), [tmp_path / name / "paths.svg"])
    assert (tmp_path / "one" / "paths.svg").read_bytes() == (tmp_path / "two" / "paths.svg").read_bytes()
    assert render_png(draw_paths(example=None)), "a run without any session to show"
    axes = draw_calibration(**tables).axes
    coverage = axes[len(TARGETS)]
    row = tables["coverage"].query("target == 'unit' and method == 'neurohorizon'").sort_values("nominal")
    drawn = {line.get_label(): line.get_ydata() for line in coverage.get_lines()}
    np.testing.assert_array_equal(drawn["NeuroHorizon, parallel"], row["coverage"])
    figure = coverage.figure
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0 and legend.x1 <= figure.bbox.x1, "the legend is cut off"


@pytest.mark.slow
def test_one_session_has_no_interval_and_is_drawn_all_the_same(folder, tmp_path):
    make_tables(
        sums=[folder / "s1" / "seed-0.parquet"],
        examples=[folder / "s1" / "seed-0.h5"],
        horizons_ms=HORIZONS_MS,
        folder=tmp_path,
        resampling=RESAMPLING,
    )
    tables = {
        name: pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("pit", "coverage", "horizon", "calibration")
    }
    assert tables["calibration"]["crps_skill_lower"].isna().all()
    assert render_png(draw_calibration(**tables))


def test_parts_of_the_horizon_add_up_to_it(folder):
    sums = read_calibration([folder / "s0" / "seed-0.parquet"])
    by_part = session_calibration(sums, horizon_parts(HORIZONS_MS, 200))
    of = by_part[(by_part["target"] == "unit") & (by_part["method"] == "gamma_poisson")]
    parts, total = of[of["last_ms"] - of["first_ms"] < 200], of[of["last_ms"] - of["first_ms"] == 200]
    assert parts["cases"].sum() == total["cases"].iloc[0] == WINDOWS * BINS * UNITS
    weighted = (parts["crps"] * parts["cases"]).sum() / parts["cases"].sum()
    assert total["crps"].iloc[0] == pytest.approx(weighted)
