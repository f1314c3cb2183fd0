"""The catalogue: every experiment, the tables that are made from its sums, and what is made of these tables.

Rules, the report and the paper are made in a loop over it. Standard library only, since the workflow reads it before
any environment exists.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An experiment, or a part of one whose tables are made in a separate job.

    Attributes:
        name: Name of its target and of its rules: ``make_NAME_tables``, ``draw_NAME_FIGURE``, ``notebook_NAME``.
        title: Heading in the paper and in the report.
        question: Its question in the paper, in one sentence.
        number: Place of an experiment in the report.
        part_of: Entry that it is a part of; it shares the report's category and is made with it.
        folder: Folder of results and of captions, if it is not the name.
        sections: Sections of the configuration, any of which switches the entry on; none if every run has it.
        rules: Files in ``rules/experiments/`` with the rules that write its sums.
        sums: Argument of ``make_tables`` -> its files of sums, as a path below the results with ``{fold}``,
            ``{session}`` and ``{seed}``. ``workflow/report_files.py`` adds the lists that no path describes.
        code: Its modules, less the last part of their names: ``CODEtables`` has ``make_tables``, ``CODEfigures`` has
            ``draw_FIGURE``, ``CODEnarrative`` has ``describe_results``.
        settings: Values of the configuration that its tables depend on, each an argument of ``make_tables`` named as
            the last part.
        resampled: Whether its tables have intervals: ``make_tables`` takes ``resampling``.
        shown: Tables that the report shows.
        tables: Other tables. A name without suffix is a table as Parquet and TSV.
        text: File that sums the tables up for a terminal; "" for none.
        figures: Figure -> the tables that it is drawn from.
        paper_figure: Its figure in the paper, whose results section this entry then is; "" for none.
        headline_sentences: Number of sentences that are the headline: the first ones with something in bold.
        notebook: Whether ``notebooks/NAME.ipynb`` shows the tables of the folder.
        on_request: Whether its results are made only by its own target.
    """

    name: str
    title: str
    question: str = ""
    number: int | None = None
    part_of: str = ""
    folder: str = ""
    sections: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    sums: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    settings: tuple[str, ...] = ()
    resampled: bool = True
    shown: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    text: str = "summary.txt"
    figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paper_figure: str = ""
    headline_sentences: int = 1
    notebook: bool = False
    on_request: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.folder or self.name)

    @property
    def whole(self) -> "Entry":
        """The entry that it is a part of, or itself."""
        return CATALOGUE[self.part_of] if self.part_of else self

    @property
    def category(self) -> str:
        """Category of the report: those with a number come first."""
        return self.whole.title if self.whole.number is None else f"{self.whole.number} {self.whole.title}"

    def subcategory(self, kind: str) -> str:
        """Subcategory of the report: the kind of a result, or the part of an experiment."""
        return self.title if self.part_of else kind

    def caption(self, kind: str, name: str) -> str:
        """File in ``report/`` with the caption of a ``table`` or ``figure``."""
        return f"{self.folder}/{kind}_{name}.rst"

    @property
    def table_files(self) -> list[str]:
        """Names of the files that the job of its tables writes, less the TSV of shown tables."""
        plain = [name for name in self.tables if "." not in name]
        files = [*as_files([*self.shown, *self.tables]), *(f"{name}.tsv" for name in plain)]
        return [*files, self.text] if self.text else files

    @property
    def table_function(self) -> str:
        """Function that makes its tables, as ``module:name``."""
        return f"{self.code}tables:make_tables"

    @property
    def narrative_function(self) -> str:
        """Function that describes its results, as ``module:name``."""
        return f"{self.code}narrative:describe_results"

    def drawn_from(self, figure: str) -> list[str]:
        """Names of the files that a figure is drawn from."""
        return as_files(self.figures[figure])

    def figure_function(self, figure: str) -> str:
        """Function that draws a figure, as ``module:name``."""
        return f"{self.code}figures:draw_{figure}"

    def is_on(self, config: object) -> bool:
        """Whether a run of this configuration has it."""
        return not self.sections or any(setting(config, name) is not None for name in self.sections)


def as_files(tables: Iterable[str]) -> list[str]:
    """Files of tables: a name without suffix is Parquet."""
    return [name if "." in name else f"{name}.parquet" for name in tables]


def setting(config: object, name: str) -> object:
    """Value of the configuration, such as ``evaluation.horizons_ms``; None if its section is not there."""
    return reduce(lambda part, key: None if part is None else getattr(part, key), name.split("."), config)


CATALOGUE = {
    one.name: one
    for one in (
        Entry(name="paper", title="Results", number=0, folder="report", notebook=True, on_request=True),
        Entry(
            name="cross_session",
            title="Unseen animals",
            question="How well are the next moments of a recording forecast if its animal was never seen in training?",
            number=1,
            sums={"scores": "scores/{fold}/{session}.parquet", "sessions": "scores/sessions.parquet"},
            code="neurohorizon.experiments.cross_session.",
            shown=("summary", "comparisons", "sessions", "unit_influence", "left_out"),
            settings=("cohort.note", "model.population"),
            tables=("horizon_sessions", "horizon", "regions_sessions", "regions", "network"),
            figures={
                "main": ("example.h5", "horizon", "sessions", "summary"),
                "paired": ("sessions", "summary"),
                "horizon": ("horizon",),
                "example": ("example.h5",),
            },
            paper_figure="main",
            # the score, its share of what the true rates reach if these are known, and the gain over the best baseline
            headline_sentences=3,
            notebook=True,
        ),
        Entry(
            name="tuning",
            title="Settings of baselines",
            part_of="cross_session",
            folder="cross_session",
            code="neurohorizon.experiments.cross_session.tuning_",
            resampled=False,
            shown=("tuning",),
            text="",
        ),
        Entry(
            name="curves",
            title="How much of a recording is needed",
            question="How do scores depend on reference length, population size and elapsed time?",
            part_of="cross_session",
            folder="cross_session",
            sections=("cross_session",),
            rules=("cross_session",),
            sums={
                "curves": "cross_session/scores/{fold}/{session}/curves_seed-{seed}.parquet",
                "elapsed": "cross_session/scores/{fold}/{session}/elapsed.parquet",
                "by_unit": "cross_session/scores/{fold}/{session}/units.parquet",
            },
            code="neurohorizon.experiments.cross_session.curve_",
            settings=("evaluation.horizons_ms", "cross_session.matched_units"),
            shown=("reference_length", "population", "gap", "elapsed", "elapsed_leads", "matched_regions"),
            tables=("curves_sessions", "elapsed_sessions", "matched_sessions"),
            text="curves.txt",
            figures={
                "reference_length": ("reference_length", "curves_sessions"),
                "population": ("population", "curves_sessions"),
                "elapsed": ("elapsed", "elapsed_leads"),
                "matched_regions": ("matched_regions",),
            },
            paper_figure="reference_length",
        ),
        Entry(
            name="scaling",
            title="Scaling",
            question="Do scores improve with more recordings, other recordings or larger networks?",
            number=2,
            sections=("scaling",),
            rules=("points", "scaling"),
            code="neurohorizon.experiments.scaling.",
            settings=("evaluation.horizons_ms",),
            shown=("curve", "fits", "predictions", "comparisons"),
            tables=("points", "horizon", "lines", "arms", "own_lab", "parameters", "left_out"),
            figures={
                "main": (
                    *("curve", "points", "fits", "lines", "predictions"),
                    *("arms", "comparisons", "own_lab", "parameters"),
                ),
                "curve": ("curve", "points", "fits", "lines"),
                "horizon": ("horizon",),
            },
            paper_figure="main",
            headline_sentences=2,  # the change, and whether a law was identified
            notebook=True,
        ),
        Entry(
            name="horizons",
            title="Horizons",
            question="How far ahead is a forecast better than a mean rate, and does feeding forecasts back help?",
            number=3,
            sections=("rollout",),
            rules=("horizons",),
            sums={
                "calibration": "calibration/sums/{fold}/{session}/seed-{seed}.parquet",
                "teacher_forced": "horizons/scores/{fold}/seed-{seed}.parquet",
            },
            code="neurohorizon.experiments.horizons.",
            settings=("evaluation.horizons_ms", "rollout.block_bins"),
            shown=("horizons", "reach", "comparisons", "teacher_forced", "calibration"),
            tables=(
                *("joint", "bins", "bins_over_filter", "teacher_forced_bins"),
                *("sessions", "teacher_forced_sessions", "left_out"),
            ),
            figures={
                "main": ("bins", "horizons", "reach", "teacher_forced_bins", "calibration"),
                "curves": ("bins", "reach"),
                "horizons": ("horizons",),
                "teacher_forced": ("teacher_forced_bins", "bins"),
                "calibration": ("calibration",),
            },
            paper_figure="main",
            notebook=True,
        ),
        Entry(
            name="calibration",
            title="Calibration",
            part_of="horizons",
            sections=("rollout",),
            rules=("horizons",),
            sums={
                "sums": "calibration/sums/{fold}/{session}/seed-{seed}.parquet",
                "examples": "calibration/sums/{fold}/{session}/seed-{seed}.h5",
            },
            code="neurohorizon.experiments.horizons.calibration_",
            settings=("evaluation.horizons_ms",),
            shown=("calibration", "joint", "comparisons"),
            tables=("sessions", "horizon", "coverage", "pit", "left_out", "example.h5"),
            figures={"calibration": ("pit", "coverage", "horizon", "calibration"), "paths": ("example.h5",)},
        ),
        Entry(
            name="multimodal",
            title="Behaviour and images",
            question="What do behaviour and images add to the spikes?",
            number=4,
            sections=("multimodal",),
            rules=("multimodal",),
            sums={
                "scores": "multimodal/scores/{fold}/{session}.parquet",
                "repeats": "multimodal/repeats/{fold}/{session}.parquet",
                "examples": "multimodal/examples/{fold}/{session}.parquet",
                "autocorrelation": "multimodal/scores/autocorrelation.parquet",
            },
            code="neurohorizon.experiments.multimodal.",
            settings=("multimodal", "evaluation.horizons_ms"),
            shown=("gain", "comparisons", "regions", "psth", "autocorrelation"),
            tables=(
                *("gain_sessions", "regions_sessions", "horizon_sessions", "horizon", "horizon_parts"),
                *("psth_sessions", "example", "encoders", "left_out"),
            ),
            figures={
                "main": ("regions", "horizon", "gain", "gain_sessions", "example"),
                "regions": ("regions",),
                "horizon": ("horizon",),
                "conditions": ("gain", "gain_sessions"),
                "psth": ("example",),
            },
            paper_figure="main",
            notebook=True,
        ),
        Entry(
            name="downstream",
            title="Decoding",
            question="What can be decoded from the frozen latents: stimulus, choice, movement?",
            number=5,
            sections=("downstream",),
            rules=("downstream",),
            code="neurohorizon.experiments.downstream.",
            shown=("summary", "comparisons"),
            tables=("sessions", "left_out"),
            figures={"scores": ("summary",), "sessions": ("sessions",)},
            paper_figure="scores",
            headline_sentences=2,  # over chance, and over counts
            notebook=True,
        ),
        Entry(
            name="poyo",
            title="POYO",
            part_of="downstream",
            sections=("poyo",),
            rules=("downstream",),
            code="neurohorizon.experiments.downstream.poyo_",
            shown=("sessions", "summary"),
            figures={"decoding": ("sessions", "summary")},
            on_request=True,
        ),
        Entry(
            name="ablations",
            title="Ablations",
            question="What does each part of the network contribute?",
            number=6,
            sections=("ablations",),
            rules=("points",),
            code="neurohorizon.experiments.ablations.",
            settings=("evaluation.horizons_ms",),
            shown=("ablations", "summary"),
            tables=("differences", "horizons", "sessions", "left_out"),
            figures={"forest": ("ablations", "differences"), "horizons": ("horizons",)},
            paper_figure="forest",
            notebook=True,
        ),
        Entry(name="agreement", title="Agreement"),
        Entry(
            name="definitions",
            title="Definitions of bits per spike",
            part_of="agreement",
            folder="agreement",
            sums={"scores": "definitions/scores/{fold}/{session}.parquet"},
            code="neurohorizon.agreement.definition_",
            shown=("definitions",),
            text="",
        ),
        Entry(
            name="planted_effects",
            title="Planted effects",
            part_of="agreement",
            folder="agreement",
            sections=("sources.simulated", "sources.simulated_allen"),
            code="neurohorizon.agreement.effect_",
            shown=("planted_effects",),
            text="planted_effects.txt",
        ),
    )
}
"""Name -> entry, in the order of the paper."""
