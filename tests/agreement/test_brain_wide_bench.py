"""Scores are those of the IBL Brain-Wide Bench, and submissions to it hold what its leaderboard asks for.

The package pins its own torch, so these tests run on a stand-in that is written from its documentation, and on the
package itself where it is installed; ``make audit`` compares with the package on the forecasts of a run.
"""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
from factories import brain_wide_bench as made_bench
from factories.forecasts import BIN_US, forecast_of, make_session

from neurohorizon.agreement.brain_wide_bench import (
    TASK,
    BenchError,
    audit,
    bench_unit_id,
    check_submission,
    export_bwb,
    score_bwb,
    write_ground_truth,
)
from neurohorizon.agreement.definitions import neural_latents_benchmark
from neurohorizon.forecasts.forecast_file import Forecast, write_forecast

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    return made_bench.install(monkeypatch)


def written(folder, forecast):
    seed = "" if forecast.seed is None else f"_seed-{forecast.seed}"
    path = folder / forecast.session / f"{forecast.method}{seed}.h5"
    write_forecast(path, forecast)
    return path


def submission(folder, *, seeds=(43, 44, 45), sessions=(0, 2), method="neurohorizon"):
    """A sound submission below ``submission``, with its ground truth below ``truth``."""
    forecasts = [forecast_of(make_session(number), method, seed=seed) for number in sessions for seed in seeds]
    for forecast in forecasts:
        write_ground_truth(forecast, folder=folder / "truth", recording=forecast.session)
    return export_bwb(forecasts, ground_truth=folder / "truth", folder=folder / "submission", label="ours")


def codes(folder, *, deterministic=False):
    found = check_submission(folder / "submission", ground_truth=folder / "truth", deterministic=deterministic)
    return [one.code for one in found]


# scores


def test_both_sides_score_the_same_forecasts_alike(tmp_path):
    forecasts = [forecast_of(make_session(0), "neurohorizon", seed=seed) for seed in (0, 1)]
    forecasts += [forecast_of(make_session(number), "shrinkage") for number in (0, 1)]
    compared, zero_rates = score_bwb(
        [written(tmp_path, forecast) for forecast in forecasts], output=tmp_path / "agreement.tsv"
    )
    assert zero_rates == []
    assert len(compared) == 2 * len(forecasts)
    assert max(one.difference for one in compared) < 1e-5
    assert len({round(one.their_bits_per_spike, 4) for one in compared}) == len(compared), "no two are the same score"
    with (tmp_path / "agreement.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [float(row["our_poisson_d2"]) for row in rows] == [one.our_poisson_d2 for one in compared]
    assert [row["seed"] for row in rows] == ["0", "0", "1", "1", "", "", "", ""]


def test_another_definition_does_not_pass_for_the_benchmarks(tmp_path, monkeypatch):
    monkeypatch.setattr("neurohorizon.agreement.brain_wide_bench.brain_wide_bench", neural_latents_benchmark)
    forecast = forecast_of(make_session(0), "neurohorizon")
    forecast.log_rate[..., 0] = -2.0  # a unit that stays silent
    with pytest.raises(BenchError, match="2 of 2 scores differ"):
        score_bwb([written(tmp_path, forecast)], output=tmp_path / "agreement.tsv")
    assert (tmp_path / "agreement.tsv").exists(), "the table says which"


def test_a_window_that_is_not_wholly_valid_is_not_scored(tmp_path):
    forecast = forecast_of(make_session(0), "shrinkage")  # the last bins of one window are not valid
    forecast.target_mask[[5, 8], [2, 4]] = False
    compared, _ = score_bwb([written(tmp_path, forecast)], output=tmp_path / "agreement.tsv")
    windows = len(forecast.start_us)
    assert [one.windows for one in compared] == [windows - 2, windows - 1]


def test_a_rate_of_zero_is_named_and_a_session_without_forecasts_passed_over(tmp_path):
    made = make_session(0)
    oracle = forecast_of(made, "oracle")
    names = ("session", "subject", "lab", "source", "fold", "method_class", "bin_us")
    absent = Forecast(
        **{name: getattr(oracle, name) for name in names} | {"session": "absent"},
        method="shrinkage",
        left_out="no spikes",
    )
    paths = [written(tmp_path, one) for one in (oracle, absent, forecast_of(made, "shrinkage"))]
    compared, zero_rates = score_bwb(paths, output=tmp_path / "agreement.tsv")
    assert zero_rates == [f"{made.name} oracle"]
    assert {one.method for one in compared} == {"shrinkage"}


def test_bins_other_than_the_benchmarks_are_refused():
    forecast = replace(forecast_of(make_session(0), "shrinkage"), bin_us=10_000)
    with pytest.raises(BenchError, match="bin_ms: 20"):
        write_ground_truth(forecast, folder="nowhere", recording="r")


# the submission


def test_a_submission_holds_the_100_ms_after_the_origin_in_windows_of_one_second(tmp_path):
    made = make_session(0)
    forecast = forecast_of(made, "neurohorizon", seed=44)
    write_ground_truth(forecast, folder=tmp_path / "truth", recording="eid")
    (path,) = export_bwb(
        [forecast],
        ground_truth=tmp_path / "truth",
        folder=tmp_path / "submission",
        label="ours",
        recordings={made.name: "eid"},
    )
    assert path == tmp_path / "submission" / "ours" / TASK / "eid" / "seed_44.safetensors"
    tensors = safetensors.load_file(str(path))
    np.testing.assert_array_equal(tensors["predictions"].numpy(), forecast.log_rate[:, :5])
    starts = tensors["window_timestamps"].numpy()
    assert starts.dtype == np.float64
    np.testing.assert_allclose(starts, made.starts * BIN_US / 1e6 - 0.9, rtol=0, atol=1e-9)
    said = made_bench.said_of(path)
    assert (
        said.items()
        >= {
            "label": "ours",
            "task": "ts2-forecasting",
            "seed": "44",
            "recording_id": "eid",
            "unit_filtering": "selected_units",
            "dataset_version": "0.1.0",
        }.items()
    )
    truth = safetensors.load_file(str(tmp_path / "truth" / TASK / "eid" / "ground_truth.safetensors"))
    np.testing.assert_array_equal(truth["targets"].numpy(), forecast.counts[:, :5])


def test_units_are_named_by_recording_and_id():
    assert bench_unit_id("eid", "probe00:8922-02bf") == "eid/8922-02bf"
    assert bench_unit_id("eid", "950911932") == "eid/950911932"


def test_units_that_differ_by_their_probe_alone_are_refused(tmp_path):
    forecast = forecast_of(make_session(0), "shrinkage")
    names = forecast.unit_id.astype(object)
    names[:2] = ["probe00:1", "probe01:1"]
    with pytest.raises(BenchError, match="share a name"):
        write_ground_truth(replace(forecast, unit_id=names.astype(str)), folder=tmp_path, recording="r")


def test_the_ground_truth_decides_which_units_and_windows_and_their_order(tmp_path):
    made = make_session(0)
    forecast = forecast_of(made, "neurohorizon", seed=43)
    path = write_ground_truth(forecast, folder=tmp_path / "truth", recording=made.name)
    asked = safetensors.load_file(str(path))
    units, windows = [5, 2, 9], torch.arange(20, 4, -2)
    asked = {
        "unit_ids": asked["unit_ids"][units].contiguous(),
        "window_timestamps": asked["window_timestamps"][windows].contiguous(),
    }
    safetensors.save_file(asked, str(path))
    (written_file,) = export_bwb(
        [forecast], ground_truth=tmp_path / "truth", folder=tmp_path / "submission", label="ours"
    )
    found = safetensors.load_file(str(written_file))
    np.testing.assert_array_equal(found["predictions"].numpy(), forecast.log_rate[windows.numpy(), :5][..., units])
    np.testing.assert_array_equal(found["unit_ids"].numpy(), asked["unit_ids"].numpy())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("windows", "windows of the ground truth are not forecast"),
        ("units", "units of the ground truth are not forecast"),
        ("zero", "rate of zero"),
    ],
)
def test_what_is_asked_for_and_not_forecast_is_named(tmp_path, changed, message):
    forecast = forecast_of(make_session(0), "neurohorizon", seed=43)
    write_ground_truth(forecast, folder=tmp_path / "truth", recording=forecast.session)
    if changed == "windows":
        parts = ("start_us", "target_mask", "counts", "log_rate")
        forecast = replace(forecast, **{name: getattr(forecast, name)[1:] for name in parts})
    elif changed == "units":
        forecast = replace(forecast, unit_id=np.char.add(forecast.unit_id, "x"))
    else:
        forecast.log_rate[0, 0, 3] = -np.inf
    with pytest.raises(BenchError, match=message):
        export_bwb([forecast], ground_truth=tmp_path / "truth", folder=tmp_path / "submission", label="ours")


# what the leaderboard asks for


def test_a_submission_of_every_recording_with_three_seeds_is_sound(tmp_path):
    assert len(submission(tmp_path)) == 6
    assert codes(tmp_path) == []


def test_one_seed_is_enough_for_a_method_that_draws_nothing(tmp_path):
    (path,) = submission(tmp_path, seeds=(None,), sessions=(0,), method="shrinkage")
    assert path.name == "seed_43.safetensors"
    assert codes(tmp_path, deterministic=True) == []
    assert codes(tmp_path) == ["E101"]


def test_seeds_follow_each_other_and_are_the_same_everywhere(tmp_path):
    paths = submission(tmp_path, seeds=(43, 44, 46))
    assert codes(tmp_path) == ["E102"]
    paths[0].unlink()
    assert codes(tmp_path) == ["E103"]


def edit(path, *, said=None, **tensors):
    before, header = safetensors.load_file(str(path)), made_bench.said_of(path)
    safetensors.save_file(before | tensors, str(path), metadata=header | (said or {}))


def drop(path, name):
    tensors, header = safetensors.load_file(str(path)), made_bench.said_of(path)
    safetensors.save_file({key: value for key, value in tensors.items() if key != name}, str(path), metadata=header)


def break_numbers(path):
    predictions = safetensors.load_file(str(path))["predictions"]
    predictions[0, 0, 0] = float("nan")
    edit(path, predictions=predictions)


def break_windows(path):
    starts = safetensors.load_file(str(path))["window_timestamps"]
    starts[1] = starts[0]
    edit(path, window_timestamps=starts)


def break_times(path):
    edit(path, window_timestamps=safetensors.load_file(str(path))["window_timestamps"] + 0.02)


def break_order(path):
    edit(path, unit_ids=safetensors.load_file(str(path))["unit_ids"].flip(0).contiguous())


def break_shape(path):
    edit(path, predictions=safetensors.load_file(str(path))["predictions"][1:].contiguous())


FAULTS = {
    "E001": lambda path: drop(path, "unit_ids"),
    "E003": lambda path: edit(path, said={"dataset_version": "new"}),
    "E005": lambda path: path.parents[1].rename(path.parents[2] / "ts2-co_smoothing"),
    "E007": break_shape,
    "E008": break_windows,
    "E011": lambda path: shutil.rmtree(path.parents[4] / "truth" / TASK / path.parent.name),
    "E012": break_times,
    "E012 order": break_order,
    "E013": lambda path: edit(path, said={"seed": "7"}),
    "E014": lambda path: (path.parent / "readme.txt").write_text("ours"),
    "E104": lambda path: shutil.rmtree(path.parent),
    "E106": lambda path: shutil.copytree(path.parents[2], path.parents[3] / "theirs"),
    "E107": break_numbers,
    "E109": lambda path: edit(path, said={"unit_filtering": "all_units"}),
}


@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_has_the_code_of_the_leaderboard(tmp_path, code):
    FAULTS[code](submission(tmp_path)[0])
    assert code.split()[0] in codes(tmp_path)


# make audit


def test_the_audit_says_how_well_both_agree_and_what_a_submission_lacks(tmp_path):
    paths = []
    for number in (0, 1):
        made = make_session(number)
        forecasts = [
            forecast_of(made, "neurohorizon", seed=0),
            forecast_of(made, "shrinkage"),
            forecast_of(made, "oracle"),
        ]
        paths += [written(tmp_path / "forecasts", forecast) for forecast in forecasts]
    recordings = {make_session(number).name: f"eid-{number}" for number in (0, 1)}
    text = audit(paths, folder=tmp_path / "audit", recordings=recordings)
    assert text == (tmp_path / "audit" / "summary.txt").read_text()
    assert "8 comparisons of bits per spike and Poisson D2, over 2 sessions and 2 methods" in text
    assert "zero: oracle" in text
    assert "neurohorizon: the submission of 2 files is sound; seeds are [0]; at least 3 are needed" in text
    assert "shrinkage: the submission of 2 files is sound. Poisson D2" in text
    assert (tmp_path / "audit" / "submissions" / "shrinkage" / "shrinkage" / TASK / "eid-1").is_dir()


def test_a_faulty_submission_fails_the_audit(tmp_path):
    forecast = forecast_of(make_session(0), "shrinkage")
    path = written(tmp_path / "forecasts", forecast)
    with pytest.raises(BenchError, match=r"submission of shrinkage is at fault.*E014"):
        audit([path], folder=tmp_path / "audit", recordings={forecast.session: "not/one/folder"})
