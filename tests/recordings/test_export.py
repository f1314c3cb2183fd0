"""Every export holds the numbers of the forecast, to the bit, and is complete or absent."""

import datetime
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from neurohorizon import Forecast
from neurohorizon.timeline import to_us

START = datetime.datetime(2020, 1, 2, 12, tzinfo=datetime.UTC)
ORIGINS_S = [60.003, 50.0, 79.94]
"""Not sorted; of the last one, half of the horizon lies after the end of the recording."""


@pytest.fixture(scope="module")
def forecast(recording) -> Forecast:
    found = recording.forecast(ORIGINS_S, adaptive=False)
    assert found.valid[:2].all() and 0 < found.valid[2].sum() < found.valid.shape[1]
    return found


@pytest.fixture(scope="module")
def sorted_forecast(forecast) -> Forecast:
    order = np.argsort(forecast.origin_us)
    changed = {name: getattr(forecast, name)[order] for name in ("log_rate", "origin_us", "counts", "valid")}
    return replace(forecast, **changed)


def observed(forecast):
    return np.where(forecast.valid[..., None], forecast.counts, np.nan).astype(np.float32)


def test_an_nwb_file_holds_the_forecast(forecast, sorted_forecast, weights, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    path = tmp_path / "forecast.nwb"
    forecast.to_nwb(path, session_start=START)
    assert [one.name for one in tmp_path.iterdir()] == ["forecast.nwb"]
    with pynwb.NWBHDF5IO(path, "r") as io:
        assert not pynwb.validate(io=io)
        module = io.read().processing["neurohorizon"]
        rates, counts = module["forecast"], module["forecast_observed_counts"]
        assert rates.unit == "spikes/s" and rates.data.dtype == np.float32
        np.testing.assert_array_equal(rates.data[:], sorted_forecast.rate_hz)
        np.testing.assert_array_equal(rates.timestamps[:], sorted_forecast.origin_s)
        np.testing.assert_array_equal(counts.timestamps[:], sorted_forecast.origin_s)
        np.testing.assert_array_equal(counts.data[:], observed(sorted_forecast))
        assert module["forecast_units"]["unit_id"][:].tolist() == forecast.unit_ids.astype(str).tolist()
        np.testing.assert_array_equal(module["forecast_bins"]["start_s"][:], forecast.ahead_s)
        found = json.loads(rates.comments)
    assert found["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (found["weights"], found["method"], found["reference_stop_s"]) == ("neurohorizon", "neurohorizon", 40.0)
    with pytest.raises(FileExistsError, match="writes new files only; to add the forecast to it, open it with pynwb"):
        forecast.to_nwb(path, session_start=START)


def test_an_nwb_file_in_memory_receives_forecasts_of_several_names(forecast, recording):
    pynwb = pytest.importorskip("pynwb")
    file = pynwb.NWBFile("made", "made", START)
    assert forecast.to_nwb(file) is file
    recording.baseline("reference_mean", ORIGINS_S).to_nwb(file, name="mean")
    assert {"forecast", "mean", "forecast_bins", "mean_bins"} <= set(file.processing["neurohorizon"].data_interfaces)
    with pytest.raises(ValueError, match="has a forecast 'mean' already; give another name="):
        forecast.to_nwb(file, name="mean")


def test_a_new_nwb_file_has_the_subject_and_the_start_of_the_recording(forecast, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    from factories.nwb_files import make_long_file

    make_long_file(tmp_path / "mouse.nwb", subject="Ada", length_s=1.0, units=1)
    forecast.to_nwb(tmp_path / "out" / "forecast.nwb", recording=tmp_path / "mouse.nwb")
    with pynwb.NWBHDF5IO(tmp_path / "out" / "forecast.nwb", "r") as io:
        file = io.read()
        assert file.subject.subject_id == "Ada" and file.session_start_time == START
    with pytest.raises(ValueError, match="needs the start of its session: give recording="):
        forecast.to_nwb(tmp_path / "other.nwb")
    assert not (tmp_path / "other.nwb").exists()


@pytest.mark.parametrize("rows_per_group", [1, 1 << 20])
def test_a_parquet_table_holds_the_forecast(forecast, tmp_path, monkeypatch, rows_per_group):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("neurohorizon.recordings.export.ROWS_PER_GROUP", rows_per_group)
    path = tmp_path / "forecast.parquet"
    forecast.to_parquet(path)
    assert [one.name for one in tmp_path.iterdir()] == ["forecast.parquet"]
    table = parquet.read_table(path)
    shape = forecast.log_rate.shape
    columns = {name: table[name].to_numpy().reshape(shape) for name in table.column_names}
    assert list(columns) == ["origin_s", "ahead_s", "unit", "rate_hz", "count", "valid"]
    assert columns["rate_hz"].dtype == np.float32
    np.testing.assert_array_equal(columns["rate_hz"], forecast.rate_hz)
    np.testing.assert_array_equal(columns["count"].astype(np.float32), observed(forecast))
    np.testing.assert_array_equal(columns["valid"], np.repeat(forecast.valid[..., None], shape[2], axis=2))
    np.testing.assert_array_equal(columns["origin_s"][:, 0, 0], ORIGINS_S)
    np.testing.assert_array_equal(columns["ahead_s"][0, :, 0], forecast.ahead_s)
    np.testing.assert_array_equal(columns["unit"][0, 0], forecast.unit_ids)
    assert json.loads(table.schema.metadata[b"neurohorizon"])["bin_s"] == 0.02


def test_after_an_error_there_is_no_part_of_a_file(forecast, tmp_path):
    broken = replace(forecast, valid=forecast.valid[:1])
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError):  # noqa: PT011 - whichever library finds it
        broken.to_parquet(tmp_path / "forecast.parquet")
    assert not list(tmp_path.iterdir())


def test_a_zarr_group_holds_the_forecast(forecast, tmp_path):
    pytest.importorskip("zarr")
    xarray = pytest.importorskip("xarray")
    forecast.to_zarr(tmp_path / "out" / "forecast.zarr")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["forecast.zarr"]
    found = xarray.open_zarr(tmp_path / "out" / "forecast.zarr", consolidated=False)
    assert found.rate_hz.dtype == np.float32 and found.rate_hz.dims == ("origin", "bin", "unit")
    np.testing.assert_array_equal(found.rate_hz.values, forecast.rate_hz)
    np.testing.assert_array_equal(found.observed_counts.values, observed(forecast))
    np.testing.assert_array_equal(found.origin.values, ORIGINS_S)
    assert found.unit.values.tolist() == forecast.unit_ids.tolist() and len(found.attrs["weights_sha256"]) == 64
    with pytest.raises(FileExistsError, match="no folder is overwritten"):
        forecast.to_zarr(tmp_path / "out" / "forecast.zarr")


def test_pynapple_has_the_rates_at_their_times(forecast, sorted_forecast):
    pytest.importorskip("pynapple")
    tensor = forecast.to_pynapple()
    np.testing.assert_array_equal(tensor.values, sorted_forecast.rate_hz)
    np.testing.assert_allclose(tensor.times(), sorted_forecast.origin_s)
    frame = forecast.to_pynapple(ahead_s=0.05)
    np.testing.assert_array_equal(frame.values, sorted_forecast.rate_hz[:, 2])
    np.testing.assert_allclose(frame.times(), sorted_forecast.origin_s + 0.04)
    assert list(frame.columns) == forecast.unit_ids.tolist()
    np.testing.assert_array_equal(forecast.to_pynapple(ahead_s=0.06).values, sorted_forecast.rate_hz[:, 3])
    for outside in (-0.01, 0.12):
        with pytest.raises(ValueError, match=r"from 0 to below 0\.12 s"):
            forecast.to_pynapple(ahead_s=outside)


@pytest.mark.parametrize(
    ("module", "export"),
    [
        ("pynwb", lambda forecast, path: forecast.to_nwb(path)),
        ("zarr", lambda forecast, path: forecast.to_zarr(path)),
        ("pynapple", lambda forecast, path: forecast.to_pynapple()),
    ],
)
def test_without_its_package_an_export_names_the_extra(forecast, tmp_path, monkeypatch, module, export):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf'needs {module}.*: pip install "neurohorizon\[export\]"'):
        export(forecast, tmp_path / "forecast")
    assert not list(tmp_path.iterdir())


def test_origins_are_exported_without_rounding(forecast):
    np.testing.assert_array_equal(to_us(forecast.origin_s), forecast.origin_us)
