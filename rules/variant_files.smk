# Which networks experiments 2 and 6 train, on what, and how they are scored; rules/variants.smk makes them.
from neurohorizon.experiments.scaling.points import nested_subset, parse_point, points, same_lab_subset
from neurohorizon.experiments.ablations.variants import Variant, ablation, scaled, trained_ablations

POINT = f"{RESULTS}/{{experiment}}/{{fold}}/{{point}}"


def _name_and_seed(wildcards) -> tuple[str, int]:
    name, _, seed = wildcards.point.rpartition("_seed-")
    return name, int(seed)


def _variant(wildcards) -> Variant:
    """The network of a point."""
    if wildcards.experiment == "ablations":
        return ablation(CONFIG, _name_and_seed(wildcards)[0])
    return scaled(CONFIG, parse_point(wildcards.point).name or None)


def variant_settings(wildcards) -> str:
    """What a point trains, as options of the command line."""
    found = _variant(wildcards)
    options = ["--model", found.method, "--seed", str(_name_and_seed(wildcards)[1])]
    for name in ("features", "model", "training"):
        options += [f"--{name}-json", section(getattr(found, name))]
    return shlex.join(options)


def _of_scaling(rows: Iterable[Row]) -> list[Row]:
    """Those of the source that experiment 2 is about."""
    return [one for one in rows if one.source == CONFIG.scaling.source]


def _scaled_rows(fold: str) -> list[Row]:
    """Sessions that experiment 2 may train on."""
    return _of_scaling(training_sessions(cohort(), fold))


def _variant_rows(wildcards) -> Iterable[Row]:
    """Sessions that a point trains on; for those with fitting regions all that could be."""
    if wildcards.experiment == "ablations":
        return training_sessions(cohort(), wildcards.fold)
    point, rows = parse_point(wildcards.point), _scaled_rows(wildcards.fold)
    choose = {"sessions": nested_subset, "same_lab": same_lab_subset}.get(point.kind)
    if choose is None or point.size is None:
        return rows
    try:
        return choose(rows, size=point.size, draw=point.draw, seed=CONFIG.run.seed)
    except ValueError as error:
        raise WorkflowError(f"{wildcards.point} of fold {wildcards.fold}: {error}") from None


def variant_sessions(wildcards) -> list[str]:
    """Session files that a point trains on."""
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", _variant_rows(wildcards))


def variant_features(wildcards) -> list[str]:
    """Their features, in the same order."""
    return _files(f"{RESULTS}/features/{{source}}/{{session}}.h5", _variant_rows(wildcards))


def variant_readouts(wildcards) -> list[str]:
    """Their population readouts, in the same order, for a network that reads them."""
    if _variant(wildcards).method == "own_history":
        return []
    return _files(f"{RESULTS}/readouts/{{source}}/{{session}}.h5", _variant_rows(wildcards))


def variant_choice(wildcards) -> list[str]:
    """File of the sessions that were chosen by their regions, for a point that trains on these."""
    by_region = wildcards.experiment == "scaling" and parse_point(wildcards.point).kind == "same_region"
    return [f"{RESULTS}/scaling/{wildcards.fold}/{wildcards.point}/sessions.json"] if by_region else []


def _scored_rows(wildcards) -> list[Row]:
    rows = heldout_sessions(cohort(), wildcards.fold)
    return _of_scaling(rows) if wildcards.experiment == "scaling" else rows


def scored_sessions(wildcards) -> list[str]:
    """Session files that a point is scored on."""
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", _scored_rows(wildcards))


def scored_features(wildcards) -> list[str]:
    """Their features, in the same order."""
    return _files(f"{RESULTS}/features/{{source}}/{{session}}.h5", _scored_rows(wildcards))


def scored_readouts(wildcards) -> list[str]:
    """Their population readouts, in the same order, for a network that reads them."""
    if _variant(wildcards).method == "own_history":
        return []
    return _files(f"{RESULTS}/readouts/{{source}}/{{session}}.h5", _scored_rows(wildcards))


def scoring_settings(wildcards) -> str:
    """How a point is scored, as options of the command line."""
    name, seed = _name_and_seed(wildcards)
    uses = _variant(wildcards).uses
    options = ["--method", name, "--seed", str(seed), "--uses", *uses]
    if "autoregressive" in uses:
        options += ["--rollout-json", section(CONFIG.rollout)]
    if "learned_embedding" in uses:
        options += ["--fit-json", section(CONFIG.baselines.learned_embedding)]
    return shlex.join(options)


def point_scores(experiment: str) -> list[str]:
    """Tables of sums of all points of an experiment."""
    if experiment == "ablations":
        names = [f"{name}_seed-{seed}" for name in trained_ablations(CONFIG) for seed in CONFIG.ablations.seeds]
        used = {fold: names for fold in folds(cohort())}
    else:
        used = {fold: points(CONFIG.scaling) for fold in folds(cohort()) if _scaled_rows(fold)}
    return [f"{RESULTS}/{experiment}/{fold}/{name}/scores.parquet" for fold, names in used.items() for name in names]


def ablations_scores(wildcards) -> list[str]:
    """Tables of sums of all networks of the ablations."""
    return point_scores("ablations")


wildcard_constraints:
    experiment="scaling|ablations",
    point=r"[\w-]+_seed-\d+",
