"""Forecasts for other programs: NWB, Parquet, Zarr and pynapple. Each file is complete or absent."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import save

from neurohorizon.files import replacing, replacing_folder
from neurohorizon.timeline import to_us

if TYPE_CHECKING:
    from pynapple import TsdFrame, TsdTensor
    from pynwb import NWBFile

    from neurohorizon.recordings.forecast import Forecast
    from neurohorizon.recordings.recording import Recording

MODULE = "neurohorizon"
"""Name of the processing module of an NWB file."""
ROWS_PER_GROUP = 1 << 20
"""Rows of a Parquet table that are in memory and compressed together."""
_SUBJECT = ("subject_id", "species", "sex", "age", "description", "genotype")


def provenance(forecast: "Forecast") -> dict[str, str | float]:
    """Return the method, the weights with their SHA-256, the recording and the reference window of a forecast."""
    recording = forecast.recording
    first_s, last_s = recording.reference.hull_s
    return {
        "method": forecast.method,
        **weights_of(recording),
        "recording": recording.session.session_id,
        "bin_s": forecast.bin_s,
        "reference_start_s": first_s,
        "reference_stop_s": last_s,
    }


def weights_of(recording: "Recording") -> dict[str, str]:
    """Return name and SHA-256 of the weights: of a release, or of the file that a run writes of this network."""
    if recording.release:
        about = recording.release.about
        return {"weights": f"{about.name} {about.version}", "weights_sha256": about.sha256}
    digest = hashlib.sha256(save(recording.forecaster.state_dict())).hexdigest()
    return {"weights": recording.card.method, "weights_sha256": digest}


def export_nwb(
    forecast: "Forecast",
    target: "NWBFile | str | Path",
    *,
    name: str,
    recording: str | Path | None,
    session_start: datetime | None,
) -> "NWBFile":
    """Add a forecast to an NWB file in memory, or write a new one; see :meth:`Forecast.to_nwb`."""
    try:
        from pynwb import NWBHDF5IO
    except ModuleNotFoundError as error:
        raise _lacks("to_nwb", "pynwb", error) from error
    if not isinstance(target, str | Path):
        _add_to_nwb(forecast, target, name)
        return target
    if Path(target).exists():
        raise FileExistsError(
            f"{target} exists, and to_nwb writes new files only; to add the forecast to it, open it with pynwb and "
            "give the NWBFile"
        )
    file = _new_nwb(forecast, recording, session_start)
    _add_to_nwb(forecast, file, name)
    with replacing(target) as temporary, NWBHDF5IO(temporary, "w") as io:
        io.write(file)
    return file


def _new_nwb(forecast: "Forecast", recording: str | Path | None, session_start: datetime | None) -> "NWBFile":
    from pynwb import NWBFile
    from pynwb.file import Subject

    from neurohorizon.ingest.nwb_file import open_nwb

    found: dict[str, Any] = {}
    if recording is not None:
        with open_nwb(Path(recording)) as source:
            session_start = session_start or datetime.fromisoformat(source.text("session_start_time"))
            if reference := source.text("timestamps_reference_time"):
                found["timestamps_reference_time"] = datetime.fromisoformat(reference)
            subject = {key: text for key in _SUBJECT if (text := source.text(f"general/subject/{key}"))}
            identifier = source.text("identifier")
        found["subject"] = Subject(**subject) if subject else None
        found["notes"] = f"forecast of the NWB file with the identifier {identifier}"
    if session_start is None:
        raise ValueError(
            "an NWB file needs the start of its session: give recording=, the NWB file of the recording, or "
            "session_start="
        )
    values = provenance(forecast)
    identity = hashlib.sha256(forecast.log_rate.tobytes() + json.dumps(values).encode()).hexdigest()
    return NWBFile(
        session_description=f"forecast of the recording {values['recording']}",
        identifier=f"{values['recording']}_{values['method']}_{identity[:16]}",
        session_start_time=session_start,
        **{key: value for key, value in found.items() if value is not None},
    )


def _add_to_nwb(forecast: "Forecast", file: "NWBFile", name: str) -> None:
    from hdmf.common import DynamicTable, VectorData
    from pynwb import TimeSeries

    module = file.processing.get(MODULE) or file.create_processing_module(
        MODULE, "forecasts of spike counts by neurohorizon"
    )
    if name in module.data_interfaces:
        raise ValueError(f"the file has a forecast {name!r} already; give another name=")
    order = np.argsort(forecast.origin_us, kind="stable")
    bins = f"[origin, bin, unit]: bins are rows of {name}_bins, units are rows of {name}_units"
    rates = TimeSeries(
        name=name,
        data=forecast.rate_hz[order],
        unit="spikes/s",
        timestamps=forecast.origin_s[order],
        description=f"Expected rates of units after each forecast origin, {bins}. Timestamps are the origins.",
        comments=json.dumps(provenance(forecast)),
    )
    counts = TimeSeries(
        name=f"{name}_observed_counts",
        data=_observed(forecast)[order],
        unit="spikes",
        timestamps=rates,
        description=f"Observed counts per bin, {bins}. NaN where the bin was not recorded.",
    )
    units = DynamicTable(
        name=f"{name}_units",
        description=f"Units of {name}.",
        columns=[
            VectorData(name="unit_id", description="id of the unit in the recording", data=_ids(forecast, text=True)),
            VectorData(
                name="reference_rate_hz",
                description="mean rate in the reference window, spikes/s",
                data=forecast.recording.reference_rate_hz,
            ),
        ],
    )
    ahead = DynamicTable(
        name=f"{name}_bins",
        description=f"Bins of {name}.",
        columns=[
            VectorData(name="start_s", description="start after the origin, s", data=forecast.ahead_s),
            VectorData(name="stop_s", description="end after the origin, s", data=forecast.ahead_s + forecast.bin_s),
        ],
    )
    for one in (rates, counts, units, ahead):
        module.add(one)


def export_parquet(forecast: "Forecast", path: str | Path) -> None:
    """Write a long table; see :meth:`Forecast.to_parquet`."""
    import pyarrow as pa
    from pyarrow import parquet

    origins, bins, units = forecast.log_rate.shape
    ids = pa.array(_ids(forecast, text=False))
    schema = pa.schema(
        [
            ("origin_s", pa.float64()),
            ("ahead_s", pa.float64()),
            ("unit", ids.type),
            ("rate_hz", pa.float32()),
            ("count", pa.int32()),
            ("valid", pa.bool_()),
        ],
        metadata={MODULE: json.dumps(provenance(forecast))},
    )
    # numpy in each group of origins, so that a long forecast is not in memory as a table
    step = max(1, ROWS_PER_GROUP // max(bins * units, 1))
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for first in range(0, origins, step):
            part = slice(first, min(first + step, origins))
            rows = part.stop - part.start
            valid = np.repeat(forecast.valid[part].reshape(-1), units)
            counts = forecast.counts[part].reshape(-1).astype(np.int32)
            columns = [
                pa.array(np.repeat(forecast.origin_s[part], bins * units)),
                pa.array(np.tile(np.repeat(forecast.ahead_s, units), rows)),
                ids.take(pa.array(np.tile(np.arange(units), rows * bins))),
                pa.array(forecast.rate_hz[part].reshape(-1).astype(np.float32)),
                pa.array(counts, mask=~valid),
                pa.array(valid),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def export_zarr(forecast: "Forecast", path: str | Path) -> None:
    """Write a Zarr group; see :meth:`Forecast.to_zarr`."""
    try:
        import zarr  # noqa: F401 - xarray needs it
    except ModuleNotFoundError as error:
        raise _lacks("to_zarr", "zarr", error) from error
    dataset = forecast.to_xarray().assign_attrs(provenance(forecast))
    dataset = dataset.assign_coords(unit=("unit", _ids(forecast, text=False)))
    path = new_folder(path)
    with replacing_folder(path) as temporary:
        dataset.to_zarr(temporary, mode="w", consolidated=False)


def export_pynapple(forecast: "Forecast", ahead_s: float | None) -> "TsdTensor | TsdFrame":
    """Return rates as an object of pynapple; see :meth:`Forecast.to_pynapple`."""
    try:
        from pynapple import TsdFrame, TsdTensor
    except ModuleNotFoundError as error:
        raise _lacks("to_pynapple", "pynapple", error) from error
    order = np.argsort(forecast.origin_us, kind="stable")
    rate_hz, origin_s = forecast.rate_hz[order], forecast.origin_s[order]
    if ahead_s is None:
        return TsdTensor(t=origin_s, d=rate_hz)
    bins = forecast.log_rate.shape[1]
    index = int(to_us(ahead_s)) // forecast.recording.shape.bin_us
    if not 0 <= index < bins:
        raise ValueError(
            f"ahead_s is {ahead_s:g}; expected a time within the horizon, from 0 to below {bins * forecast.bin_s:g} s"
        )
    return TsdFrame(t=origin_s + forecast.ahead_s[index], d=rate_hz[:, index], columns=_ids(forecast, text=False))


def new_folder(path: str | Path) -> Path:
    """Return the path of a folder that is written as a whole; its parent is made.

    Raises:
        FileExistsError: There is something at the path.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists, and no folder is overwritten; choose another path, or delete it")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _observed(forecast: "Forecast") -> np.ndarray:
    return np.where(forecast.valid[..., None], forecast.counts, np.nan).astype(np.float32)


def _ids(forecast: "Forecast", *, text: bool) -> Any:
    """Return ids of the units, whole numbers if they are and ``text`` is False, else texts, [unit]."""
    ids = forecast.unit_ids
    return ids if ids.dtype.kind in "iu" and not text else [str(one) for one in ids.tolist()]


def _lacks(method: str, package: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f'{method} needs {error.name or package}: pip install "neurohorizon[export]"', name=error.name
    )
