"""Expected cost of a run: jobs, training steps, hours and disk by experiment.

Jobs and files are those of a dry run. The time of a training step is measured on a simulated recording and multiplied.
Hours are given for this machine, and for a machine of a given speed (``--sustained-tflops``). Disk is computed from
published sizes of recordings. The output is Markdown.

    snakemake -n --configfile config/config.yaml > plan.txt
    PYTHONPATH=.:workflow:tests OMP_NUM_THREADS=1 .venv-test/bin/python benchmarks/cost.py --plan plan.txt
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from needs import TYPICAL

from benchmarks.recordings import inputs_of, write_recording
from benchmarks.side_by_side import median_seconds
from benchmarks.training_step import forecaster_of, operations, optimiser_step, parameters, stream_of
from neurohorizon.cohort import read_cohort
from neurohorizon.config import Config, read_config
from neurohorizon.experiments.catalogue import CATALOGUE
from neurohorizon.models.batch import Tensors
from neurohorizon.models.likelihoods import count_loss

_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)+)", flags=re.M)


@dataclass(frozen=True)
class Job:
    """A job of a dry run.

    Attributes:
        rule: Its rule.
        experiment: Its experiment; ``cross_session`` for jobs that several experiments share.
        outputs: Its output files.
        inputs: Its input files.
        threads: Cores that it takes.
        devices: Devices that it takes.
        downloads: Whether it is one of the downloads, 1 or 0.
    """

    rule: str
    experiment: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    threads: int = 1
    devices: int = 0
    downloads: int = 0


def jobs_of(plan: str, results: str) -> Iterator[Job]:
    """Read the jobs of a dry run.

    Args:
        plan: Output of ``snakemake -n``.
        results: The run's folder.
    """
    for rule, body in _JOB.findall(plan):
        inputs, outputs = (
            tuple(found[1].split(", ")) if (found := re.search(rf"^    {name}: (.*)$", body, flags=re.M)) else ()
            for name in ("input", "output")
        )
        folders = {path.removeprefix(f"{results}/").split("/")[0] for path in outputs}
        experiment = next((one.whole.name for one in CATALOGUE.values() if one.folder in folders), "cross_session")
        numbers = (r"^    threads: (\d+)$", r"\bgpu=(\d+)", r"\bdownloads=(\d+)")
        threads, devices, downloads = (re.search(one, body, flags=re.M) for one in numbers)
        yield Job(
            rule,
            experiment,
            outputs,
            inputs=inputs,
            threads=int(threads[1]) if threads else 1,
            devices=int(devices[1]) if devices else 0,
            downloads=int(downloads[1]) if downloads else 0,
        )


def training_steps(job: Job, config: Config) -> tuple[str, int]:
    """Return the size of the network that a job trains ("": that of the configuration), and its maximum of steps."""
    if job.rule == "train":
        return "", config.training.steps
    if job.rule == "train_multimodal":
        return "", config.multimodal.steps
    if job.rule == "fit_within_session":
        return "", config.baselines.learned_embedding.steps
    if job.rule == "train_point":
        return size_of(job), getattr(config, job.experiment).steps
    return "", 0


def size_of(job: Job) -> str:
    """Return the size of the network of a point of experiment 2; "" for the network of the configuration."""
    found = re.search(r"/size-([\w-]+)_seed-", job.outputs[0] if job.outputs else "")
    return found[1] if found else ""


def gigabytes(job: Job, config: Config, sources: dict[str, str]) -> float:
    """Return the disk space of the forecasts or of the session that a job writes; other files are small."""
    return sum(file_bytes(path, config, sources) for path in job.outputs) / 1e9


def file_bytes(path: str, config: Config, sources: dict[str, str]) -> float:
    """Return the size of a session file or of forecasts of a typical recording; other files are small: 0."""
    found = re.search(r"/forecasts/[^/]+/([^/]+)/[^/]+\.h5$", path)
    if found and "/multimodal/" not in path:
        return TYPICAL[sources[found[1]]].forecast_bytes(config)
    found = re.search(r"/sessions/(\w+)/[^/]+\.h5$", path)
    return TYPICAL[found[1]].session_bytes if found else 0.0


def measure_step(config: Config, sizes: dict[str, int], device: str) -> dict[str, float]:
    """Measure a training step of the configuration on a simulated recording of typical size.

    All sessions of a batch have the same size: one is measured, and multiplied by the number of sessions in a batch.

    Returns:
        ``parameters`` in millions, ``tera`` floating-point operations of the matrix products, and ``seconds``.
    """
    typical = TYPICAL["ibl"]
    # simulated recordings are short, and the gap between their parts has no effect on the time
    config = config.model_copy(update={"splits": config.splits.model_copy(update={"gap_s": 2.0})})
    with tempfile.TemporaryDirectory() as folder:
        paths = write_recording(Path(folder), config, name="typical", n_units=typical.units, duration_s=900.0, seed=0)
        session = inputs_of(paths, config)
    forecaster = forecaster_of(config, [session], sizes).to(device)
    batch = stream_of([session], config, windows=config.training.windows_per_session).batch(0)
    x = Tensors.of(batch, device)
    step = optimiser_step(forecaster, lambda: count_loss(forecaster(x), x))
    sessions = config.training.sessions_per_batch
    return {
        "parameters": parameters(forecaster) / 1e6,
        "tera": sessions * operations(step) / 1e12,
        "seconds": sessions * median_seconds(step, repeats=3),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--plan", type=Path, required=True, help="output of snakemake -n")
    parser.add_argument("--device", default="cpu", help="device on which a step is measured: cpu or cuda")
    parser.add_argument(
        "--sustained-tflops", type=float, default=20.0, help="speed of the machine for which hours are computed"
    )
    arguments = parser.parse_args()
    config = read_config(arguments.config)
    sources = {row.session: row.source for row in read_cohort(config.cohort.table)}
    jobs = list(jobs_of(arguments.plan.read_text(), config.run.results))
    steps: dict[str, Counter] = {}
    for job in jobs:
        size, number = training_steps(job, config)
        if number:
            steps.setdefault(job.experiment, Counter())[size] += number
    measured = {
        size: measure_step(config, config.scaling.sizes[size].model_dump() if size else {}, arguments.device)
        for size in sorted({size for of in steps.values() for size in of})
    }
    _print(
        ["network", "M parameters", "TFLOP a step", "s a step here"],
        [
            [size or "main", f"{one['parameters']:.1f}", f"{one['tera']:.2f}", f"{one['seconds']:.1f}"]
            for size, one in measured.items()
        ],
    )
    rows = []
    for name in dict.fromkeys(job.experiment for job in jobs):
        own, taken = [job for job in jobs if job.experiment == name], steps.get(name, Counter())
        here = sum(number * measured[size]["seconds"] for size, number in taken.items()) / 3600
        tera = sum(number * measured[size]["tera"] for size, number in taken.items())
        trained = sum(training_steps(job, config)[1] > 0 for job in own)
        disk = sum(gigabytes(job, config, sources) for job in own)
        hours = [f"{here:.0f}", f"{tera / arguments.sustained_tflops / 3600:.0f}"]
        rows.append([name, str(len(own)), str(trained), f"{sum(taken.values()) / 1e3:.0f}", *hours, f"{disk:.0f}"])
    _print(["experiment", "jobs", "that train", "k steps", "h here", "h at speed", "GB"], rows)


def _print(head: list[str], rows: list[list[str]]) -> None:
    lines = [head, ["---"] * len(head), *rows]
    print("".join(f"| {' | '.join(line)} |\n" for line in lines))


if __name__ == "__main__":
    main()
