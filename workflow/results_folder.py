"""Check a configuration before Snakemake reads it, and print the folder of its results: for `make`."""

import sys

from neurohorizon.config import ConfigError, read_config

if __name__ == "__main__":
    try:
        print(read_config(sys.argv[1]).run.results)
    except (ConfigError, OSError) as error:
        sys.exit(str(error))
