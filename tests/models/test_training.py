import csv
import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from factories import ROOT
from factories.file_server import unused_port
from factories.sessions import made_files, made_session, small_config
from factories.trainings import train_network
from safetensors.numpy import load_file

from neurohorizon.baselines.closed_form import tune_on_files
from neurohorizon.config import Timeline
from neurohorizon.files import RECORDED_FOLDER, DiskFullError
from neurohorizon.forecasts.forecast import forecast_with_network
from neurohorizon.forecasts.forecast_file import read_forecast
from neurohorizon.forecasts.without_network import forecast_with_baselines, forecast_with_oracle
from neurohorizon.models import training
from neurohorizon.models.batch import batch_numbers
from neurohorizon.models.weights import load_forecaster
from neurohorizon.session import left_out_session

CONFIG = small_config()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return [made_files(folder, made_session(f"s{i}", CONFIG.splits, n_units=6, seed=i), CONFIG) for i in range(3)]


train = partial(train_network, config=CONFIG)


class Bomb:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def weights(files, tmp_path_factory):
    """The weights of a training whose folder has a checkpoint that runs code when it is unpickled."""
    folder = tmp_path_factory.mktemp("trained")
    resumed_from = folder / "checkpoints" / "last.ckpt"
    resumed_from.parent.mkdir()
    torch.save({"state_dict": Bomb(folder / "hit"), "global_step": 10}, resumed_from)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "resume_folder", lambda checkpoints, *settings: checkpoints)
        return train(folder, files[:2])


def test_a_checkpoint_of_somebody_else_is_not_unpickled_and_the_training_starts_again(weights):
    assert not (weights.parent / "hit").exists()
    assert load_forecaster(weights)[1].scores["steps"] == CONFIG.training.steps


def forecast(weights, made, output, timeline: Timeline = CONFIG.timeline):
    forecast_with_network(
        weights=weights,
        paths=made.paths,
        fold="main",
        method="neurohorizon",
        seed=0,
        timeline=timeline,
        code="c0de",
        output=output,
    )
    return read_forecast(output)


def test_the_card_says_what_the_network_is(weights):
    _, card = load_forecaster(weights)
    assert card.sessions == ("s0", "s1")
    assert card.code == "c0de"
    assert card.model == CONFIG.model
    assert card.training == CONFIG.training
    assert card.scores["seed"] == 0
    assert {"validation_bits_per_spike", "steps"} <= set(card.scores)
    assert not (weights.parent / "checkpoints" / "best.ckpt").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_forecasts(weights, files, tmp_path):
    again = train(tmp_path, files[:2])
    first, second = load_file(weights), load_file(again)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    np.testing.assert_array_equal(
        forecast(weights, files[2], tmp_path / "a.h5").log_rate, forecast(again, files[2], tmp_path / "b.h5").log_rate
    )
    other = load_file(train(tmp_path / "other", files[:2], seed=1))
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.slow
def test_training_learns_what_is_there_to_learn(files, tmp_path):
    longer = small_config(
        training={
            "steps": 120,
            "validate_every_steps": 40,
            "sessions_per_batch": 2,
            "windows_per_session": 16,
            "warmup_steps": 5,
            "threads": 1,
        }
    )
    weights = train(tmp_path, files[:2], config=longer)
    made = forecast(weights, files[2], tmp_path / "f.h5")
    nats = made.counts * (made.log_rate - made.reference_log_rate) - (
        np.exp(made.log_rate) - np.exp(made.reference_log_rate)
    )
    assert nats.sum() / made.counts.sum() > 0.05  # on a session that it never saw


def test_own_history_reads_no_population(files, tmp_path):
    paths = [type(one)(one.session, type(one.paths)(one.paths.session, one.paths.features)) for one in files]
    weights = train(tmp_path, paths[:2], method="own_history")
    _, card = load_forecaster(weights)
    assert "relational" not in card.features.groups
    made = forecast(weights, paths[2], tmp_path / "f.h5")
    session = files[2].session
    # silence every other unit in the same files' place: the first unit's forecast stays
    alone = made_files(
        tmp_path, type(session)(**(session.__dict__ | _only_unit(session, 0) | {"session_id": "alone"})), CONFIG
    )
    quiet = forecast(
        weights,
        type(alone)(alone.session, type(alone.paths)(alone.paths.session, alone.paths.features)),
        tmp_path / "g.h5",
    )
    np.testing.assert_allclose(made.log_rate[..., 0], quiet.log_rate[..., 0], atol=1e-5)


def test_own_history_with_readout_hears_the_others_through_the_readout_alone(files, tmp_path):
    weights = train(tmp_path, files[:2], method="own_history_readout")
    _, card = load_forecaster(weights)
    assert not (card.model.population or card.model.feedback or "relational" in card.features.groups)
    assert not [name for name in load_file(weights) if name.startswith(("encoder", "decoder", "feedback"))]
    made = forecast(weights, files[2], tmp_path / "f.h5")
    # the same features and readout, and all other units silent
    session = files[2].session
    alone = made_files(tmp_path, type(session)(**(session.__dict__ | _only_unit(session, 0))), CONFIG)
    paths = type(alone.paths)(alone.paths.session, files[2].paths.features, files[2].paths.readout)
    quiet = forecast(weights, type(alone)(alone.session, paths), tmp_path / "g.h5")
    deaf = forecast(weights, type(alone)(alone.session, type(paths)(paths.session, paths.features)), tmp_path / "h.h5")
    assert np.abs(made.log_rate[..., 0] - quiet.log_rate[..., 0]).max() > 1e-3
    assert np.abs(made.log_rate[..., 0] - deaf.log_rate[..., 0]).max() > 1e-3, "a readout that is trusted"


def _only_unit(session, unit):
    kept = session.spike_unit == unit
    return {"spike_times_us": session.spike_times_us[kept], "spike_unit": session.spike_unit[kept]}


def run_script(folder: Path, files, config, environments=({},)) -> Path:
    """Train through the command, since spawned workers and the processes of further devices import it too.

    One process is started for each of some environments.
    """
    command = [sys.executable, ROOT / "workflow" / "scripts" / "call.py", "neurohorizon.models.training:train_on_files"]
    command += ["--method", "neurohorizon", "--fold", "main", "--seed", "0", "--code", "c0de"]
    for field in ("session", "features", "readout"):
        command += [f"--paths.{field}", *(getattr(one.paths, field) for one in files)]
    for section in ("timeline", "features", "model", "training"):
        command += [f"--{section}", getattr(config, section).model_dump_json()]
    command += ["--checkpoints", folder / "checkpoints", "--output", folder / "model.safetensors"]
    command += ["--log", folder / "log.csv"]
    started = [
        subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
            stderr=subprocess.PIPE,
            text=True,
        )
        for variables in environments
    ]
    errors = [process.communicate(timeout=300)[1] for process in started]
    assert all(process.returncode == 0 for process in started), "\n".join(errors)[-2000:]
    return folder / "model.safetensors"


@pytest.mark.slow
def test_workers_of_the_loader_change_nothing(weights, files, tmp_path):
    expected, found = (
        load_file(weights),
        load_file(run_script(tmp_path, files[:2], small_config(training={"workers": 2}))),
    )
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def of_node(node: int, port: int) -> dict[str, str]:
    """Return the variables that Slurm sets for the process on one of two nodes."""
    numbers = {
        "PROCID": node,
        "NODEID": node,
        "LOCALID": 0,
        "NTASKS": 2,
        "NNODES": 2,
        "NTASKS_PER_NODE": 1,
        "JOB_ID": 7,
    }
    slurm = {f"SLURM_{name}": str(number) for name, number in numbers.items()}
    # the workflow gives its jobs this name
    return slurm | {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "interactive",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


@pytest.mark.slow
@pytest.mark.parametrize("shared", ["devices", "nodes"])
def test_two_processes_do_what_one_does_that_accumulates_twice_as_many_batches(files, tmp_path, shared):
    assert CONFIG.training.dropout > 0  # each batch draws its own, wherever it is computed
    two = small_config(training={shared: 2, "accelerator": "cpu"})
    port = unused_port()
    environments = [of_node(node, port) for node in range(2)] if shared == "nodes" else [{}]
    one = small_config(training={"accumulate_batches": 2, "accelerator": "cpu"})
    # three sessions have three validation batches, which two devices cannot share evenly
    paths = [run_script(tmp_path / "two", files, two, environments), train(tmp_path / "one", files, config=one)]
    found, expected, plain = (load_file(path) for path in (*paths, train(tmp_path / "plain", files)))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    assert any(not np.allclose(expected[name], plain[name], atol=1e-4) for name in plain)
    scores = [json.loads(path.with_suffix(".json").read_text())["scores"] for path in paths]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_several_nodes_without_slurm_are_refused(files, tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(ValueError, match=r"training\.nodes is 2, and Slurm did not start this process; set"):
        train(tmp_path, files, config=small_config(training={"nodes": 2}))


def test_no_two_devices_steps_or_epochs_share_a_batch():
    sizes = {"steps": 5, "accumulated": 3, "ranks": 4}
    parts = [[batch_numbers(epoch, rank=rank, **sizes) for rank in range(4)] for epoch in range(3)]
    numbers = [number for epoch in parts for rank in epoch for number in rank]
    assert sorted(numbers) == list(range(3 * 5 * 3 * 4))
    # a step takes the same batches, however devices and accumulation divide them
    for step in range(5):
        taken = {number for rank in parts[2] for number in rank[3 * step : 3 * step + 3]}
        assert taken == set(batch_numbers(2, steps=5, accumulated=12, rank=0, ranks=1)[12 * step : 12 * step + 12])
    assert batch_numbers(2, steps=5, accumulated=1, rank=0, ranks=1) == range(10, 15)


def test_more_devices_than_validation_can_share_are_refused(files, tmp_path):
    with pytest.raises(ValueError, match=r"training\.devices is 3, but validation has 2 batches"):
        train(tmp_path, files[:2], config=small_config(training={"devices": 3}))
    with pytest.raises(ValueError, match=r"training\.devices is 2 on 2 nodes, but validation has 2 batches"):
        train(tmp_path, files[:2], config=small_config(training={"devices": 2, "nodes": 2}))


def test_forecasts_of_a_training_session_are_refused(weights, files, tmp_path):
    with pytest.raises(ValueError, match="trained on s1"):
        forecast(weights, files[1], tmp_path / "f.h5")


def test_a_left_out_session_has_an_empty_forecast_that_says_why(weights, files, tmp_path):
    empty = left_out_session(
        session_id="gone", source="nwb", subject="a", lab="made", date="2020-01-01", reason="no units"
    )
    made = made_files(tmp_path, empty, CONFIG)
    assert forecast(weights, made, tmp_path / "f.h5").left_out == "no units"
    train(tmp_path, [files[0], made])  # and training passes it over


def test_all_methods_forecast_the_same_windows(weights, files, tmp_path):
    network = forecast(weights, files[2], tmp_path / "f.h5")
    tune_on_files(
        [one.paths for one in files[:2]],
        timeline=CONFIG.timeline,
        baselines=CONFIG.baselines,
        output=tmp_path / "baselines.json",
    )
    forecast_with_baselines(
        baselines=tmp_path / "baselines.json",
        paths=files[2].paths,
        fold="main",
        timeline=CONFIG.timeline,
        code="",
        output_folder=tmp_path,
    )
    for name in ("reference_mean", "trailing_mean", "shrinkage", "gamma_poisson"):
        other = read_forecast(tmp_path / f"{name}.h5")
        np.testing.assert_array_equal(other.start_us, network.start_us)
        np.testing.assert_array_equal(other.counts, network.counts)
        np.testing.assert_array_equal(other.reference_log_rate, network.reference_log_rate)
        assert other.method_class == "zero_shot"
    reference = read_forecast(tmp_path / "reference_mean.h5")
    np.testing.assert_array_equal(
        reference.log_rate, np.broadcast_to(reference.reference_log_rate, reference.log_rate.shape)
    )


def test_the_oracle_integrates_the_truth_over_any_bins(files, tmp_path):
    session = files[2].session
    expected = np.arange(4000 * 6).reshape(4000, 6) % 17 / 10  # a ramp, in bins of 20 ms
    with h5py.File(tmp_path / "truth.h5", "w") as file:
        file["expected_counts"] = expected
        file["unit_id"] = session.units["id"].astype(object)
        file.attrs["bin_us"] = 20_000
    forecast_with_oracle(
        truth=tmp_path / "truth.h5",
        paths=files[2].paths,
        fold="main",
        timeline=CONFIG.timeline,
        code="",
        output=tmp_path / "oracle.h5",
    )
    oracle = read_forecast(tmp_path / "oracle.h5")
    assert oracle.method_class == "ceiling"
    first = oracle.start_us[3] // 20_000
    assert oracle.start_us[3] % 20_000 == 0
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(np.exp(oracle.log_rate[3]), expected[first : first + 6], atol=1e-5)


KILLED = """
import sys
sys.path[:0] = [{here!r}, {tests!r}, {root!r}]
import pickle
from pathlib import Path
import test_training
files, config, folder = pickle.loads(Path({made!r}).read_bytes())
test_training.train(Path(folder), files, config=config)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("accumulated", "steps"), [(1, 150), (2, 70)])
def test_a_killed_training_resumes_and_ends_where_it_would_have(files, tmp_path, accumulated, steps):
    longer = small_config(
        training={
            "accumulate_batches": accumulated,
            "steps": steps,
            "validate_every_steps": 10,
            "patience": 1000,
            "threads": 1,
            "sessions_per_batch": 2,
            "windows_per_session": 8,
        }
    )
    whole = load_file(train(tmp_path / "whole", files[:2], config=longer))
    made = tmp_path / "made.pickle"
    made.write_bytes(pickle.dumps((files[:2], longer, str(tmp_path / "killed"))))
    program = KILLED.format(tests=str(ROOT / "tests"), here=str(Path(__file__).parent), root=str(ROOT), made=str(made))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not list((tmp_path / "killed").glob("checkpoints/*/last.ckpt")):
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.time() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    resumed = load_file(train(tmp_path / "killed", files[:2], config=longer))
    card = json.loads((tmp_path / "killed" / "model.json").read_text())
    assert card["scores"]["steps"] == steps
    rows = list(csv.DictReader((tmp_path / "killed" / "log.csv").open()))
    validated = [int(row["step"]) for row in rows if row["validation_bits_per_spike"]]
    assert validated == list(range(9, steps, 10))
    for name in whole:
        np.testing.assert_allclose(whole[name], resumed[name], atol=1e-6)


@pytest.mark.slow
def test_a_checkpoint_appears_whole_with_its_record_or_names_the_full_disk(files, tmp_path, monkeypatch):
    monkeypatch.setenv(RECORDED_FOLDER, str(tmp_path))
    written, full = [], []
    save = torch.save

    def save_some(state: dict, path: Path) -> None:
        if full:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, path)
        written.append(path)

    monkeypatch.setattr(torch, "save", save_some)
    train(tmp_path / "whole", files[:2])
    assert all(path.name.startswith(".part-") for path in written) and len(written) > 1
    full.append(True)
    with pytest.raises(DiskFullError, match=r"best\.ckpt cannot be written: its disk is full"):
        train(tmp_path / "full", files[:2])
    assert not list(tmp_path.rglob("*.ckpt"))
    full.clear()
    assert train(tmp_path / "full", files[:2]).read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
