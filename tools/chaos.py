"""Disturb a small run on purpose, and write what became of it to docs/reliability.md.

``make chaos`` runs the miniature of the tests once undisturbed. Then it kills runs at random moments, fills their disk,
and damages every kind of file between two starts. After each fault the same command is started again, as a user would.
Every finished fault is a line of ``build/chaos/seed-N/faults.jsonl``; the campaign, started again, goes on behind it.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")]

from chaos_page import write_page  # noqa: E402
from factories.tiny_run import HELD_OUT, RESULTS, write_miniature  # noqa: E402
from factories.workflow import copy_workflow  # noqa: E402

from neurohorizon.files import RECORDED_FOLDER, damage, recorded_files, unfinished_parts  # noqa: E402

KILLED = ("group", "scheduler", "job")
"""What is killed: all processes of a run, only Snakemake's main process, or one job."""
SMALLER = {
    "sources": {"allen": None, "simulated_allen": None, "simulated": {"labs": 1, "animals_per_lab": 3}},
    "baselines": {"controls": [], "learned_embedding": None, "networks": ["own_history"]},
    "scaling": {"arms": []},
    **dict.fromkeys(("multimodal", "poyo", "downstream", "ablations", "rollout", "latent_readout")),
}
"""Changes of the miniature: one source and one held-out animal, but the whole way from a release to a report."""
KINDS = {
    "recording of the release": ("release/**/spikes.times.npy", "preprocess_ibl"),
    "list of downloaded files": ("raw/ibl/sim*.json", ""),
    "true rates of a simulation": (f"truth/*{HELD_OUT[0]}*.h5", ""),  # only those of held-out sessions are read
    "session file": ("sessions/ibl/sim*.h5", ""),
    "features of units": ("features/ibl/sim*.h5", ""),
    "population readout": ("readouts/ibl/sim*.h5", ""),
    "settings of baselines": ("models/*/baselines.json", ""),
    "weights": ("models/*/neurohorizon_seed-0/model.safetensors", ""),
    "card of weights": ("models/*/neurohorizon_seed-0/model.json", ""),
    "forecasts": ("forecasts/*/*/*.h5", ""),
    "sums of scores": ("scores/*/*.parquet", ""),
    "sums of a point of a scaling law": ("scaling/*/*/scores.parquet", ""),
    "table that others are made from": ("cross_session/tables/summary.parquet", ""),
}
"""Kind of file -> its place in the results, and the rule that reads it, if Snakemake does not see that it changed."""
RESULTS_OF_A_RUN = {
    "table as text": "cross_session/tables/*.tsv",
    "figure": "cross_session/figures/*.svg",
    "page of the report": "report.html",
}
"""Kind of file that no rule reads -> its place in the results."""
DISKS = {"results": (0.05, 0.35, 0.9), "notebook": (0.3,), "project": (0.3, 0.8)}
"""What lies on the small disk -> its sizes, as shares of what the run needs there."""
UNFINISHED = {
    "results": ("forecasts", "scores", "cross_session", "report", "report.html"),
    "notebook": ("cross_session/notebooks",),
    "project": ("cross_session", "report", "report.html"),
}
"""What lies on the small disk -> the results that are made there; the others are there already."""
PARTS = ["kills", "disks", "damage"]
DONE_S = 3600.0
"""Longest time of one start of a run."""


@dataclass
class Run:
    """One start of Snakemake.

    Attributes:
        process: Its main process, the first of a group.
        log: File of what it prints.
        started: Time of the start.
    """

    process: subprocess.Popen
    log: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    def wait(self) -> int:
        """Wait for its end, and return its status."""
        try:
            return self.process.wait(DONE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return 1


class Project:
    """A copy of the project with the miniature, in which runs are started."""

    def __init__(self, root: Path, *, copied: bool = False) -> None:
        self.root = root
        self.results = root / RESULTS
        # notebooks have the place of their tables as a parameter, which is another one in a copy
        self.options = ["--rerun-triggers", "mtime"] if copied else []

    def make(self) -> "Project":
        """Write the copy, if it is not there."""
        if not (self.root / "config" / "miniature.yaml").exists():
            copy_workflow(self.root)
            write_miniature(self.root, **SMALLER)
        return self

    def start(self, *arguments: str) -> Run:
        """Start the command of a user."""
        tools = ROOT / ".venv" / "bin"
        command = [
            tools / "snakemake",
            *arguments,
            "--cores",
            "1",
            "--configfile",
            "config/miniature.yaml",
            *self.options,
        ]
        environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        log = self.root.with_suffix(".log")
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, "--conda-prefix", ROOT / ".snakemake" / "conda"],
                cwd=self.root,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Run(process, log)

    def jobs(self) -> list[psutil.Process]:
        """Return the first process of each job that works in the copy."""
        marked = [one for one in self.processes() if _is_of_a_job(one)]
        numbers = {one.pid for one in marked}
        return [one for one in marked if _parent(one) not in numbers]

    def processes(self) -> list[psutil.Process]:
        """Return all processes that work in the copy."""
        found = []
        for one in psutil.process_iter():
            try:
                if one.status() != psutil.STATUS_ZOMBIE and Path(one.cwd()) == self.root:
                    found.append(one)
            except psutil.Error:
                continue
        return found

    def tables(self) -> dict[str, bytes]:
        """Return the tables and the scores of the run."""
        paths = [*self.results.rglob("tables/*.tsv"), *self.results.rglob("tables/*.txt")]
        return {str(path.relative_to(self.results)): path.read_bytes() for path in sorted(paths)}

    def half_written(self) -> list[str]:
        """Return files that were left unfinished, or that differ from their record."""
        damaged = [one for one in recorded_files(self.results) if damage(one)]
        return sorted(map(str, [*unfinished_parts(self.results), *damaged]))


class Campaign:
    """All faults of a seed, and what became of them.

    Args:
        folder: Folder of the copies and of the list of finished faults.
        seed: Seed of moments and positions.
        kills: Number of kills.
    """

    def __init__(self, folder: Path, *, seed: int, kills: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.seed, self.kills = folder, seed, kills
        self.list = folder / "faults.jsonl"
        self.done = self.read()
        self.reference = Project(folder / "reference")

    def read(self) -> list[dict]:
        """Return the finished faults."""
        return [json.loads(line) for line in self.list.read_text().splitlines()] if self.list.exists() else []

    def run(self, parts: Sequence[str]) -> bool:
        """Do all faults of some parts that are not done yet, and return whether none was harmful."""
        self.undisturbed()
        if "kills" in parts:
            self.kill_runs()
        if "disks" in parts:
            for place, shares in DISKS.items():
                self.fill_disks(place, shares)
        if "damage" in parts:
            self.damage_files()
            self.damage_results()
            self.damage_checkpoints()
            self.follow_messages()
        self.done = self.read()  # other parts may run at the same time
        return not [one for one in self.done if one["outcome"] == "harm"]

    def note(self, fault: str, name: str, outcome: str, **values: object) -> None:
        """Add a finished fault to the list."""
        self.done.append({"fault": fault, "name": name, "outcome": outcome, **values})
        with self.list.open("a") as file:
            file.write(json.dumps(self.done[-1]) + "\n")
        print(f"{len(self.done):4} {fault:10} {name:45} {outcome}  {values.get('says', '')}", flush=True)

    def finished(self, fault: str, name: str = "") -> dict | None:
        """Return a fault that is done."""
        return next((one for one in self.done if one["fault"] == fault and name in ("", one["name"])), None)

    def forget(self, fault: str, name: str) -> None:
        """Remove unfinished steps from the list."""
        self.done = [one for one in self.read() if one["fault"] != fault or not one["name"].startswith(name)]
        self.list.write_text("".join(json.dumps(one) + "\n" for one in self.done))

    def rng(self, *names: object) -> random.Random:
        """Return the generator of one fault, which does not depend on those before it."""
        return random.Random(repr((self.seed, *names)))

    def undisturbed(self) -> None:
        """Run once without a fault."""
        if self.finished("none"):
            return
        run = self.reference.make().start("all")
        if run.wait():
            raise SystemExit(f"the undisturbed run fails:\n{run.text[-3000:]}")
        size = _size([self.reference.results])
        values = {"wall_s": time.monotonic() - run.started, "bytes": size, "tables": len(self.reference.tables())}
        self.note("none", "undisturbed run", "same", jobs=run.text.count("\nFinished jobid"), **values)

    # kills

    def kill_runs(self) -> None:
        """Kill runs at random moments until there were enough kills, and let the last one finish."""
        whole_s = self.finished("none")["wall_s"]
        number = sum(one["fault"] == "kill" for one in self.done)
        project = self.killed_project().make()
        run = project.start("all")
        while number < self.kills:
            rng = self.rng("kill", number)
            what, after_s = KILLED[number % len(KILLED)], rng.uniform(1.0, 0.1 * whole_s)
            try:
                status = run.process.wait(after_s)
            except subprocess.TimeoutExpired:
                values, run = self.kill(project, run, what, rng)
                self.note("kill", what, **values, after_s=after_s)
                number += 1
                continue
            if status and "is kept: process" in run.text:  # of an earlier campaign, or of a kernel of a notebook
                while project.processes():
                    time.sleep(0.5)
            elif status:
                self.note("kill", what, "harm", says=_reason(run.text))
                number += 1
            else:
                self.compare_killed(project)
                project = self.killed_project().make()
            run = project.start("all")
        if run.wait():
            run = project.start("all")
        if not self.finished("kill end", "last"):
            self.compare_killed(project, status=run.wait(), name="last")

    def killed_project(self) -> Project:
        """Return the copy of the present sequence of kills."""
        ended = sum(one["fault"] == "kill end" for one in self.done)
        return Project(self.folder / f"killed-{ended}")

    def compare_killed(self, project: Project, *, status: int = 0, name: str = "sequence") -> None:
        """Compare the tables of a run that was killed several times, and delete it."""
        faults = self.faults_of(project)
        self.note("kill end", name, "harm" if status or faults else "same", says="; ".join(faults))
        if not faults and not status:
            shutil.rmtree(project.root)

    def faults_of(self, project: Project) -> list[str]:
        """Return how a finished run differs from the undisturbed one."""
        found, expected = project.tables(), self.reference.tables()
        other = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        return [f"{name} differs" for name in other] + [f"{name} is left" for name in project.half_written()]

    def kill(self, project: Project, run: Run, what: str, rng: random.Random) -> tuple[dict, Run]:
        """Kill part of a run, and start the same command again.

        Returns:
            What is noted, and the run that goes on.
        """
        while what == "job" and run.process.poll() is None and not project.jobs():
            time.sleep(0.2)
        jobs, says = project.jobs(), ""
        lost_s = sum(time.time() - one.create_time() for one in jobs)
        if what == "job":
            for one in rng.sample(jobs, min(1, len(jobs))):
                one.kill()
            # a rule with retries starts the job again in the same run
            while run.process.poll() is None and not set(project.jobs()) - set(jobs):
                time.sleep(0.2)
            if run.process.poll() is None:
                return {"outcome": "went on", "lost_s": lost_s, "says": "retried", "jobs": len(jobs)}, run
            says = _reason(run.text)
        else:
            _kill(run.process.pid, group=what == "group")
            run.process.wait()
        killed = time.time()
        second, outcome = project.start("all"), "went on"
        # it refuses as long as a process of the killed run works
        while second.process.poll() is None and "Select jobs to execute" not in second.text:
            lost_s += _passed(jobs) if what == "scheduler" else _passed([])
        if second.process.poll():
            kept = [line for line in second.text.splitlines() if "is kept: process" in line]
            outcome, says = ("refused, then went on", kept[0]) if kept else ("harm", _reason(second.text))
            while project.processes() and time.time() - killed < DONE_S:
                lost_s += _passed(jobs) if what == "scheduler" else _passed([])
            second = project.start("all")
        values = {"outcome": outcome, "lost_s": lost_s, "says": says, "jobs": len(jobs)}
        return values, second

    # disks

    def fill_disks(self, place: str, shares: tuple[float, ...]) -> None:
        """Run on a disk that is too small, and enlarge it step by step."""
        if self.finished("disk end", place):
            return
        project = Project(self.folder / f"disk-{place}", copied=True)
        small = project.root if place == "project" else project.results
        self.forget("disk", place)
        if small.is_mount():
            subprocess.run(["umount", small], check=True)
        shutil.rmtree(project.root, ignore_errors=True)
        small.mkdir(parents=True)
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", small], check=False).returncode:
            self.note("disk end", place, "skipped", says="a small disk cannot be mounted here: it needs root")
            return
        shutil.copytree(self.reference.root, project.root, symlinks=True, dirs_exist_ok=True)
        made = [project.results / name for name in UNFINISHED[place]]
        size = _size(made)
        for path in made:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        first = _used(small)
        for share in shares:
            name = f"{place}, {share:.0%}"
            _resize(small, max(first + int(share * size), _used(small) + (1 << 16)))
            run = project.start("all")
            status = run.wait()
            named = [line for line in run.text.splitlines() if "disk is full" in line or "The disk of" in line]
            says = _reason(run.text) if status else ""
            advised = "start the same command again" in run.text
            left = project.half_written()
            outcome = "named" if status and advised and named and not left else "harm"
            self.note("disk", name, outcome, says=says, left=left, traceback="Traceback" in run.text)
        _resize(small, 1 << 34)
        run = project.start("all")
        faults = [_reason(run.text)] if run.wait() else self.faults_of(project)
        self.note("disk end", place, "harm" if faults else "same", says="; ".join(faults))
        subprocess.run(["umount", small], check=True)
        shutil.rmtree(project.root, ignore_errors=True)

    # damage

    def copy(self, name: str) -> Project:
        """Return a fresh copy of the undisturbed run."""
        project = Project(self.folder / name, copied=True)
        shutil.rmtree(project.root, ignore_errors=True)
        shutil.copytree(self.reference.root, project.root, symlinks=True)
        return project

    def damages(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        """Yield each way to damage a file of a kind: name -> function."""
        yield "cut", self.cut
        yield "one bit", self.flip

    def cut(self, path: Path) -> None:
        """Cut a file at a random place."""
        content = path.read_bytes()
        path.write_bytes(content[: self.rng("cut", path.name).randrange(len(content))])

    def flip(self, path: Path) -> None:
        """Flip one random bit of a file."""
        content, rng = bytearray(path.read_bytes()), self.rng("flip", path.name)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)

    def chosen(self, project: Project, pattern: str, *names: object) -> Path:
        """Return a random file of a kind."""
        files = [one for one in sorted(project.results.glob(pattern)) if one.stat().st_size]
        return self.rng("file", pattern, *names).choice(files)

    def damaged(self, kinds: Mapping[str, str]) -> Iterator[tuple[str, str, Project, Path]]:
        """Yield each fault of some kinds of files that is not done: fault, kind, the copy of the run, the damaged file.

        Args:
            kinds: Kind of file -> its place in the results.
        """
        for kind, pattern in kinds.items():
            for way, spoil in self.damages():
                if not self.finished(f"damage: {way}", kind):
                    project = self.copy("damaged")
                    path = self.chosen(project, pattern, way)
                    spoil(path)
                    yield f"damage: {way}", kind, project, path

    def damage_files(self) -> None:
        """Damage a file of each kind in each way, and start the run again."""
        for fault, kind, project, path in self.damaged({kind: pattern for kind, (pattern, _) in KINDS.items()}):
            reader = KINDS[kind][1]
            run = project.start("all", *(["--forcerun", reader] if reader else []))
            self.judge(fault, kind, project, run, path)

    def judge(self, fault: str, kind: str, project: Project, run: Run, path: Path) -> None:
        """Note what a start after a damage does."""
        status, says = run.wait(), _reason(run.text)
        named = path.name in says and ("start the same command again" in run.text or "run again" in run.text)
        if status:
            outcome = "named" if named and "Traceback" not in says else "harm"
        else:
            faults = self.faults_of(project)
            outcome, says = ("harm", "; ".join(faults)) if faults else ("same", "")
        self.note(fault, kind, outcome, says=says, file=str(path.relative_to(project.root)))

    def damage_checkpoints(self) -> None:
        """Kill a training after its first checkpoint, damage one, and let the training go on."""
        ways = [("last.ckpt", *one) for one in self.damages()] + [("best.ckpt", "one bit", self.flip)]
        for name, way, spoil in ways:
            kind = f"checkpoint, {name.removesuffix('.ckpt')}"
            if self.finished(f"damage: {way}", kind):
                continue
            project = self.copy("damaged")
            weights = sorted(project.results.glob("models/*/neurohorizon_seed-0/*.safetensors"))[0]
            expected = weights.read_bytes()
            weights.unlink()
            target = str(weights.relative_to(project.root))
            run = project.start(target)
            while run.process.poll() is None and not list(project.results.rglob("last.ckpt")):
                time.sleep(0.002)
            _kill(run.process.pid, group=True)
            run.process.wait()
            found = sorted(project.results.rglob(name))
            if not found:
                raise SystemExit(f"no checkpoint was there in time:\n{run.text[-2000:]}")
            spoil(found[0])
            run = project.start(target)
            status = run.wait()
            logged = "".join(one.read_text() for one in project.results.glob("logs/train/*/neurohorizon_seed-0.log"))
            aside = [line for line in logged.splitlines() if "the training starts again" in line]
            says = _reason(run.text) if status else "".join(aside[:1])
            if status:
                outcome = "named" if name in says and "run again" in says else "harm"
            else:
                outcome = "harm" if weights.read_bytes() != expected else "set aside" if aside else "same"
            self.note(f"damage: {way}", kind, outcome, says=says)

    def damage_results(self) -> None:
        """Damage final results, which no rule reads, and compare the run with its records."""
        for fault, kind, project, path in self.damaged(RESULTS_OF_A_RUN):
            done = subprocess.run(
                [ROOT / ".venv" / "bin" / "python", "workflow/verify.py", "config/miniature.yaml"],
                cwd=project.root,
                env=os.environ | {"PYTHONPATH": str(project.root)},
                capture_output=True,
                text=True,
            )
            named = done.returncode and path.name in done.stderr
            says = done.stderr.strip().splitlines()[0] if done.stderr else ""
            self.note(fault, kind, "named by make verify" if named else "harm", says=says)

    def follow_messages(self) -> None:
        """Damage a file of each kind at once, and do what each message states until the run is whole again."""
        if self.finished("all kinds"):
            return
        project = self.copy("damaged")
        paths = [self.chosen(project, pattern, "all") for pattern, reader in KINDS.values() if not reader]
        for path in paths:
            self.flip(path)
        deleted, starts = [], 0
        while starts <= len(paths) + 1:
            run = project.start("all")
            starts += 1
            if not run.wait():
                break
            says = _reason(run.text)
            named = [path for path in paths if str(path.relative_to(project.root)) in says and path.exists()]
            if not named:
                self.note("all kinds", "one file of each", "harm", says=says)
                return
            named[0].unlink()
            deleted.append(named[0].name)
        faults = self.faults_of(project)
        self.note(
            *("all kinds", "one file of each", "harm" if faults else "same"),
            says="; ".join(faults),
            damaged=len(paths),
            deleted=len(deleted),
            starts=starts,
        )


def _is_of_a_job(process: psutil.Process) -> bool:
    try:
        return RECORDED_FOLDER in process.environ()
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def _passed(jobs: list[psutil.Process]) -> float:
    """Wait a moment, and return how long jobs worked in it."""
    before = time.time()
    time.sleep(0.2)
    return (time.time() - before) * len([one for one in jobs if _works(one)])


def _works(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _kill(pid: int, *, group: bool) -> None:
    (os.killpg if group else os.kill)(pid, signal.SIGKILL)


def _reason(text: str) -> str:
    """Return what a run prints about its first failed job, or its last lines."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if " failed: " in line), max(len(lines) - 3, 0))
    return " / ".join(line.strip() for line in lines[first : first + 3] if line.strip())


def _size(paths: list[Path]) -> int:
    """Return the bytes that files and all files of folders take on a disk."""
    files = [one for path in paths for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file()]
    return sum(one.stat().st_blocks * 512 for one in files)


def _used(mount: Path) -> int:
    return shutil.disk_usage(mount).used


def _resize(mount: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", mount], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    campaign = Campaign(ROOT / "build" / "chaos" / f"seed-{given.seed}", seed=given.seed, kills=given.kills)
    harmless = campaign.run(given.only)
    if given.only == PARTS:
        write_page(campaign.done, given.seed)
    sys.exit(0 if harmless else "A fault did harm: see the lines with `harm`.")
