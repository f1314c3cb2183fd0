"""The files of a network, from its name or its path, without PyTorch."""

from difflib import get_close_matches
from pathlib import Path

SHIPPED = Path(__file__).resolve().parent / "weights"
"""Folder of the released weights that the package contains; see :mod:`neurohorizon.forecasts.release`."""
WEIGHTS = "model.safetensors"
"""Name of the weights in the folder of a network of a run."""


class NoSuchNetworkError(ValueError):
    """A name is none of the released weights."""


def weights_path(network: str | Path) -> Path:
    """Return the path of the weights of a network; its card has the same name with the ending ``.json``.

    Args:
        network: Name of released weights; path of weights, which need not exist; or the folder of a network.

    Raises:
        NoSuchNetworkError: It is no path, and the package has no released weights of this name.
    """
    path = expected_path(network)
    names = released_names()
    if path == _released_path(network) and network not in names:
        near = get_close_matches(str(network), names, n=1)
        listed = f"it has {', '.join(names)}" if names else "it has none"
        raise NoSuchNetworkError(
            f"the package has no released weights {network!r}; {listed}"
            + (f"; did you mean {near[0]!r}?" if near else "; give one of them, or the path of a network")
        )
    return path


def expected_path(network: str | Path) -> Path:
    """Return the path that the weights of a network have if they exist; see :func:`weights_path`."""
    path = Path(network)
    if path.is_dir():
        return path / WEIGHTS
    is_path = path.exists() or isinstance(network, Path) or len(path.parts) > 1 or path.suffix
    return path if is_path else _released_path(network)


def _released_path(name: str | Path) -> Path:
    return SHIPPED / f"{name}.safetensors"


def cards_in(folder: Path | None = None) -> list[Path]:
    """Return the JSON files of the releases in a folder, by name; None: of those of the package."""
    folder = SHIPPED if folder is None else folder
    return sorted(path for path in folder.glob("*.json") if path.with_suffix(".safetensors").is_file())


def released_names() -> list[str]:
    """Return the names of the released weights of the package."""
    return [one.stem for one in cards_in()]


def is_shipped(folder: Path) -> bool:
    """Return True for the folder of the released weights of the package."""
    return folder.resolve() == SHIPPED.resolve()
