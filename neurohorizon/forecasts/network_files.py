"""The files of a network, from its name or its path, without PyTorch."""

from difflib import get_close_matches
from pathlib import Path

from neurohorizon.files import SHIPPED

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
    path = Path(network)
    if path.is_dir():
        return path / WEIGHTS
    if path.exists() or isinstance(network, Path) or len(path.parts) > 1 or path.suffix:
        return path
    names = [one.stem for one in cards_in(SHIPPED)]
    if network in names:
        return SHIPPED / f"{network}.safetensors"
    near = get_close_matches(network, names, n=1)
    listed = f"it has {', '.join(names)}" if names else "it has none"
    raise NoSuchNetworkError(
        f"the package has no released weights {network!r}; {listed}"
        + (f"; did you mean {near[0]!r}?" if near else "; give one of them, or the path of a network")
    )


def cards_in(folder: Path) -> list[Path]:
    """Return the JSON files of the releases in a folder, by name."""
    return sorted(path for path in folder.glob("*.json") if path.with_suffix(".safetensors").is_file())
