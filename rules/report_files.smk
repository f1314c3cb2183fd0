# Which files of sums, settings and captions each entry of the catalogue is made from; rules/report.smk makes it.
from types import SimpleNamespace

from neurohorizon.experiments.catalogue import CATALOGUE, Entry, as_files, setting


include: "cross_session_files.smk"
include: "horizon_files.smk"
include: "rollout_files.smk"
include: "encoders.smk"
include: "conditions.smk"
include: "condition_files.smk"
include: "decoding_files.smk"
include: "variant_files.smk"
include: "scaling_files.smk"


ENTRIES = [one for one in CATALOGUE.values() if one.is_on(CONFIG)]
TABLED = [one for one in ENTRIES if one.code]
DRAWN = [(one, figure) for one in ENTRIES for figure in one.figures]
NOTEBOOKS = [one for one in ENTRIES if one.notebook]
IN_PAPER = [one for one in ENTRIES if one.paper_figure]
SESSION_LIST = f"{RESULTS}/scores/sessions.parquet"
EXAMPLE = f"{RESULTS}/cross_session/tables/example.h5"
ARCHIVE = f"{RESULTS}/scores.tar"
REPORT = f"{RESULTS}/{CATALOGUE['paper'].folder}"
RESAMPLING = {
    "draws": CONFIG.evaluation.bootstrap_draws,
    "interval": CONFIG.evaluation.interval,
    "seed": CONFIG.run.seed,
}


def files_in(one: Entry, kind: str, names: Iterable[str]) -> list[str]:
    """Files of an entry's ``tables``, ``figures`` or ``notebooks``."""
    return [f"{RESULTS}/{one.folder}/{kind}/{name}" for name in names]


def figure_files(one: Entry, figure: str, *formats: str) -> list[str]:
    """A figure in some formats."""
    return files_in(one, "figures", [f"{figure}.{suffix}" for suffix in formats])


def notebook_inputs(one: Entry) -> list[str]:
    """Files that the notebook of an entry reads: the tables of its folder, or the results of all experiments."""
    if one.name == "paper":
        return [f"{REPORT}/results.json", *paper_figures("png")]
    tables = []
    for part in (part for part in ENTRIES if part.folder == one.folder and part.figures):
        tables += as_files([*part.shown, *part.tables, *(name for drawn in part.figures.values() for name in drawn)])
    return files_in(one, "tables", dict.fromkeys(tables))


def results_of(one: Entry) -> list[str]:
    """All that is made for an entry: figures, tables, page."""
    made = [path for figure in one.figures for path in figure_files(one, figure, "svg", "pdf", "png")]
    made += files_in(one, "tables", [f"{name}.tsv" for name in one.shown])
    made += files_in(one, "notebooks", [f"{one.name}.html"] if one.notebook else [])
    return made + ([f"{REPORT}/overview.html", f"{REPORT}/paper.pdf"] if one.name == "paper" else [])


EVERY_RESULT = [path for one in ENTRIES for path in results_of(one)]


def target(name: str) -> list[str]:
    """Results of an entry and of its parts, as far as this run has them."""
    return [path for one in ENTRIES if name in (one.name, one.part_of) for path in results_of(one)]


def paper_figures(suffix: str) -> list[str]:
    """The figure of each experiment that is in the paper."""
    return [path for one in IN_PAPER for path in figure_files(one, one.paper_figure, suffix)]


def main_cards(wildcards) -> list[str]:
    """Cards of the main network, of every fold and seed."""
    names = forecast_names(("neurohorizon",))
    return [f"{RESULTS}/models/{fold}/{name}/model.json" for fold in folds(cohort()) for name in names]


def definition_scores(wildcards) -> list[str]:
    """Sums per unit, for every definition of bits per spike, of all held-out sessions of all folds."""
    return _heldout(f"{RESULTS}/definitions/scores/{{fold}}/{{session}}.parquet")


def checked_tables(wildcards) -> list[str]:
    """Tables that are compared with the effects planted in simulated recordings."""
    checked = {
        "cross_session": ("comparisons", "sessions", "summary", "horizon_sessions"),
        "curves": ("reference_length",),
        "scaling": ("comparisons",),
        "ablations": ("ablations",),
        "multimodal": ("regions",),
    }
    return [path for one in ENTRIES for path in files_in(one, "tables", as_files(checked.get(one.name, ())))]


SUMS = {  # entry: argument of its tables' function -> files of sums
    "cross_session": {"scores": all_scores, "sessions": SESSION_LIST},
    "tuning": {"tuned": tuned_settings},
    "curves": {"curves": curve_sums, "elapsed": elapsed_sums, "by_unit": unit_sums},
    "scaling": {"scores": scaling_scores},
    "horizons": {"calibration": calibration_sums, "teacher_forced": teacher_forced_scores},
    "calibration": {"sums": calibration_sums, "examples": calibration_examples},
    "multimodal": {
        "scores": condition_scores,
        "repeats": condition_repeats,
        "examples": condition_examples,
        "autocorrelation": f"{RESULTS}/multimodal/scores/autocorrelation.parquet",
        "weights": dinov2_card,
    },
    "downstream": {"scores": downstream_scores},
    "poyo": {"decodings": all_decodings},
    "ablations": {"scores": ablations_scores},
    "definitions": {"scores": definition_scores},
    "truths": {},
}
BESIDE = {"scaling": scaling_cards, "truths": checked_tables}  # entry: other files that its tables are made from


def archived_files(wildcards) -> list[str]:
    """Every file that the results of this run are made from."""
    kept = [EXAMPLE, *main_cards(wildcards), *(scaling_cards(wildcards) if CONFIG.scaling else ())]
    for one in TABLED:
        for files in SUMS[one.name].values():
            kept += files(wildcards) if callable(files) else [files]
    return sorted(set(kept))


def run_folder(wildcards, input) -> str:
    """Folder of the run, which has its configuration."""
    return os.path.dirname(input.config)


def input_options(wildcards, input) -> str:
    """The named inputs of a job as options of the command line."""
    words = []
    for name, files in input.items():
        paths = [files] if isinstance(files, str) else files
        words += [option(name), *paths] if paths else []
    return shlex.join(words)


def setting_options(one: Entry) -> str:
    """Values of the configuration that the tables of an entry depend on, as options of the command line."""
    words = []
    for name in one.settings:
        value = setting(CONFIG, name)
        values = [section(value)] if isinstance(value, Section) else value if isinstance(value, tuple) else [value]
        words += [option(name.rpartition(".")[2]), *map(str, values)]
    return shlex.join([*words, "--resampling", json.dumps(RESAMPLING)] if one.resampled else words)


def option(name: str) -> str:
    """The option of the command line that gives an argument."""
    return f"--{name.replace('_', '-')}"


def primary_encoder_option(wildcards) -> str:
    """The encoder whose conditions are shown, as an option of the command line."""
    return shlex.join(["--primary", primary_encoder()])


FURTHER_OPTIONS = {  # entry: options that are neither files nor values of the configuration
    "cross_session": shared_subjects_option,
    "multimodal": primary_encoder_option,
    "truths": shlex.join(["--results", RESULTS]),
}


def audited_forecasts(wildcards) -> list[str]:
    """Every method's forecasts of all held-out sessions of all folds."""
    return [
        path
        for fold in folds(cohort())
        for one in heldout_sessions(cohort(), fold)
        for path in session_forecasts(SimpleNamespace(fold=fold, session=one.session))
    ]


def bench_recordings(wildcards) -> str:
    """Names of the held-out IBL sessions in the Brain-Wide Bench as JSON: ids of experiments, if there are any."""
    rows = [one for fold in folds(cohort()) for one in heldout_sessions(cohort(), fold) if one.source == "ibl"]
    return json.dumps({one.session: one.extras.get("eid") or one.session for one in rows})
