"""What was planted in simulated recordings comes back in the tables of a finished demo, and a broken one is noticed.

The demo's results are looked for where ``make demo`` leaves them, or in the folder that ``NEUROHORIZON_RESULTS`` names.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories import ROOT

from neurohorizon.agreement.effect_tables import NO, NOT_RUN, YES, PlantedEffect, make_tables, planted_effects
from neurohorizon.analysis.tables import Resampling

RESAMPLING = Resampling(draws=2000, interval=0.95, seed=0)
RESULTS = Path(os.environ.get("NEUROHORIZON_RESULTS") or ROOT / "results" / "demo")
EFFECTS = (
    "identity helps",
    "another unit's identity does not",
    "zero-shot forecasts close the gap to a network fitted on the session",
    "accuracy falls with the horizon",
    "accuracy rises with the reference window",
    "accuracy rises with training sessions",
    "a trained network with wrong identities scores lower",
    "images help in visual regions",
    "images help nowhere else",
    "shuffled images do not help",
)


@pytest.fixture(scope="module")
def found() -> tuple[PlantedEffect, ...]:
    """Truths of the finished demo; skips where there is none."""
    if not (RESULTS / "cross_session" / "tables" / "summary.parquet").exists():
        pytest.skip(f"no finished run at {RESULTS}: `make demo` makes one, NEUROHORIZON_RESULTS names another")
    return planted_effects(RESULTS, RESAMPLING)


@pytest.mark.parametrize("effect", EFFECTS)
def test_the_demo_gives_back_what_was_planted(found, effect):
    rows = [one for one in found if one.effect == effect]
    assert rows
    if {one.holds for one in rows} == {NOT_RUN}:
        pytest.skip(f"{RESULTS} has no table that tells: {rows[0].measure}")
    assert [one for one in rows if one.holds != YES] == []


# made tables: each effect is told, and its opposite too

ANIMALS = 6


def of_sessions(by: str, scores: dict, **constants: object) -> pd.DataFrame:
    """Scores of six animals around the given ones, by method or horizon."""
    wobble = np.linspace(-0.01, 0.01, ANIMALS)
    rows = [
        {"fold": "main", "session": f"s{animal}", "subject": f"m{animal}", "lab": "lab", "source": "ibl", by: name}
        | {"null": "reference", "bits_per_spike": score + wobble[animal] * (1 + place)}
        | constants
        for place, (name, score) in enumerate(scores.items())
        for animal in range(ANIMALS)
    ]
    return pd.DataFrame(rows)


def row(value: float, name: str = "difference", **columns: object) -> pd.DataFrame:
    bounds = ("lower", "upper") if name in ("difference", "gain") else (f"{name}_lower", f"{name}_upper")
    numbers = {name: value, bounds[0]: value - 0.02, bounds[1]: value + 0.02, "sessions": 9, "animals": ANIMALS}
    return pd.DataFrame([numbers | columns])


def tables(sign: float = 1.0) -> dict[str, pd.DataFrame]:
    """Tables in which every effect holds by a margin; with ``sign`` -1 the opposite of every one."""
    regions = [
        row(0.1 * sign, "gain", condition="image_ahead", region="visual", stimulus="all", encoder="e"),
        row(0.1 * sign, "gain", condition="image_ahead", region="visual", stimulus="movie", encoder="e"),
        row(-0.05 * sign, "gain", condition="image_ahead", region="non-visual", stimulus="all", encoder="e"),
        row(-0.05 * sign, "gain", condition="image_ahead_shuffled", region="visual", stimulus="all", encoder="e"),
        row(-0.9 * sign, "gain", condition="image", region="visual", stimulus="all", encoder="e"),
    ]
    length = row(-0.2 * sign, method="neurohorizon", horizon_ms=1000.0, whole=False, size=10.0)
    length = length.rename(columns={"lower": "difference_lower", "upper": "difference_upper"})
    others = [
        length.assign(size=60.0, difference=0.5, difference_lower=0.4, difference_upper=0.6),
        length.assign(horizon_ms=100.0, difference_upper=9.0),
        length.assign(method="shrinkage", difference_upper=9.0),
        length.assign(whole=True, size=1.0, difference_upper=9.0),
    ]
    gap = row(0.8 + 0.1 * sign, "gap_closed", source="all", null="reference", method="neurohorizon")
    more = row(0.1 * sign, comparison="more_sessions", what="all sessions", against="2 sessions")
    shuffled = row(-0.1 * sign, variant="shuffled_identity", declared=True)
    return {
        "cross_session/tables/comparisons": pd.concat(
            [row(0.1 * sign, against="mean_identity"), row(-0.5 * sign, against="own_history")]
        ),
        "cross_session/tables/sessions": of_sessions(
            "method", {"shuffled_identity": -0.3 * sign, "mean_identity": 0.1}
        ),
        "cross_session/tables/summary": pd.concat(
            [gap, gap.assign(source="ibl", gap_closed_lower=0.1), gap.assign(null="evaluation")]
        ),
        "cross_session/tables/horizon_sessions": of_sessions(
            "horizon_ms", {20.0: 0.3 * sign, 500.0: 9.0, 1000.0: 0.1 * sign}, method="neurohorizon"
        ),
        "cross_session/tables/reference_length": pd.concat([length, *others]),
        "scaling/tables/comparisons": pd.concat([more, row(-0.5 * sign, comparison="same_lab", what="a", against="b")]),
        "ablations/tables/ablations": pd.concat([shuffled, row(0.5 * sign, variant="no_identity", declared=True)]),
        "multimodal/tables/regions": pd.concat(regions),
    }


def write(folder: Path, made: dict[str, pd.DataFrame]) -> None:
    for name, table in made.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.reset_index(drop=True).to_parquet(path)


def test_every_effect_holds_as_planted_and_not_in_its_opposite(tmp_path):
    write(tmp_path / "true", tables())
    write(tmp_path / "false", tables(-1.0))
    true, false = (planted_effects(tmp_path / name, RESAMPLING) for name in ("true", "false"))
    assert [one.effect for one in true] == list(EFFECTS)
    assert {one.effect: one.holds for one in true} == dict.fromkeys(EFFECTS, YES)
    assert {one.effect: one.holds for one in false} == dict.fromkeys(EFFECTS, NO)
    assert all(one.animals == ANIMALS and one.sessions >= ANIMALS for one in true)


@pytest.mark.parametrize("name", list(tables()))
def test_an_effect_without_its_table_is_not_run(tmp_path, name):
    made = tables()
    del made[name]
    write(tmp_path, made)
    held = {one.effect: one.holds for one in planted_effects(tmp_path, RESAMPLING)}
    assert set(held) == set(EFFECTS)
    assert 1 <= list(held.values()).count(NOT_RUN) <= 3
    assert NO not in held.values()


def test_an_interval_that_reaches_the_bound_is_not_enough():
    effect = PlantedEffect(effect="t", measure="m", value=0.1, lower=-0.01, upper=0.2)
    assert effect.holds == NO
    assert PlantedEffect(effect="t", measure="m", value=-0.1, lower=-0.2, upper=0.01, must_be="below").holds == NO
    assert PlantedEffect(effect="t", measure="m", value=0.9, lower=np.nan, upper=np.nan).holds == NO, (
        "one animal shows nothing"
    )


def test_the_table_ends_with_whether_each_holds(tmp_path):
    write(tmp_path, tables() | {"cross_session/tables/comparisons": tables(-1.0)["cross_session/tables/comparisons"]})
    make_tables(results=tmp_path, folder=tmp_path / "out", resampling=RESAMPLING)
    lines = (tmp_path / "out" / "planted_effects.tsv").read_text().splitlines()
    assert lines[0].endswith("\tholds")
    # `make demo` looks for this end of a line
    assert [line.split("\t")[0] for line in lines if line.endswith("\tno")] == ["identity helps"]
    assert (tmp_path / "out" / "planted_effects.txt").read_text().count("\n") == len(EFFECTS) + 2
