"""What this machine can do for a configuration: `make doctor`.

One line for each check, ``ok``, ``warning`` or ``problem``, and what to do about it. The exit status is 1 if a problem
would stop a run. It takes less than a minute: every address has a bounded time. Without a network it reports this, and
all other checks count. It writes nothing, and neither prints nor changes credentials.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from archives import check_image_encoder, check_network
from checklist import Check, as_text, summary
from needs import ENVIRONMENT_BYTES, Need, needs
from progress import remaining_bytes
from resources import NEEDS

from neurohorizon.cohort import CohortError, Row, cohort_hash, read_cohort, recorded_hash, sessions_in_use
from neurohorizon.config import Config, ConfigError, expand_folder, read_config
from neurohorizon.files import bytes_as_text
from neurohorizon.sources import SOURCES

ROOT = Path(__file__).resolve().parents[1]
COMMAND_S = 15.0
"""Longest time for a command, such as one that loads torch."""
MARGIN = 1.2
"""Free space below this multiple of an estimate is a warning."""
SHARED_MEMORY_BYTES = 1e9
"""Processes that make batches pass them through /dev/shm; containers often have 64 MB of it."""
LARGEST = {"preprocess_ibl": 2, "preprocess_allen": 1}
"""Rules that need most memory -> their largest attempt."""
AUDIT = "bwb"
"""Environment that only `make audit` needs."""


def main(path: str) -> int:
    """Print all checks of a configuration as they are made; return the exit status."""
    print(f"What this machine can do for {path}\n")
    terminal, checks = sys.stdout.isatty(), []
    for check in checks_of(path):
        width = shutil.get_terminal_size().columns if terminal else None
        print(as_text(check, width=width, colour=terminal), flush=True)
        checks.append(check)
    print(f"\n{summary(checks)}")
    print(f"To run: {command_line(path)}")
    return int(any(check.result == "problem" for check in checks))


def checks_of(path: str) -> Iterator[Check]:
    """Yield all checks of a configuration; those of the machine only if it cannot be read."""
    yield from check_tools(ROOT)
    yield from check_configuration(path)
    config, rows = configuration(path)
    if config:
        yield from check_recordings(config, rows)
        yield from check_network(config, rows)
        yield from check_image_encoder(config)
        yield from check_disk(config, rows)
        yield from check_memory(config)
        yield from check_gpu(config)
        yield from check_shared_memory(config)


def command_line(path: str) -> str:
    """Return the recommended command for a configuration on this machine."""
    chosen = "" if path == "config/config.yaml" else f" --configfile {path}"
    # --resources replaces the profile's, which bounds the downloads
    memory_mb = int(0.9 * memory_bytes() / 1e6) // 100 * 100
    return f"snakemake --cores {cores()}{chosen} --resources downloads=8 mem_mb={memory_mb}"


# the machine


def check_tools(root: Path) -> list[Check]:
    """Check Python, Snakemake, and what makes the environments of rules."""
    python = f"{sys.version.split()[0]}, Snakemake {version('snakemake')}"
    checks = [Check("Python", "ok", python)]
    if sys.version_info[:2] != (3, 11):
        checks = [Check("Python", "problem", python, "install Python 3.11, then: make clean; make doctor")]
    conda = shutil.which("conda")
    if not conda:
        return [*checks, Check("environments", "problem", "no conda on the PATH", "make .venv/ready adds a stand-in")]
    maker = "the stand-in for conda" if _is_standin(root) else "conda"
    all_of, made = (sorted(path.read_bytes() for path in folder) for folder in _environments(root))
    missing = len([one for one in all_of if one not in made])
    text = f"all {len(all_of)} are made"
    if missing:
        text = f"{len(all_of) - missing} of {len(all_of)} are made; {maker} makes the others when a rule needs them"
    return [*checks, Check("environments", "ok", text)]


def _environments(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of all environments, and Snakemake's copies of those that are made."""
    done = root.glob(".snakemake/conda/*.env_setup_done")
    copies = [path.with_name(path.name.removesuffix(".env_setup_done") + ".yaml") for path in done]
    wanted = sorted(path for path in root.glob("envs/*.yaml") if path.stem != AUDIT)
    return wanted, [path for path in copies if path.is_file()]


def _is_standin(root: Path) -> bool:
    folders = os.environ.get("PATH", "").split(os.pathsep)
    found = {os.path.realpath(path) for folder in folders if os.access(path := f"{folder}/conda", os.X_OK)}
    return all(path.endswith("standin/bin/conda") for path in found)


def cores() -> int:
    """Return the processors that this process may use, in a container too."""
    allowed = len(os.sched_getaffinity(0))
    quota, _, period = _read_text("/sys/fs/cgroup/cpu.max").partition(" ")
    return max(1, min(allowed, int(quota) // int(period))) if quota.isdigit() else allowed


def memory_bytes() -> float:
    """Return the memory of the machine, or of the container if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read_text("/sys/fs/cgroup/memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def largest_job(config: Config) -> tuple[str, int]:
    """Return the rule that needs most memory, of those that the configuration uses, and its ``mem_mb``."""
    # simulated recordings are small
    real = {name for name in SOURCES if getattr(config.sources, name) and not _simulated(config, name)}
    used = {rule: NEEDS[rule].mem_mb(0, attempt) for rule, attempt in LARGEST.items() if rule.split("_")[-1] in real}
    return max(used.items(), key=lambda item: item[1], default=("", 0))


def _simulated(config: Config, source: str) -> bool:
    simulator = SOURCES[source].simulator
    return bool(simulator) and getattr(config.sources, simulator) is not None


def check_memory(config: Config, *, total: float | None = None) -> list[Check]:
    """Compare memory with the largest job of the rules."""
    total = memory_bytes() if total is None else total
    rule, needed_mb = largest_job(config)
    found = f"{cores()} cores, {bytes_as_text(total)} of memory"
    if needed_mb:
        found += f"; the largest job, {rule}, needs {bytes_as_text(needed_mb * 1e6)}"
    if needed_mb * 1e6 > total:
        return [Check("memory", "problem", found, "use a machine with more memory")]
    return [Check("memory", "ok", found)]


def check_gpu(config: Config, *, listed: str | None = None) -> list[Check]:
    """Compare the GPUs that ``nvidia-smi`` lists with the section ``training``."""
    wanted, devices = config.training.accelerator, config.training.devices
    listed = _nvidia_smi() if listed is None else listed
    gpus = [line.strip() for line in listed.splitlines() if line.strip()]
    found = f"training.accelerator is {wanted}; " + (f"{len(gpus)} found: {gpus[0]}" if gpus else "no GPU found")
    if wanted == "gpu" and len(gpus) < devices:
        return [
            Check(
                "GPU",
                "problem",
                found + (f", and training.devices is {devices}" if gpus else ""),
                "run on a machine with GPUs, or set training.accelerator to cpu for small networks; time: docs/cost.md",
            )
        ]
    if gpus and wanted != "cpu" and torch_has_gpu(ROOT) is False:
        found += "; torch in the environment of envs/model.yaml cannot use it"
        advice = "install the CUDA packages of that torch in this environment, or another driver"
        return [Check("GPU", "problem" if wanted == "gpu" else "warning", found, advice)]
    return [Check("GPU", "ok", found)]


def torch_has_gpu(root: Path) -> bool | None:
    """Return whether torch of the rules finds a GPU; None if its environment is not made yet."""
    pins = (root / "envs" / "model.yaml").read_bytes()
    prefixes = [path.with_suffix("") for path in _environments(root)[1] if path.read_bytes() == pins]
    if not prefixes:
        return None
    command = [str(prefixes[0] / "bin" / "python"), "-c", "import torch; print(torch.cuda.is_available())"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() == "True"


def _nvidia_smi() -> str:
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def check_shared_memory(config: Config, *, size: float | None = None) -> list[Check]:
    """Check the shared memory, if processes make the batches; a line only if there is too little."""
    if size is None and Path("/dev/shm").is_dir():
        size = shutil.disk_usage("/dev/shm").total
    if not config.training.workers or size is None or size >= SHARED_MEMORY_BYTES:
        return []
    found = f"/dev/shm has {bytes_as_text(size)}, and training.workers is {config.training.workers}"
    advice = "a container: docker run --shm-size=8g; or set training.workers to 0"
    return [Check("shared memory", "warning", found, advice)]


# the configuration


def configuration(path: str) -> tuple[Config | None, tuple[Row, ...] | None]:
    """Return the configuration and its sessions; None for what cannot be read, or is not made yet."""
    try:
        config = read_config(path)
    except (ConfigError, OSError):
        return None, None
    try:
        return config, sessions_in_use(read_cohort(_table(config)), config.sources)
    except CohortError:
        return config, None


def _table(config: Config) -> Path:
    here = Path(config.cohort.table)
    return here if here.exists() or not (ROOT / here).exists() else ROOT / here


def check_configuration(path: str) -> list[Check]:
    """Check that the configuration and its cohort can be read, and the hash of a frozen cohort."""
    try:
        config = read_config(path)
    except (ConfigError, OSError) as error:
        return [Check("configuration", "problem", _one_line(error), "correct it; keys: neurohorizon/config.py")]
    checks = [Check("configuration", "ok", f"{path} is complete; the run is called {config.run.name}")]
    table = _table(config)
    if not table.exists() and config.cohort.is_made:
        origin = (
            f"the manifest {config.cohort.arrays.manifest}" if config.cohort.arrays else "the public release tables"
        )
        made = f"{table} is not made yet; its first job makes it from {origin}"
        return [*checks, Check("cohort", "ok", made)]
    try:
        rows = sessions_in_use(read_cohort(table), config.sources)
    except CohortError as error:
        return [*checks, Check("cohort", "problem", _one_line(error), "correct the table; docs/own-recording.md")]
    sources = [f"{sum(row.source == source for row in rows)} {source}" for source in SOURCES]
    counts = ", ".join(text for text in sources if not text.startswith("0 "))
    frozen = ", as recorded" if recorded_hash(table) else ", not frozen"
    found = f"{table}: {len(rows)} sessions ({counts}); sha256 {cohort_hash(table)[:12]}{frozen}"
    return [*checks, Check("cohort", "ok", found)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def check_recordings(config: Config, rows: Sequence[Row] | None) -> list[Check]:
    """Check that the recordings are there, for sources that are read from a folder."""
    checks = []
    for source, index in (("ibl", "sessions.pqt"), ("allen", "sessions.csv")):
        section = getattr(config.sources, source)
        if section and section.mode == "local" and not _simulated(config, source):
            there = Path(section.folder, index).is_file()
            found = f"{section.folder} has {'a' if there else 'no'} {index}"
            advice = "" if there else f"correct sources.{source}.folder; docs/run.md"
            checks.append(Check(f"{source} recordings", "ok" if there else "problem", found, advice))
    if config.sources.nwb and rows:
        folder = Path(expand_folder(os.environ.get("NEUROHORIZON_NWB", config.sources.nwb.folder)))
        names = [name for row in rows if row.source == "nwb" for name in row.recording_names]
        absent = [name for name in names if not (folder / name).is_file()]
        found = f"{len(names) - len(absent)} of {len(names)} files are in {folder}"
        found += f"; {absent[0]} is not" if absent else ""
        advice = "put them there, or set NEUROHORIZON_NWB to their folder" if absent else ""
        checks.append(Check("nwb recordings", "problem" if absent else "ok", found, advice))
    return checks


# disk


def check_disk(
    config: Config,
    rows: Sequence[Row] | None,
    *,
    free: Callable[[Path], float] | None = None,
    device: Callable[[Path], object] | None = None,
) -> list[Check]:
    """Compare the free space of each file system with what the run still writes there.

    Args:
        config: The configuration.
        rows: Sessions of the run, or None if a job of the run makes the table.
        free: Returns the free bytes at a folder.
        device: Returns the file system of a folder.
    """
    free = free or (lambda folder: shutil.disk_usage(folder).free)
    device = device or (lambda folder: folder.stat().st_dev)
    systems: dict[object, list[Need]] = {}
    for need in remaining_needs(config, rows):
        systems.setdefault(device(_existing(need.folder)), []).append(need)
    return [_space(wanted, free(_existing(wanted[0].folder))) for wanted in systems.values()]


def remaining_needs(config: Config, rows: Sequence[Row] | None) -> list[Need]:
    """Return what a run still writes: needs without the downloads, files and environments that are there."""
    found = []
    for need in needs(config, rows):
        source, _, kind = need.what.partition(" ")
        if kind == "downloads":
            size = need.size if rows is None else remaining_bytes(config, rows, source)
        else:
            folder = "forecasts" if need.what == "forecasts" else "sessions"
            size = max(0.0, need.size - folder_bytes(Path(config.run.results, folder)))
        if size or not need.size:
            found.append(Need(need.folder, need.what, size))
    files, made = _environments(ROOT)
    if share := max(0, len(files) - len(made)) / max(len(files), 1):
        found.append(Need(str(ROOT / ".snakemake"), "environments", share * ENVIRONMENT_BYTES))
    return found


def folder_bytes(folder: Path) -> float:
    """Return the size of all files below a folder."""
    return float(
        sum(
            os.path.getsize(path)
            for parent, _, names in os.walk(folder)
            for name in names
            if os.path.isfile(path := os.path.join(parent, name))
        )
    )


def _existing(folder: str | Path) -> Path:
    path = Path(folder).absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def _space(wanted: Sequence[Need], free: float) -> Check:
    total = sum(need.size for need in wanted)
    folders = ", ".join(dict.fromkeys(need.folder for need in wanted if need.what != "environments")) or "environments"
    parts = ", ".join(f"{need.what} {bytes_as_text(need.size) if need.size else 'not estimated'}" for need in wanted)
    found = f"{bytes_as_text(free)} free for {folders}; "
    found += f"a run still needs about {bytes_as_text(total)} ({parts})" if total else parts
    if free >= MARGIN * total:
        return Check("disk", "ok", found)
    advice = "free some, or give folders of another disk: run.results and sources.NAME.folder; a link is enough"
    return Check("disk", "problem" if free < total else "warning", found, advice)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "config/config.yaml"))
