# Which networks experiments 2 and 6 train, on what, and how they are scored; rules/variants.smk makes them.
from neurohorizon.experiments.scaling.points import nested_subset, parse_point, same_lab_subset
from neurohorizon.experiments.ablations.variants import Variant, ablation, scaled

POINT = f"{RESULTS}/{{experiment}}/{{fold}}/{{point}}"


def _name_and_seed(wildcards) -> tuple[str, int]:
    name, _, seed = wildcards.point.rpartition("_seed-")
    return name, int(seed)


def _variant(wildcards) -> Variant:
    """The network of a point."""
    if wildcards.experiment == "ablations":
        return ablation(CONFIG, _name_and_seed(wildcards)[0])
    return scaled(CONFIG, parse_point(wildcards.point).name or None)


def variant_method(wildcards) -> str:
    """Which network a point trains."""
    return _variant(wildcards).method


def of_variant(name: str) -> Callable:
    """Return a function that gives one section of a point's configuration as JSON."""
    return lambda wildcards: section(getattr(_variant(wildcards), name))


def point_name(wildcards) -> str:
    """Name of a point in tables."""
    return _name_and_seed(wildcards)[0]


def point_seed(wildcards) -> int:
    """Seed of its network."""
    return _name_and_seed(wildcards)[1]


def point_uses(wildcards) -> list[str]:
    """Further ways in which its network is scored."""
    return list(_variant(wildcards).uses)


def rollout_of_point(wildcards) -> str:
    """Section for the use ``autoregressive``, as JSON."""
    return section(CONFIG.rollout if "autoregressive" in point_uses(wildcards) else None)


def learned_embedding_of_point(wildcards) -> str:
    """Section for the use of that name, as JSON."""
    return section(CONFIG.baselines.learned_embedding if "learned_embedding" in point_uses(wildcards) else None)


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


wildcard_constraints:
    experiment="scaling|ablations",
    point=r"[\w-]+_seed-\d+",
