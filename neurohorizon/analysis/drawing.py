"""Drawing a figure from the files of its tables."""

from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import get_type_hints

import pandas as pd

from neurohorizon.analysis.style import save_figure


def draw_files(*, draw: str, tables: Sequence[Path], output: Sequence[Path]) -> None:
    """Draw a figure from the files of its tables.

    Args:
        draw: Function that draws, as ``module:name``, with a parameter for each table. A parameter
            ``Annotated[Kind, read]`` is read with ``read``, any other one as Parquet.
        tables: Files, named as the parameters.
        output: Files to write; their suffixes decide the formats: .svg, .pdf or .png.
    """
    draw = resolve_name(draw)
    kinds = get_type_hints(draw, include_extras=True)
    readers = {name: getattr(kind, "__metadata__", (pd.read_parquet,))[0] for name, kind in kinds.items()}
    save_figure(draw(**{path.stem: readers[path.stem](path) for path in tables}), output)
