"""POYO (Azabou et al. 2023) of torch_brain as a decoder of behaviour. The only module that imports torch_brain.

The network, its tokenizer and its vocabularies are those of torch_brain; windows, valid time, splits and labels are
those of this package. A window is decoded at every label of its context; only the last one, at the end of the context,
is scored, so that nothing later than a label is read for it.

POYO learns an embedding for each unit and each session. For a new session these vocabularies are extended, and the
new rows, or all weights, are fitted on labelled seconds of that session.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch_brain.batching import collate
from torch_brain.models import POYO
from tqdm import tqdm

from neurohorizon.config import Poyo, Timeline
from neurohorizon.experiments.downstream.labels import (
    MINIMUM_LABELS,
    LabelledSession,
    decoding_shape,
    label_span_us,
    learned_origins,
    read_labelled,
)
from neurohorizon.files import replacing
from neurohorizon.inputs.windows import cut_windows
from neurohorizon.models.checkpoint import resume_from
from neurohorizon.timeline import Intervals

VOCABULARIES = ("unit_emb", "session_emb")
"""Embeddings of POYO that have a row for each unit and for each session."""
WINDOWS_PER_PASS = 16
"""Windows that pass the network together; a batch of a step is several passes."""


@dataclass(frozen=True)
class PoyoCard:
    """A POYO network: its settings and its training data.

    Attributes:
        poyo: Its section of the configuration.
        timeline: Bins and context.
        channels: Channels of the decoded series.
        units: Names of the units of its vocabulary, in the order of its rows.
        sessions: Names of its sessions, likewise: all sessions that it was trained on.
        centre: Mean of the labels in the training part of each session, [session][channel].
        spread: Their standard deviation.
        fold: Fold whose held-out sessions are not in its training data.
        code: Fingerprint of the code that trained it.
        scores: Steps and seed, filled in by training.
    """

    poyo: Poyo
    timeline: Timeline
    channels: int
    units: tuple[str, ...]
    sessions: tuple[str, ...]
    centre: tuple[tuple[float, ...], ...]
    spread: tuple[tuple[float, ...], ...]
    fold: str
    code: str
    scores: dict[str, float] = field(default_factory=dict)

    def build(self) -> POYO:
        """Make the untrained network, with its vocabularies."""
        poyo, timeline = self.poyo, self.timeline
        network = POYO(
            sequence_length=timeline.context_bins * timeline.bin_ms / 1000,
            latent_step=poyo.latent_step_bins * timeline.bin_ms / 1000,
            num_latents_per_step=poyo.latents_per_step,
            dim_out=self.channels,
            dim=poyo.width,
            depth=poyo.depth,
            dim_head=poyo.width // poyo.heads,
            cross_heads=1,
            self_heads=poyo.heads,
            ffn_dropout=poyo.dropout,
            lin_dropout=poyo.dropout,
        )
        network.unit_emb.initialize_vocab(list(self.units))
        network.session_emb.initialize_vocab(list(self.sessions))
        return network


@dataclass(frozen=True, eq=False)
class Decoded:
    """Labelled windows of one session, and the scale of their labels.

    Attributes:
        session: The session.
        part: Valid time that windows may read.
        origin_us: Ends of the windows, int64 [window].
        label_us: Ends of the labels that may be learned from, int64, rising, [label].
        centre: Mean of these labels, [channel].
        spread: Their standard deviation, 1 where they never change, [channel].
    """

    session: LabelledSession
    part: Intervals
    origin_us: np.ndarray
    label_us: np.ndarray
    centre: np.ndarray
    spread: np.ndarray


def to_learn(session: LabelledSession, part: Intervals, origin_us: np.ndarray, *, span_us: int) -> Decoded:
    """Take windows to learn from, whose labels set the scale."""
    values = session.labels.at(origin_us, span_us)[0].astype(np.float64)
    spread = values.std(axis=0)
    return Decoded(
        session=session,
        part=part,
        origin_us=origin_us,
        label_us=origin_us,
        centre=values.mean(axis=0),
        spread=np.where(spread > 1e-9, spread, 1.0),
    )


class Samples:
    """Windows of several sessions, tokenized by POYO's own tokenizer.

    Args:
        network: The network whose vocabularies name units and sessions.
        sessions: Their windows.
        timeline: Bins and context.
        span_bins: Bins over which a label is averaged.
    """

    def __init__(self, network: POYO, sessions: Sequence[Decoded], timeline: Timeline, span_bins: int) -> None:
        self.network, self.sessions = network, sessions
        self.shape, self.span_us = decoding_shape(timeline), span_bins * timeline.bin_ms * 1000
        # labels of a context, the last of them at its end
        self.query_bins = np.arange(
            timeline.context_bins % span_bins or span_bins, timeline.context_bins + 1, span_bins
        )
        self.owner = np.repeat(np.arange(len(sessions)), [len(one.origin_us) for one in sessions])
        self.origin_us = np.concatenate([one.origin_us for one in sessions])

    def __len__(self) -> int:
        return len(self.origin_us)

    def tokens(self, windows: np.ndarray) -> list[dict]:
        """Tokenize windows by their numbers, rising; labels are standardised by session."""
        return [
            sample
            for owner in np.unique(self.owner[windows])
            for sample in self._of_session(self.sessions[owner], self.origin_us[windows[self.owner[windows] == owner]])
        ]

    def batches(self, windows: np.ndarray) -> Iterator[dict[str, Tensor]]:
        """Give windows in batches of similar numbers of tokens, so that little is padded."""
        samples = sorted(self.tokens(windows), key=_length)
        for first in range(0, len(samples), WINDOWS_PER_PASS):
            yield collated(samples[first : first + WINDOWS_PER_PASS])

    def _of_session(self, one: Decoded, origin_us: np.ndarray) -> list[dict]:
        windows = cut_windows(one.session.spikes, one.part, origin_us, self.shape)
        bin_s = self.shape.bin_us / 1e6
        time_s = (self.shape.context_bins - windows.spike_age_bins.astype(np.float64)) * bin_s
        first = np.searchsorted(windows.spike_window, np.arange(len(origin_us) + 1))
        query_us = origin_us[:, None] + (self.query_bins - self.shape.context_bins) * self.shape.bin_us
        value, _ = one.session.labels.at(query_us, self.span_us)
        weight = np.isin(query_us, one.label_us)
        value = np.where(weight[..., None], (value - one.centre) / one.spread, 0)
        samples = []
        for window in range(len(origin_us)):
            spikes = slice(first[window], first[window + 1])
            data = SimpleNamespace(
                units=SimpleNamespace(id=list(one.session.unit_ids)),
                spikes=SimpleNamespace(unit_index=windows.spike_unit[spikes], timestamps=time_s[spikes]),
                session=SimpleNamespace(id=one.session.session_id),
            )
            samples.append(
                self.network.tokenize(data)
                | {
                    "output_timestamps": (self.query_bins * bin_s).astype(np.float32),
                    "label": value[window].astype(np.float32),
                    "weight": weight[window].astype(np.float32),
                }
            )
        return samples


def collated(samples: list[dict]) -> dict[str, Tensor]:
    """Pad tokenized windows to one size."""
    batch = collate(samples)
    # mixed kinds of times come out as float64, which rotary embeddings would carry through the network
    return {name: value.float() if value.dtype == torch.float64 else value for name, value in batch.items()}


def train_poyo(
    *,
    sessions: Sequence[Path],
    poyo: Poyo,
    timeline: Timeline,
    fold: str,
    seed: int,
    code: str,
    accelerator: str,
    threads: int,
    checkpoints: Path,
    output: Path,
) -> None:
    """Train a POYO on the training part of sessions, and write its weights with their card.

    Its settings are fixed beforehand: the validation part decides nothing, and can be scored.

    Args:
        sessions: Files of the training sessions; those without enough known labels in their training part are passed
            over.
        code: Fingerprint of the code, for the card and for resuming only a training by the same code.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        output: File of the weights (safetensors); the card is written next to it as JSON.

    Raises:
        ValueError: No session has a label, or sessions differ in their channels.
    """
    torch.set_num_threads(threads)
    span_us = label_span_us(poyo, timeline)
    learned = []
    for path in sessions:
        one = read_labelled(path, target=poyo.target, still_s=poyo.still_s)
        origins = learned_origins(one, "train", poyo, timeline)
        if len(origins) >= MINIMUM_LABELS:
            learned.append(to_learn(one, one.splits.train, origins, span_us=span_us))
    if not learned:
        raise ValueError(f"fold {fold}: none of {len(sessions)} training sessions has known labels of {poyo.target}")
    channels = {one.session.labels.n_channels for one in learned}
    if len(channels) > 1:
        raise ValueError(f"one network decodes one number of channels; the training sessions have {sorted(channels)}")
    card = PoyoCard(
        poyo=poyo,
        timeline=timeline,
        channels=channels.pop(),
        units=tuple(name for one in learned for name in one.session.unit_ids),
        sessions=tuple(one.session.session_id for one in learned),
        centre=tuple(tuple(one.centre.tolist()) for one in learned),
        spread=tuple(tuple(one.spread.tolist()) for one in learned),
        fold=fold,
        code=code,
        scores={"steps": poyo.steps, "seed": seed},
    )
    device = _device(accelerator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = card.build().to(device)
    samples = Samples(network, learned, timeline, poyo.target_bins)
    begun = hashlib.sha256(json.dumps([code, seed, repr(card)]).encode()).hexdigest()[:12]
    fit(
        network,
        samples,
        parameters=list(network.parameters()),
        steps=poyo.steps,
        batch_windows=poyo.batch_windows,
        learning_rate=poyo.learning_rate,
        weight_decay=poyo.weight_decay,
        seed=seed,
        checkpoint=checkpoints / begun / "last.pt",
        words=f"POYO, fold {fold}",
    )
    save_poyo(output, network, card)
    shutil.rmtree(checkpoints, ignore_errors=True)


def decode_trained(network: POYO, card: PoyoCard, session: LabelledSession, origin_us: np.ndarray) -> np.ndarray:
    """Decode windows in the validation part of a session that the network was trained on.

    ``origin_us`` are the ends of the windows, int64 [window]; decoded values are in the unit of the labels, float32
    [window, channel].
    """
    place = card.sessions.index(session.session_id)
    centre, spread = np.array(card.centre[place]), np.array(card.spread[place])
    return predict(network, _to_decode(session, session.splits.validation, origin_us, centre, spread), card)


@dataclass(frozen=True, eq=False)
class Extended:
    """A POYO that was fitted to a new session.

    Attributes:
        network: The network, with rows for the session and its units.
        card: Card of the network that was extended.
        known: The labels that it was fitted on, and their scale.
        steps: Steps of the fit.
    """

    network: POYO
    card: PoyoCard
    known: Decoded
    steps: int

    def decode(self, origin_us: np.ndarray) -> np.ndarray:
        """Decode windows of the test part, in the unit of the labels, float32 [window, channel]."""
        return predict(self.network, self._of_test(origin_us), self.card)

    def latents(self, origin_us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Latents of the frozen network for contexts of the test part; see :func:`latents_of`."""
        return latents_of(self.network, self._of_test(origin_us), self.card)

    def _of_test(self, origin_us: np.ndarray) -> Decoded:
        session = self.known.session
        return _to_decode(session, session.splits.test, origin_us, self.known.centre, self.known.spread)


def fit_extended(
    network: POYO, card: PoyoCard, session: LabelledSession, labelled_us: np.ndarray, *, seed: int
) -> Extended:
    """Extend a POYO to a new session, and fit it on labelled windows of its reference window.

    The number of steps is chosen on the last fifth of the labelled windows, after a fit on the others; then the network
    is fitted again on all of them.

    Args:
        network: A trained network, which is not changed.
        labelled_us: Ends of the windows whose labels may be read, on the grid of labels, int64 [window].
    """
    poyo, timeline = card.poyo, card.timeline
    span_us = label_span_us(poyo, timeline)
    reference = session.splits.reference
    earlier, later = time_blocks(labelled_us, share=0.8, gap_us=timeline.context_bins * timeline.bin_ms * 1000)
    later = later[:: max(timeline.evaluation_stride_bins // poyo.target_bins, 1)]  # at the distance of scored windows
    known = to_learn(session, reference, earlier, span_us=span_us)
    later_windows = _to_decode(session, reference, later, known.centre, known.spread)
    truth = session.labels.at(later, span_us)[0]
    losses: dict[int, float] = {}

    trial = extended(network, card, session, seed=seed)

    def evaluate(step: int) -> None:
        losses[step] = float((((predict(trial, later_windows, card) - truth) / known.spread) ** 2).mean())

    _adapt(trial, known, card, steps=poyo.adapt_steps, seed=seed, evaluate=evaluate, words="choosing steps")
    steps = min(losses, key=losses.get)
    final = extended(network, card, session, seed=seed)
    known = to_learn(session, reference, labelled_us, span_us=span_us)
    _adapt(final, known, card, steps=steps, seed=seed, evaluate=None, words=f"extending POYO to {session.session_id}")
    return Extended(final, card, known, steps)


def extended(network: POYO, card: PoyoCard, session: LabelledSession, *, seed: int) -> POYO:
    """Copy a network, with new rows for a session and its units; all trained weights stay the same."""
    copy = card.build()
    _take_over(copy, {name: value.detach().cpu() for name, value in network.named_parameters()})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        copy.unit_emb.extend_vocab(list(session.unit_ids))
        copy.session_emb.extend_vocab([session.session_id])
    return copy.to(next(network.parameters()).device)


def time_blocks(origin_us: np.ndarray, *, share: float, gap_us: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut windows in two by time: an earlier share, and those of the rest that begin after its last label."""
    cut = int(share * len(origin_us))
    later = origin_us[cut:]
    return origin_us[:cut], later[later - gap_us >= origin_us[cut - 1]]


def predict(network: POYO, windows: Decoded, card: PoyoCard) -> np.ndarray:
    """Decode the end of each window, in the units of the labels, float32 [window, channel]."""
    found = _decoded(network, Samples(network, [windows], card.timeline, card.poyo.target_bins))
    found = np.concatenate([np.zeros((0, card.channels)), *found])
    return (found * windows.spread + windows.centre).astype(np.float32)


def latents_of(network: POYO, windows: Decoded, card: PoyoCard) -> tuple[np.ndarray, np.ndarray]:
    """Read the latents that a network decodes windows from: those after its last layer of self-attention.

    Returns:
        The latents, those of one time side by side, float32 [window, time, column]; and the age of each time at the end
        of the context, in bins, [time].
    """
    samples = Samples(network, [windows], card.timeline, card.poyo.target_bins)
    found: list[np.ndarray] = []

    def keep(module: nn.Module, inputs: tuple) -> None:
        found.append(inputs[1].cpu().numpy())

    handle = network.dec_atn.register_forward_pre_hook(keep)
    try:
        _decoded(network, samples)
    finally:
        handle.remove()
    times = np.asarray(samples.tokens(np.arange(1))[0]["latent_timestamps"], np.float64)
    moments, moment = np.unique(times, return_inverse=True)
    by_time = np.argsort(moment, kind="stable")
    latents = np.concatenate(found)[:, by_time].reshape(len(samples), len(moments), -1)
    bin_s = card.timeline.bin_ms / 1000
    return latents, card.timeline.context_bins - moments / bin_s


def _decoded(network: POYO, samples: Samples) -> list[np.ndarray]:
    """Standardised output at the end of each window, by batches of windows in order, [window, channel] each."""
    device, was_training, found = next(network.parameters()).device, network.training, []
    network.eval()
    with torch.inference_mode():
        for numbers in np.array_split(np.arange(len(samples)), max(-(-len(samples) // 128), 1)):
            if len(numbers):
                batch = _to(collated(samples.tokens(numbers)), device)
                del batch["label"], batch["weight"]
                found.append(network(**batch)[:, -1].cpu().numpy())
    network.train(was_training)
    return found


def fit(
    network: POYO,
    samples: Samples,
    *,
    parameters: list[nn.Parameter],
    steps: int,
    batch_windows: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    decay: bool = True,
    checkpoint: Path | None = None,
    evaluate: Callable[[int], None] | None = None,
    evaluate_every: int = 1,
    words: str,
) -> None:
    """Minimise the squared error of standardised labels by AdamW; a batch depends only on the seed and its number.

    Args:
        parameters: Fitted parameters; the others stay fixed.
        learning_rate: Largest learning rate, after a warm-up of a twentieth of the steps.
        weight_decay: Decay of matrices other than embeddings.
        decay: Whether the learning rate falls to a tenth on a cosine.
        checkpoint: File that is written twenty times, and from which training resumes; None: neither.
        evaluate: Called with the number of steps done.
    """
    device = next(network.parameters()).device
    embeddings = {id(part.weight) for part in network.modules() if hasattr(part, "extend_vocab")}
    decayed = [one for one in parameters if one.ndim >= 2 and id(one) not in embeddings]
    others = [one for one in parameters if one.ndim < 2 or id(one) in embeddings]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW([one for one in groups if one["params"]], lr=learning_rate)
    warm = max(steps // 20, 1)
    first = 0
    tensors = dict(network.named_parameters())
    expected = {"weights": "network", "like": tensors, "others": ("optimiser", "step"), "device": device}
    if checkpoint is not None and (state := resume_from(checkpoint, **expected)):
        with torch.no_grad():
            for name, value in state["network"].items():
                tensors[name].copy_(value)
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    network.train()
    # fixed parameters need no gradient
    fitted = {id(one) for one in parameters}
    for one in network.parameters():
        one.requires_grad_(id(one) in fitted)
    with torch.random.fork_rng(devices=[]):
        progress = tqdm(range(first, steps), initial=first, total=steps, desc=words, mininterval=10)
        for step in progress:
            share = (step + 1) / warm if step < warm else 1.0
            if decay and step >= warm:
                share = 0.1 + 0.45 * (1 + np.cos(np.pi * (step - warm) / max(steps - warm, 1)))
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * float(share)
            torch.manual_seed(1_000_003 * seed + step)
            windows = np.sort(np.random.default_rng((seed, step)).integers(len(samples), size=batch_windows))
            optimiser.zero_grad(set_to_none=True)
            mean_error = 0.0
            for batch in samples.batches(windows):
                batch = _to(batch, device)
                label, weight = batch.pop("label"), batch.pop("weight")[..., None]
                error = ((network(**batch) - label) ** 2 * weight).sum()
                error = error / (batch_windows * label.shape[1] * label.shape[2])
                error.backward()
                mean_error += float(error.detach())
            progress.set_postfix(error=f"{mean_error:.3f}", refresh=False)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            done = step + 1
            if checkpoint is not None and done % max(steps // 20, 1) == 0:
                with replacing(checkpoint) as temporary:
                    named = {name: value.detach() for name, value in network.named_parameters()}
                    torch.save({"step": done, "network": named, "optimiser": optimiser.state_dict()}, temporary)
            if evaluate is not None and done % evaluate_every == 0:
                evaluate(done)
    network.eval()


def save_poyo(path: Path, network: POYO, card: PoyoCard) -> None:
    """Write weights and card, each whole or not at all; the weights come last."""
    values = asdict(card) | {part: getattr(card, part).model_dump(mode="json") for part in ("poyo", "timeline")}
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    with replacing(path) as temporary:
        save_file({name: value.detach().cpu() for name, value in network.named_parameters()}, temporary)


def load_poyo(path: Path, *, accelerator: str = "cpu") -> tuple[POYO, PoyoCard]:
    """Read a network for decoding."""
    values = json.loads(path.with_suffix(".json").read_text())
    values["poyo"] = Poyo.model_validate_json(json.dumps(values["poyo"]))
    values["timeline"] = Timeline.model_validate_json(json.dumps(values["timeline"]))
    for name in ("units", "sessions"):
        values[name] = tuple(values[name])
    for name in ("centre", "spread"):
        values[name] = tuple(tuple(row) for row in values[name])
    card = PoyoCard(**values)
    network = card.build()
    _take_over(network, load_file(path))
    return network.to(_device(accelerator)).eval(), card


def _adapt(
    network: POYO,
    known: Decoded,
    card: PoyoCard,
    *,
    steps: int,
    seed: int,
    evaluate: Callable[[int], None] | None,
    words: str,
) -> None:
    poyo = card.poyo
    rows = [getattr(network, name).weight for name in VOCABULARIES]
    fit(
        network,
        Samples(network, [known], card.timeline, poyo.target_bins),
        parameters=rows if poyo.adapt == "vocabulary" else list(network.parameters()),
        steps=steps,
        batch_windows=poyo.adapt_windows,
        learning_rate=poyo.adapt_learning_rate,
        weight_decay=poyo.weight_decay,
        seed=seed,
        decay=False,
        evaluate=evaluate,
        evaluate_every=max(poyo.adapt_steps // 10, 1),
        words=words,
    )


def _to_decode(
    session: LabelledSession, part: Intervals, origin_us: np.ndarray, centre: np.ndarray, spread: np.ndarray
) -> Decoded:
    """Windows that are decoded; no label of them is used for fitting."""
    return Decoded(session, part, origin_us, origin_us[:0], centre, spread)


def _take_over(network: POYO, weights: dict[str, Tensor]) -> None:
    parameters = dict(network.named_parameters())
    if parameters.keys() != weights.keys():
        raise ValueError(f"weights and network differ in {sorted(parameters.keys() ^ weights.keys())}")
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)


def _length(sample: dict) -> int:
    return len(sample["input_timestamps"].obj)


def _to(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in batch.items()}


def _device(accelerator: str) -> torch.device:
    found = torch.cuda.is_available()
    if accelerator == "gpu" and not found:
        raise RuntimeError("training.accelerator is gpu, and there is none here; use auto or cpu")
    return torch.device("cuda" if found and accelerator != "cpu" else "cpu")
