"""Jobs that a killed run left on a cluster are cancelled, and no others."""

import subprocess

from orphaned_jobs import PREFIX, cancel_orphaned


class Slurm:
    """Lists jobs; cancelled ones end after the next list."""

    def __init__(self, *jobs: tuple[str, str, str]) -> None:
        self.jobs, self.cancelled, self.leaves = list(jobs), [], True

    def __call__(self, command: list[str]) -> str:
        if command[0] == "scancel":
            self.cancelled += command[1:]
            return ""
        listed = "".join("|".join(job) + "\n" for job in self.jobs)
        if self.leaves:
            self.jobs = [job for job in self.jobs if job[0] not in self.cancelled]
        return listed


def test_the_jobs_of_the_folder_are_cancelled_and_waited_for(tmp_path):
    slurm = Slurm(("12", f"{PREFIX}a", str(tmp_path)), ("9", f"{PREFIX}b", str(tmp_path)))
    line = cancel_orphaned(tmp_path, run=slurm, wait=lambda seconds: None)
    assert slurm.cancelled == ["9", "12"]
    assert slurm.jobs == []
    assert "were cancelled: 9 12" in line


def test_jobs_of_other_folders_and_other_programs_are_left(tmp_path):
    slurm = Slurm(("1", f"{PREFIX}a", str(tmp_path / "other")), ("2", "mine", str(tmp_path)))
    assert cancel_orphaned(tmp_path, run=slurm) == ""
    assert slurm.cancelled == []


def test_a_link_to_the_folder_is_the_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    slurm = Slurm(("1", f"{PREFIX}a", str(tmp_path / "real")))
    cancel_orphaned(tmp_path / "link", run=slurm, wait=lambda seconds: None)
    assert slurm.cancelled == ["1"]


def test_jobs_that_do_not_end_are_named(tmp_path):
    slurm = Slurm(("7", f"{PREFIX}a", str(tmp_path)))
    slurm.leaves = False
    assert "do not end: 7" in cancel_orphaned(tmp_path, run=slurm, wait=lambda seconds: None)


def test_a_slurm_that_does_not_answer_stops_no_run(tmp_path):
    def silent(command):
        raise subprocess.TimeoutExpired(command, 60)

    assert "did not answer" in cancel_orphaned(tmp_path, run=silent)
