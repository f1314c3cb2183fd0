# Agreement with the IBL Brain-Wide Bench's own scorer, on the forecasts of a run. No part of `all`: its environment
# has a torch of several GB.
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
