"""The IBL Brain-Wide Bench's package, reimplemented from its documentation: its scores in float64, its files.

If the package itself is installed (the environment ``envs/bwb.yaml``), tests use it.
"""

import importlib.util
import json
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy.special import xlogy


def bench_bps(log_rates: np.ndarray, counts: np.ndarray) -> float:
    """``BPS`` of ibl-bwb-eval: losses ``rate - count * log rate`` of units with a mean count above 1e-9.

    Args:
        log_rates: Natural log of expected spikes, [bin, unit].
        counts: Observed spikes, [bin, unit].
    """
    mean = counts.mean(axis=0)
    kept = mean >= 1e-9
    predicted = np.exp(log_rates[:, kept]) - counts[:, kept] * log_rates[:, kept]
    null = mean[kept] - counts[:, kept] * np.log(mean[kept])
    return float((null - predicted).sum() / counts[:, kept].sum() / np.log(2))


def bench_d2(log_rates: np.ndarray, counts: np.ndarray) -> float:
    """``PoissonD2Score`` of ibl-bwb-eval: explained deviance of each unit that fired and varies, averaged."""
    explained = []
    for unit in np.flatnonzero(counts.sum(axis=0) > 0):
        count, rate = counts[:, unit], np.exp(log_rates[:, unit])
        deviance = 2 * (xlogy(count, count) - xlogy(count, rate) - count + rate).sum()
        null = 2 * (xlogy(count, count) - xlogy(count, count.mean())).sum()
        if abs(null) >= 1e-9:
            explained.append(1 - deviance / null)
    return float(np.mean(explained))


def score_file(prediction: Path, truth: Path) -> dict[str, float]:
    """Score the windows of both files."""
    from safetensors.numpy import load_file

    ours, theirs = load_file(prediction), load_file(truth)
    _, mine, yours = np.intersect1d(ours["window_timestamps"], theirs["window_timestamps"], return_indices=True)
    log_rates = ours["predictions"][mine].astype(np.float64)
    counts = theirs["targets"][yours].astype(np.float64)
    units = counts.shape[-1]
    log_rates, counts = log_rates.reshape(-1, units), counts.reshape(-1, units)
    return {"poisson_d2": bench_d2(log_rates, counts), "bps": bench_bps(log_rates, counts)}


def score_dir(predictions: Path, truths: Path) -> dict[tuple[str, str, str, int], dict[str, float]]:
    """Score every file of a submission, by label, task, recording and seed."""
    from safetensors import safe_open

    scores = {}
    for path in sorted(Path(predictions).rglob("seed_*.safetensors")):
        with safe_open(str(path), framework="np") as file:
            said = file.metadata()
        truth = Path(truths) / said["task"] / said["recording_id"] / "ground_truth.safetensors"
        key = (said["label"], said["task"], said["recording_id"], int(said["seed"]))
        scores[key] = score_file(path, truth)
    return scores


def encode_entity_ids(ids: np.ndarray):
    """Encode names as bytes, padded with zeros: uint8 [name, byte]."""
    import torch

    rows = [str(name).encode("ascii") for name in ids]
    width = max(map(len, rows))
    return torch.from_numpy(np.array([list(row.ljust(width, b"\0")) for row in rows], dtype=np.uint8))


def decode_entity_ids(tensor) -> np.ndarray:
    """Decode names from their bytes."""
    return np.array([bytes(row).rstrip(b"\0").decode("ascii") for row in tensor.numpy()])


class PredictionsWriter:
    """Collects tensors and saves them as ``BASE/LABEL/TASK/.../seed_N.safetensors``."""

    def __init__(self, *, enable, base_path, task, seed, label, metadata, path_fn):
        assert enable
        self.path = path_fn(Path(base_path) / label / task, metadata) / f"seed_{seed}.safetensors"
        self.said = {"label": label, "task": task, "seed": str(seed), "ibl_bwb_eval_version": "0.1.0"}
        self.said |= {name: str(value) for name, value in metadata.items()}
        self.added = defaultdict(list)

    def add(self, dtype=None, **tensors):
        for name, tensor in tensors.items():
            floats = tensor.is_floating_point()
            self.added[name].append(tensor.to(dtype) if floats and dtype else tensor.float() if floats else tensor)

    set = add

    def save(self):
        import torch
        from safetensors.torch import save_file

        self.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: torch.cat(parts) for name, parts in self.added.items()}
        save_file(tensors, str(self.path), metadata=self.said)


def install(monkeypatch) -> bool:
    """Use this module in place of an absent package; return True if the real one is installed."""
    if importlib.util.find_spec("ibl_bwb_eval"):
        return True
    contents = {
        "ibl_bwb_eval": {"__version__": "0.1.0"},
        "ibl_bwb_eval.entity_ids": {"encode_entity_ids": encode_entity_ids, "decode_entity_ids": decode_entity_ids},
        "ibl_bwb_eval.predictions": {"PredictionsWriter": PredictionsWriter},
        "ibl_bwb_eval.protocol": {"EVAL_SEEDS": [43, 44, 45, 46, 47]},
        "ibl_bwb_eval.scoring": {},
        "ibl_bwb_eval.scoring.ts2": {"score_file": score_file, "score_dir": score_dir},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        module.__path__ = []
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return False


def said_of(path: Path) -> dict[str, str]:
    """Read the header of a file without any library: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return header["__metadata__"]
