# Agreement with the IBL Brain-Wide Bench's own scorer, on the forecasts of a run. No part of `all`: its environment
# has a torch of several GB.
from types import SimpleNamespace


def audited_forecasts(wildcards) -> list[str]:
    """Every method's forecasts of all held-out sessions of all folds."""
    return [
        path
        for fold in folds(cohort())
        for one in heldout_sessions(cohort(), fold)
        for path in session_forecasts(SimpleNamespace(fold=fold, session=one.session))
    ]


def bench_recordings(wildcards) -> str:
    """Write the benchmark's names of the held-out IBL sessions as JSON: ids of the experiments, where they have one."""
    rows = [one for fold in folds(cohort()) for one in heldout_sessions(cohort(), fold) if one.source == "ibl"]
    return json.dumps({one.session: one.extras.get("eid") or one.session for one in rows})


rule audit_bwb:
    input:
        audited_forecasts,
    output:
        agreement=f"{RESULTS}/audit/agreement.tsv",
        summary=f"{RESULTS}/audit/summary.txt",
        submissions=directory(f"{RESULTS}/audit/submissions"),
        ground_truth=directory(f"{RESULTS}/audit/ground_truth"),
    log:
        f"{RESULTS}/logs/audit_bwb.log",
    benchmark:
        f"{RESULTS}/benchmarks/audit_bwb.tsv"
    conda:
        "../envs/bwb.yaml"
    params:
        recordings=bench_recordings,
        folder=output_folder,
        code=code("audit_bwb.py"),
    shell:
        """
        python "$SCRIPTS/audit_bwb.py" --forecasts {input:q} --recordings {params.recordings:q} \
            --output-folder {params.folder:q} >{log:q} 2>&1
        """
