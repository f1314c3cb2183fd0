"""Files and options of the report: inputs and outputs of each entry of the catalogue."""

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from layout import Inputs, Layout
from pydantic import BaseModel

from neurohorizon.experiments.catalogue import CATALOGUE, Entry, as_files, setting

FORMATS = ("svg", "pdf", "png")
PAGES = ("overview.html", "results.md")
"""Pages on all experiments together, in the folder of the report; the first page is in the folder of the run."""
CHECKED = {
    "cross_session": ("comparisons", "sessions", "summary", "horizon_sessions"),
    "curves": ("reference_length",),
    "scaling": ("comparisons",),
    "ablations": ("ablations",),
    "multimodal": ("regions",),
}
"""Tables that are compared with the effects planted in simulated recordings."""


class ReportFiles:
    """The report of one run.

    Attributes:
        entries: Entries of the catalogue that the run has.
        tabled: Entries with tables.
        drawn: Each figure, with its entry.
        paged: Entries with a notebook.
        published: Entries with a figure in the paper.
        rules: Files in ``rules/experiments/`` that the run includes.
        printed: Published entries whose tables are also written as text.
        folder: Folder of the paper and of the report's first page.
        page: The first page of the report.
        session_list: List of the sessions of the run.
        page_tables: Tables that the first page reads.
        example: The window that figures of experiment 1 show.

    Args:
        layout: Paths of the run.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._config, self._results = layout.config, layout.results
        self.entries = [one for one in CATALOGUE.values() if one.is_on(layout.config)]
        self.tabled = [one for one in self.entries if one.code]
        self.drawn = [(one, figure) for one in self.entries for figure in one.figures]
        self.paged = [one for one in self.entries if one.notebook]
        self.rules = list(dict.fromkeys(name for one in self.entries for name in one.rules))
        self.published = [one for one in self.entries if one.paper_figure]
        self.printed = [one for one in self.published if one.text]
        self.folder = f"{self._results}/{CATALOGUE['paper'].folder}"
        self.page = f"{self._results}/report.html"
        self.session_list = f"{self._results}/scores/sessions.parquet"
        first = CATALOGUE["cross_session"]
        self.page_tables = self.of(first, "tables", as_files([*first.shown, *first.tables]))
        self.example = f"{self._results}/cross_session/tables/example.h5"

    # results

    def of(self, entry: Entry, kind: str, names: Iterable[str]) -> list[str]:
        """Return files of an entry: some of its ``tables``, ``figures`` or ``notebooks``."""
        return [f"{self._results}/{entry.folder}/{kind}/{name}" for name in names]

    def figure(self, entry: Entry, figure: str, *formats: str) -> list[str]:
        """Return a figure in some formats."""
        return self.of(entry, "figures", [f"{figure}.{suffix}" for suffix in formats])

    def paper_figures(self, suffix: str) -> list[str]:
        """Return the figures of the paper."""
        return [path for one in self.published for path in self.figure(one, one.paper_figure, suffix)]

    def paper_tables(self) -> list[str]:
        """Return the tables that the results section of the paper reads."""
        return [path for one in self.published for path in self.of(one, "tables", as_files([*one.shown, *one.tables]))]

    def notebook_inputs(self, entry: Entry) -> list[str]:
        """Return the files that a notebook reads: the tables of its folder, or the results of all experiments."""
        if entry.name == "paper":
            return [f"{self.folder}/results.json", *self.paper_figures("png")]
        parts = [one for one in self.entries if one.folder == entry.folder and one.figures]
        names = [name for one in parts for name in (*one.shown, *one.tables)]
        names += [name for one in parts for drawn in one.figures.values() for name in drawn]
        return self.of(entry, "tables", dict.fromkeys(as_files(names)))

    def results_of(self, entry: Entry) -> list[str]:
        """Return the results for a reader: figures, shown tables, page."""
        return [
            *(path for figure in entry.figures for path in self.figure(entry, figure, *FORMATS)),
            *self.of(entry, "tables", [f"{name}.tsv" for name in entry.shown]),
            *self.of(entry, "notebooks", [f"{entry.name}.html"] if entry.notebook else []),
            *([f"{self.folder}/paper.pdf"] if entry.name == "paper" else []),
        ]

    def every_result(self) -> list[str]:
        """Return the results of all entries, except those that are made on request."""
        pages = [self.page, *(f"{self.folder}/{name}" for name in PAGES)]
        return [*pages, *(path for one in self.entries if not one.on_request for path in self.results_of(one))]

    def target(self, name: str) -> list[str]:
        """Return the results of an entry and of its parts, as far as the run has them and they need no request."""
        entries = [one for one in self.entries if one.name == name or (one.part_of == name and not one.on_request)]
        return [path for one in entries for path in self.results_of(one)]

    # sums

    def sums(self, entry: Entry) -> dict[str, Inputs | str]:
        """Return the inputs of an entry's tables: argument of ``make_tables`` -> files of sums."""
        listed = {
            "tuning": {"tuned": self._layout.tuned_settings},
            "scaling": {"scores": self._layout.scaling_scores},
            "multimodal": {"weights": self._layout.dinov2_cards},
            "downstream": {"scores": self._layout.downstream_scores},
            "poyo": {"decodings": self._layout.decodings},
            "ablations": {"scores": self._layout.ablations_scores},
        }
        named = {
            # a plan without a cohort already has the path of one file
            name: self._layout.every(path) if "{" in path else f"{self._results}/{path}"
            for name, path in entry.sums.items()
        }
        return named | listed.get(entry.name, {})

    def beside(self, entry: Entry) -> Inputs | list[str]:
        """Return further inputs of an entry's tables that are not an argument."""
        if entry.name == "scaling":
            return self._layout.scaling_cards
        if entry.name == "planted_effects":
            checked = [(one, as_files(CHECKED.get(one.name, ()))) for one in self.entries]
            return [path for one, names in checked for path in self.of(one, "tables", names)]
        return []

    def archived(self, wildcards) -> list[str]:
        """Return all files from which the results of the run are computed.

        Those of an entry on request are among them if its tables are made.
        """
        kept = [self.example, *self._layout.main_cards(wildcards)]
        kept += self._layout.scaling_cards(wildcards) if self._config.scaling else []
        for one in self.tabled:
            if one.on_request and not all(map(os.path.exists, self.of(one, "tables", one.table_files))):
                continue
            for files in self.sums(one).values():
                kept += files(wildcards) if callable(files) else [files]
        return sorted(set(kept))

    # options of the command line

    def settings(self, entry: Entry) -> str:
        """Return values of the configuration that the tables of an entry depend on."""
        config = self._config
        options = {name.rpartition(".")[2]: setting(config, name) for name in entry.settings}
        if entry.resampled:
            evaluation = config.evaluation
            options["resampling"] = {"draws": evaluation.bootstrap_draws, "interval": evaluation.interval}
            options["resampling"] |= {"seed": config.run.seed}
        return _options(options)

    def found(self, entry: Entry) -> Inputs | str:
        """Return options that depend on the cohort or on the encoders of the run."""
        layout = self._layout
        return {
            "cross_session": lambda wildcards: _options({"shared_subjects": layout.shared_subjects()}),
            "multimodal": lambda wildcards: _options({"primary": layout.primary_encoder()}),
            "planted_effects": _options({"results": self._results}),
        }.get(entry.name, "")

    def bench_recordings(self, wildcards) -> str:
        """Return the names of held-out IBL sessions in the Brain-Wide Bench as JSON: experiment ids, if known."""
        rows = [one for fold in self._layout.folds() for one in self._layout.held_out(fold, "ibl")]
        return json.dumps({one.session: one.extras.get("eid") or one.session for one in rows})


def input_options(wildcards, input) -> str:  # noqa: A002 - the name that Snakemake gives
    """Return the named inputs of a job as options of the command line."""
    return _options(dict(input.items()))


def tables_folder(wildcards, input) -> str:  # noqa: A002
    """Return the folder of the tables that a page reads."""
    return str(PurePath(input.tables[0]).parent)


def run_folder(wildcards, input) -> str:  # noqa: A002
    """Return the folder of the run, which contains its configuration."""
    return str(PurePath(input.config).parent)


def _options(values: Mapping[str, object]) -> str:
    """Return arguments as options; arguments without values are omitted."""
    words = []
    for name, value in values.items():
        match value:
            case None:
                texts = []
            case BaseModel():
                texts = [value.model_dump_json()]
            case dict():
                texts = [json.dumps(value)]
            case str() | int() | float():
                texts = [str(value)]
            case _:
                texts = list(map(str, value))
        words += [f"--{name.replace('_', '-')}", *texts] if texts else []
    return shlex.join(words)
