"""Turn each ``envs/*.in`` into exact pins: conda environments for rules, plain requirements for the tools.

Run as ``make lock``. A conda environment has Python and pip from conda-forge and all other packages from
the pins, so that real conda and the stand-in make the same environment.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ENVS = Path(__file__).resolve().parent
TOOLS = ("workflow", "slurm", "kubernetes", "bucket", "test", "forecast", "docs")
RULES = tuple(sorted(path.stem for path in ENVS.glob("*.in") if path.stem not in TOOLS))
PYTHON = "3.11"
AS_OF = {"allen": "2024-06-01"}
"""Last release day of an environment's packages, if the newest packages do not work."""
ACCELERATOR = re.compile(r"nvidia-|cuda-|triton")


def pins(name: str) -> list[str]:
    """Resolve one ``.in`` file to ``package==version`` lines.

    Packages of an accelerator are excluded: each build of torch requires exact versions of them, and a
    build for the CPU requires none.
    """
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", PYTHON]
    if name in AS_OF:
        command += ["--exclude-newer", AS_OF[name]]
    # the version of a local wheel (torch's +cpu) must not enter the pins
    public = {key: value for key, value in os.environ.items() if key != "UV_FIND_LINKS"}
    resolved = subprocess.run(
        [*command, f"{name}.in"], cwd=ENVS, env=public, check=True, capture_output=True, text=True
    ).stdout
    return [line for line in resolved.splitlines() if not ACCELERATOR.match(line)]


def conda_environment(name: str) -> str:
    """Write the pins of a rule's environment in conda's form."""
    head = [
        f"# Generated from {name}.in by `make lock`: edit that file, not this one.",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        f"  - python ={PYTHON}",
        "  - pip",
        "  - pip:",
    ]
    return "\n".join([*head, *(f"      - {pin}" for pin in pins(name))]) + "\n"


def requirements(name: str) -> str:
    """Write the pins of a set of tools in the form of pip and uv."""
    return "\n".join([f"# Generated from {name}.in by `make lock`: edit that file, not this one.", *pins(name)]) + "\n"


def main(names: list[str]) -> None:
    """Write the pins of the named environments, or of all."""
    for name in names or (*RULES, *TOOLS):
        if name in RULES:
            (ENVS / f"{name}.yaml").write_text(conda_environment(name))
        else:
            (ENVS / f"{name}.txt").write_text(requirements(name))


if __name__ == "__main__":
    main(sys.argv[1:])
