"""Write the configuration of a run as YAML, for the report."""

import argparse
import json
from pathlib import Path

import yaml

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--config-json", type=json.loads, required=True)
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

arguments.output.write_text(yaml.safe_dump(arguments.config_json, sort_keys=False, default_flow_style=None))
