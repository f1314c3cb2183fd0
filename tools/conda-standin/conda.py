"""A stand-in for ``conda``: the few calls that Snakemake uses; ``bin/conda`` answers two of them itself.

py-rattler solves and links packages of a conda channel; uv installs those of an environment's ``pip:`` section.
If no channel answers, Python comes from this machine through a channel on disk; pins from the package index are
still installed by uv.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from local_channel import write_channel
from rattler import Channel, ChannelConfig, VirtualPackage, install, solve
from rattler.platform import Platform

HERE = Path(__file__).resolve().parent
VERSION = "24.7.1"  # version of conda whose answers are imitated, the oldest that Snakemake accepts
# rattler's default address of channels, unless conda's own variable gives one
PUBLIC = ChannelConfig(*filter(None, [os.environ.get("CONDA_CHANNEL_ALIAS")]))
LOCAL_CHANNELS = HERE / "channels"
PROBE_SECONDS = 4
PROBE_LASTS_SECONDS = 3600
SOLVE_SECONDS = 600


def main(arguments: list[str]) -> None:
    """Answer one call."""
    match arguments:
        case ["info", *_]:
            reachable_channels()  # Snakemake shows stderr only of this call: report the origin of Python here
            platform = str(Platform.current())
            print(json.dumps({"conda_prefix": str(HERE), "platform": platform, "conda_version": VERSION}))
        case ["clean", *_]:
            pass
        case ["env", "create", *rest]:
            options = _options(rest, "--file", "--prefix")
            create(yaml.safe_load(Path(options.file).read_text()), Path(options.prefix).absolute())
        case ["env", "export", *rest]:
            names = [f"  - {record.stem}" for record in _records(_options(rest, "--prefix").prefix)]
            print("\n".join(["dependencies:", *names]))
        case ["list", "--explicit", *rest]:
            records = _records(_options(rest, "--prefix").prefix)
            print("\n".join(["@EXPLICIT", *(json.loads(record.read_text())["url"] for record in records)]))
        case _:
            sys.exit(f"conda stand-in: cannot answer {' '.join(arguments)!r}; install conda for this")


def create(environment: dict, prefix: Path) -> None:
    """Make an environment; if this fails, remove all of it."""
    specs = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pins = [pin for entry in environment["dependencies"] if isinstance(entry, dict) for pin in entry["pip"]]
    channels = [name for name in environment["channels"] if name != "nodefaults"]
    try:
        asyncio.run(asyncio.wait_for(_link(channels, specs, prefix), timeout=SOLVE_SECONDS))
        _install(pins, prefix)
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        raise


async def _link(channels: list[str], specs: list[str], prefix: Path) -> None:
    configuration = reachable_channels()
    local = configuration is not PUBLIC
    if local:
        write_channel(LOCAL_CHANNELS / "conda-forge", platform=str(Platform.current()))
    records = await solve(
        sources=[Channel(name, configuration) for name in channels],
        specs=specs,
        platforms=[Platform.current(), Platform("noarch")],
        virtual_packages=VirtualPackage.detect(),
    )
    # rattler's own cache is for public packages, not for packages of this machine
    cache = LOCAL_CHANNELS / "cache" if local else None
    await install(records=records, target_prefix=prefix, cache_dir=cache, show_progress=False)


def _install(pins: list[str], prefix: Path) -> None:
    if not pins:
        return
    requirements = prefix / "conda-meta" / "pip-requirements.txt"
    requirements.write_text("\n".join(pins) + "\n")
    environment = dict(os.environ)
    if "PIP_FIND_LINKS" in environment:  # uv does not use pip's settings
        environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
    uv = Path(sys.executable).with_name("uv")
    python = prefix / "bin" / "python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, "--requirements", requirements],
        env=environment,
        check=True,
    )


def reachable_channels() -> ChannelConfig:
    """Return the address of channels: the public one if it answers, else a folder of this machine.

    The result is kept for an hour, so that a machine without network waits once, not at every call.
    """
    finding = LOCAL_CHANNELS / "reachable.json"
    address = str(Channel("conda-forge", PUBLIC).base_url)
    try:
        known = json.loads(finding.read_text())
    except (FileNotFoundError, ValueError):
        known = {"address": None}
    if known["address"] == address and time.time() - known["when"] < PROBE_LASTS_SECONDS:
        reachable = known["reachable"]
    else:
        reachable = _answers(f"{address}noarch/repodata.json.zst")
        LOCAL_CHANNELS.mkdir(parents=True, exist_ok=True)
        finding.write_text(json.dumps({"when": time.time(), "address": address, "reachable": reachable}))
        if not reachable:
            host = f"Python {sys.version_info.major}.{sys.version_info.minor} of this machine"
            print(f"No conda and no conda channel here: environments use {host}.", file=sys.stderr)
    return PUBLIC if reachable else ChannelConfig(channel_alias=f"{LOCAL_CHANNELS.as_uri()}/")


def _answers(url: str) -> bool:
    found = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:
                found.append(answer.status == 200)
        except (urllib.error.URLError, OSError):
            found.append(False)

    # the socket's own timeout does not include the wait for a name server
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PROBE_SECONDS)
    return found == [True]


def _options(arguments: list[str], *names: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conda", add_help=False)
    for name in names:
        parser.add_argument(name, required=True)
    return parser.parse_known_args(arguments)[0]


def _records(prefix: str) -> list[Path]:
    return sorted((Path(prefix) / "conda-meta").glob("*.json"))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
        status = 0
    except subprocess.CalledProcessError as error:
        print(f"conda stand-in: {Path(error.cmd[0]).name} failed", file=sys.stderr)
        status = error.returncode
    except (SystemExit, KeyboardInterrupt):
        raise
    except Exception as error:
        print(f"conda stand-in: {error}", file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # py-rattler's threads can crash a normal exit
