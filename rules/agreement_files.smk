# Which files agreement with others' definitions and scorers is judged by.
from types import SimpleNamespace


def definition_scores(wildcards) -> list[str]:
    """Sums per unit, for every definition of bits per spike, of all held-out sessions of all folds."""
    return _heldout(f"{RESULTS}/definitions/scores/{{fold}}/{{session}}.parquet")


SCORE_FILES["definitions"] = definition_scores


def audited_forecasts(wildcards) -> list[str]:
    """Every method's forecasts of all held-out sessions of all folds."""
    return [
        path
        for fold in folds(cohort())
        for one in heldout_sessions(cohort(), fold)
        for path in session_forecasts(SimpleNamespace(fold=fold, session=one.session))
    ]


def bench_recordings(wildcards) -> str:
    """Write the Brain-Wide Bench's names of the held-out IBL sessions as JSON: ids of experiments, where there are."""
    rows = [one for fold in folds(cohort()) for one in heldout_sessions(cohort(), fold) if one.source == "ibl"]
    return json.dumps({one.session: one.extras.get("eid") or one.session for one in rows})


def asked_tables(wildcards) -> list[str]:
    """Tables of this run that are asked for what was planted in simulated recordings."""
    tables = [f"{RESULTS}/tables/{name}.parquet" for name in ("comparisons", "sessions", "summary", "horizon_sessions")]
    others = {
        "cross_session": "reference_length",
        "scaling": "comparisons",
        "ablations": "ablations",
        "multimodal": "regions",
    }
    return tables + [
        f"{RESULTS}/{name}/tables/{table}.parquet" for name, table in others.items() if getattr(CONFIG, name)
    ]
