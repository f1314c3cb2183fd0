"""The forecast file: the forecasts of one session by one method, and the observed counts.

One HDF5 file per fold, session and method. Axes and unit of a dataset are stored as its
attributes. Every forecaster, baseline and oracle writes this file; scoring reads nothing else.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing
from neurohorizon.methods import CLASS_ORDER

WINDOWS_PER_CHUNK = 64
"""Windows that are compressed together, and best read together."""


class ForecastFileError(ValueError):
    """A forecast that breaks the file's contract; the message gives the found and the expected value."""


@dataclass(frozen=True)
class Forecast:
    """Forecasts of one session by one method.

    Attributes:
        session: Session id.
        subject: Animal.
        lab: Lab of the recording, "" if unknown.
        source: Source in the cohort table.
        fold: Fold in which the session is held out.
        method: Name of the method, without its seed.
        method_class: Class of the data that the method may use, one of ``methods.CLASS_ORDER``.
        bin_us: Width of a bin, microseconds.
        seed: Seed of a trained method; None for a method without randomness.
        code: Fingerprint of the code, "" if unknown.
        encoder: Image encoder whose embeddings the method reads, "" if none.
        left_out: Reason why the session is excluded; the arrays are then empty. None otherwise.
        unit_id: Unit names, str [unit].
        region: Brain region of each unit, "" if unknown, str [unit].
        start_us: Forecast origin, the start of the first target bin, microseconds, int64 [window].
        target_mask: True for bins of valid time, bool [window, horizon_bin].
        counts: Observed spikes, unsigned integer [window, horizon_bin, unit]; 0 where not valid.
        log_rate: Natural log of expected spikes per bin, float32 [window, horizon_bin, unit].
        reference_log_rate: Natural log of the unit's mean spikes per bin in the reference window, [unit].
    """

    session: str
    subject: str
    lab: str
    source: str
    fold: str
    method: str
    method_class: str
    bin_us: int
    seed: int | None = None
    code: str = ""
    encoder: str = ""
    left_out: str | None = None
    unit_id: np.ndarray = field(default_factory=partial(np.zeros, 0, str))
    region: np.ndarray = field(default_factory=partial(np.zeros, 0, str))
    start_us: np.ndarray = field(default_factory=partial(np.zeros, 0, np.int64))
    target_mask: np.ndarray = field(default_factory=partial(np.zeros, (0, 0), bool))
    counts: np.ndarray = field(default_factory=partial(np.zeros, (0, 0, 0), np.uint8))
    log_rate: np.ndarray = field(default_factory=partial(np.zeros, (0, 0, 0), np.float32))
    reference_log_rate: np.ndarray = field(default_factory=partial(np.zeros, 0, np.float32))

    def __post_init__(self) -> None:
        if self.method_class not in CLASS_ORDER:
            raise ForecastFileError(
                f"class of method {self.method!r} is {self.method_class!r}, not one of {CLASS_ORDER}"
            )
        windows, units = len(self.start_us), len(self.unit_id)
        if self.log_rate.ndim != 3 or self.log_rate.shape[::2] != (windows, units):
            raise ForecastFileError(
                f"log_rate of {self.session} is {self.log_rate.shape}; expected [window, horizon_bin, unit] "
                f"with {windows} windows and {units} units"
            )
        expected = {
            "target_mask": self.log_rate.shape[:2],
            "counts": self.log_rate.shape,
            "reference_log_rate": (units,),
            "region": (units,),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise ForecastFileError(f"{name} of {self.session} is {value.shape}; expected {shape}")


_ARRAYS = {  # name: (axes, unit)
    "start_us": (("window",), "us"),
    "target_mask": (("window", "horizon_bin"), "bool"),
    "counts": (("window", "horizon_bin", "unit"), "spikes per bin"),
    "log_rate": (("window", "horizon_bin", "unit"), "ln(spikes per bin)"),
    "reference_log_rate": (("unit",), "ln(spikes per bin)"),
    "unit_id": (("unit",), "name"),
    "region": (("unit",), "name"),
}
_ATTRIBUTES = ("session", "subject", "lab", "source", "fold", "method", "encoder", "code", "bin_us")


def write_forecast(path: str | Path, forecast: Forecast) -> None:
    """Write the file, whole or not at all."""
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        for name in _ATTRIBUTES:
            file.attrs[name] = getattr(forecast, name)
        file.attrs["class"] = forecast.method_class
        # HDF5 has no None: an absent attribute is
        if forecast.seed is not None:
            file.attrs["seed"] = forecast.seed
        if forecast.left_out is not None:
            file.attrs["left_out"] = forecast.left_out
        for name, (axes, unit) in _ARRAYS.items():
            value = getattr(forecast, name)
            dataset = file.create_dataset(name, **_layout(name, value))
            dataset.attrs["axes"] = list(axes)
            dataset.attrs["unit"] = unit


def _layout(name: str, value: np.ndarray) -> dict:
    if name in ("unit_id", "region"):
        return {"data": np.array([str(item) for item in value], dtype=object), "dtype": h5py.string_dtype()}
    if name == "log_rate":
        value = np.asarray(value, dtype=np.float32)
    if name == "counts":
        value = value.astype(np.min_scalar_type(int(value.max(initial=0))))
    if value.ndim == 3 and value.size:
        # read whole or by window; constant forecasts, such as the reference mean, compress to almost nothing
        chunk = (min(len(value), WINDOWS_PER_CHUNK), *value.shape[1:])
        return {"data": value, "chunks": chunk, "compression": "gzip", "compression_opts": 1, "shuffle": True}
    return {"data": value}


def read_forecast(path: str | Path) -> Forecast:
    """Read and check a forecast file.

    Raises:
        ForecastFileError: Something is missing, or shapes disagree.
    """
    with open_forecast(path) as forecast:
        return replace(forecast, log_rate=forecast.log_rate[:])


@contextmanager
def open_forecast(path: str | Path) -> Iterator[Forecast]:
    """Open and check a forecast file, whose ``log_rate`` stays in the file and is read where it is sliced.

    Raises:
        ForecastFileError: Something is missing, or shapes disagree.
    """
    with h5py.File(path, "r") as file:
        yield _forecast_of(file, path)


def _forecast_of(file: h5py.File, path: str | Path) -> Forecast:
    missing = [name for name in (*_ATTRIBUTES, "class") if name not in file.attrs]
    missing += [name for name in _ARRAYS if name not in file]
    if missing:
        raise ForecastFileError(f"{path} lacks {', '.join(missing)}: it is not a forecast file of this version")
    values = {name: file.attrs[name] for name in _ATTRIBUTES}
    for name in _ARRAYS:
        if name in ("unit_id", "region"):
            values[name] = file[name].asstr()[:].astype(str)
        else:
            values[name] = file[name] if name == "log_rate" else file[name][:]
    return Forecast(
        **values | {"bin_us": int(values["bin_us"])},
        method_class=file.attrs["class"],
        seed=int(file.attrs["seed"]) if "seed" in file.attrs else None,
        left_out=file.attrs.get("left_out"),
    )


@contextmanager
def open_same_windows(paths: Sequence[str | Path]) -> Iterator[list[Forecast]]:
    """Open forecast files of the same windows, as :func:`open_forecast` does.

    Raises:
        ValueError: The files differ in their session, units or windows.
    """
    with ExitStack() as opened:
        forecasts = [opened.enter_context(open_forecast(path)) for path in paths]
        for path, one in zip(paths, forecasts, strict=True):
            if not _same_windows(one, forecasts[0]):
                raise ValueError(f"{path} and {paths[0]} differ in session, units or windows; rerun both")
        yield forecasts


def _same_windows(one: Forecast, other: Forecast) -> bool:
    return one.session == other.session and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("unit_id", "start_us", "target_mask", "counts")
    )
