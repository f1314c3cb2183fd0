"""Networks of every configuration with drawn weights, and the outputs of each of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from factories.sessions import made_files, made_session, small_config
from factories.stimuli import multimodal_config, seen_files, seen_session
from neurohorizon.config import Config
from neurohorizon.inputs.batches import SessionInputs, collate, session_block
from neurohorizon.inputs.session_modalities import load_images, load_modalities, with_modalities
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.modalities.conditions import CONDITIONS
from neurohorizon.modalities.tokens import ModalityLayout
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FedBackCounts
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.multimodal import MultimodalForecaster
from neurohorizon.models.own_history import OwnHistoryForecaster
from neurohorizon.models.rollout import DECODINGS, sample_paths
from neurohorizon.models.stream import Stream
from neurohorizon.models.training import TrainingModule
from neurohorizon.units.reference import MARGINAL_GROUPS

OWN_HISTORY = {"population": False, "feedback": False}
NETWORKS = {
    "full": {},
    "deep": {"encoder_layers": 3, "decoder_layers": 2},
    "no_identity": {"identity": False},
    "no_own_history": {"own_history": False},
    "no_feedback": {"feedback": False},
    "noncausal_decoder": {"causal": False, "feedback": False},
    "gaussian_loss": {"likelihood": "gaussian"},
    "negative_binomial": {"likelihood": "negative_binomial"},
    "own_history": OWN_HISTORY,
    "own_history_readout": OWN_HISTORY,
    "own_history_gaussian": OWN_HISTORY | {"likelihood": "gaussian"},
}
"""Networks that read spikes only, by the settings of ``model`` that differ from the full network's."""
MULTIMODAL = {"multimodal": {}, "deep_multimodal": {"encoder_layers": 4, "decoder_layers": 2}}


@dataclass(frozen=True)
class Recordings:
    """Inputs of two sessions for each kind of network."""

    config: Config
    inputs: dict[str, list[SessionInputs]]
    layout: ModalityLayout

    @property
    def shape(self) -> WindowShape:
        """Lengths of the windows."""
        return WindowShape.of(self.config.timeline, self.config.model)

    def batch(self, name: str, *, windows: int = 4, conditions: tuple[str, ...] = ("spikes",)) -> Tensors:
        """Return a batch for a network, with the conditions in turn."""
        blocks = []
        for index, one in enumerate(self.inputs[self.kind(name)]):
            origins = evaluation_origins(one.part, self.shape, 11)[:windows]
            condition = CONDITIONS[conditions[index % len(conditions)]]
            blocks.append(session_block(one, origins, self.shape, condition=condition))
        return Tensors.of(collate(blocks))

    def kind(self, name: str) -> str:
        """Return which inputs a network reads."""
        if name in MULTIMODAL:
            return "multimodal"
        return name if name in ("own_history", "own_history_readout") else "full"


def made_recordings(folder: Path) -> Recordings:
    """Make sessions of five and seven units, and two with behaviour and images."""
    config, seen_config = small_config(), multimodal_config()
    made = [
        made_files(folder, made_session(f"s{index}", config.splits, n_units=5 + 2 * index, seed=index), config)
        for index in range(2)
    ]

    def loaded(groups: tuple[str, ...], *, readout: bool) -> list[SessionInputs]:
        paths = [one.paths for one in made]
        if not readout:
            paths = [type(one)(one.session, one.features) for one in paths]
        return [load_inputs(one, "test", groups=groups, readout=config.model.readout) for one in paths]

    marginal = tuple(group for group in config.features.groups if group in MARGINAL_GROUPS)
    inputs = {
        "full": loaded(config.features.groups, readout=True),
        "own_history": loaded(marginal, readout=False),
        "own_history_readout": loaded(marginal, readout=True),
        "multimodal": [],
    }
    for index in range(2):
        session = seen_session(f"seen{index}", seen_config, n_units=5 + index, seed=index)
        files = seen_files(folder / "seen", session, seen_config)
        one = load_inputs(files.paths, "test", groups=config.features.groups, readout=config.model.readout)
        modalities = load_modalities(
            files.paths,
            "test",
            readouts=files.modalities,
            images=load_images(files.paths.session, files.space, files.settings),
            encoder="pixels",
            settings=files.settings,
        )
        inputs["multimodal"].append(with_modalities(one, files.paths, modalities, files.settings))
    return Recordings(config, inputs, files.settings.layout)


def build_network(name: str, recordings: Recordings, *, dropout: float = 0.0, noise: float = 0.0) -> nn.Module:
    """Build an untrained network with the weights of one seed."""
    torch.manual_seed(4)
    sizes = {
        "model": recordings.config.model.model_copy(update=(NETWORKS | MULTIMODAL)[name]),
        "n_features": recordings.inputs[recordings.kind(name)][0].features.shape[1],
        "horizon_bins": recordings.config.timeline.horizon_bins,
        "feature_noise": noise,
    }
    if not sizes["model"].population:
        return OwnHistoryForecaster(**sizes)
    sizes |= {"context_bins": recordings.config.timeline.context_bins, "dropout": dropout}
    if name in MULTIMODAL:
        return MultimodalForecaster(**sizes, modalities=recordings.layout)
    return Forecaster(**sizes)


def draw_zero_weights(network: nn.Module, *, std: float = 0.1) -> nn.Module:
    """Draw all weights that start at zero, so that every component has an effect."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=std, generator=generator)
    return network


def numbers_of(name: str, recordings: Recordings) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield the name and the values of each output of a network."""
    yield "initial weights", [*build_network(name, recordings).parameters()]
    conditions = {"": ("spikes",)}
    if name in MULTIMODAL:
        conditions = {f" {one}": (one,) for one in CONDITIONS if not CONDITIONS[one].control}
        conditions[" mixed"] = ("both", "image_ahead")
    for label, condition in conditions.items():
        x = recordings.batch(name, conditions=condition)
        with torch.inference_mode():
            yield f"forecast{label}", [draw_zero_weights(build_network(name, recordings)).eval()(x).log_rate]
        network = draw_zero_weights(build_network(name, recordings, dropout=0.2, noise=0.3)).train()
        module = TrainingModule(
            forecaster=network,
            training=recordings.config.training,
            seed=3,
            likelihood=(NETWORKS | MULTIMODAL)[name].get("likelihood", "poisson"),
            with_feedback=name not in MULTIMODAL,
        )
        loss = module.training_step(x, 0)
        loss.backward()
        yield f"loss{label}", [loss.detach()]
        yield (
            f"gradient{label}",
            [torch.zeros(1) if p.grad is None else p.grad for p in network.parameters()],
        )
    if name in MULTIMODAL:
        return
    network = draw_zero_weights(build_network(name, recordings)).eval()
    x = recordings.batch(name)
    feedback = network.feedback is not None
    if feedback:
        with torch.inference_mode():
            given = torch.arange(recordings.shape.horizon_bins) != 2
            fed_back = FedBackCounts(x.counts, x.target_mask & given)
            yield "forecast with counts", [network.decode_given(network.encode(x), x, fed_back).log_rate]
    for decoding in DECODINGS if feedback else DECODINGS[:1]:
        paths = sample_paths(
            network,
            x,
            decoding=decoding,
            rollout=recordings.config.rollout.model_copy(update={"paths": 3}),
            bin_us=recordings.shape.bin_us,
            generator=torch.Generator().manual_seed(2),
        )
        yield f"paths {decoding}", [paths.counts, paths.log_rate]
    one = recordings.inputs[recordings.kind(name)][1]
    start_us = int(one.part.start_us[0])
    stream = Stream(network, one, recordings.shape, start_s=start_us / 1e6)
    found = []
    for first_us in start_us + np.arange(14) * recordings.shape.bin_us:
        times_us, unit = one.spikes.between(first_us, first_us + recordings.shape.bin_us)
        stream.push(times_us / 1e6, unit)
        found.append(torch.from_numpy(stream.next()))
    yield "stream", found
