"""Zero-shot forecasting of neural population activity.

The names below are imported at their first use, so that ``import neurohorizon`` takes milliseconds::

    import neurohorizon as nh

    network = nh.load("hippocampus")
    recording = network.fit_reference(units, reference=(0.0, 600.0))
    forecast = recording.forecast(at=[620.0, 630.0])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurohorizon.forecasts.release import About as About
    from neurohorizon.forecasts.release import released as released
    from neurohorizon.models.weights import WeightsError as WeightsError
    from neurohorizon.recordings.forecast import Forecast as Forecast
    from neurohorizon.recordings.network import Network as Network
    from neurohorizon.recordings.network import load as load
    from neurohorizon.recordings.recording import Recording as Recording
    from neurohorizon.recordings.score import Score as Score
    from neurohorizon.recordings.stream import RecordingStream as RecordingStream
    from neurohorizon.session import SessionError as SessionError

__version__ = "0.1.0"

_HOMES = {
    "About": "forecasts.release",
    "Forecast": "recordings.forecast",
    "Network": "recordings.network",
    "Recording": "recordings.recording",
    "RecordingStream": "recordings.stream",
    "Score": "recordings.score",
    "SessionError": "session",
    "WeightsError": "models.weights",
    "load": "recordings.network",
    "released": "forecasts.release",
}
__all__ = [
    "About",
    "Forecast",
    "Network",
    "Recording",
    "RecordingStream",
    "Score",
    "SessionError",
    "WeightsError",
    "load",
    "released",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__name__):
            raise
        raise ModuleNotFoundError(
            f'neurohorizon.{name} needs {error.name}: pip install "neurohorizon[model]"', name=error.name
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
