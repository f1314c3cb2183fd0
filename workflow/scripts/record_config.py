"""Write the configuration of a run as YAML, for the report."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from workflow.command import run


def record_config(*, config: Mapping, output: Path) -> None:
    """Write the whole configuration as YAML."""
    output.write_text(yaml.safe_dump(config, sort_keys=False, default_flow_style=None))


run(record_config)
