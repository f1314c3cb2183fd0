# The first result of a simulated run: released weights forecast its first held-out session. It waits for no training.


rule preview:
    input:
        weights=shipped("weights/hippocampus.safetensors"),
        card=shipped("weights/hippocampus.json"),
        session=LAYOUT.previewed,
    output:
        page=f"{RESULTS}/preview/answer.html",
        score=f"{RESULTS}/preview/score.txt",
    log:
        f"{RESULTS}/logs/preview.log",
    benchmark:
        f"{RESULTS}/benchmarks/preview.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        **declared("preview"),
    params:
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        seed=CONFIG.run.seed,
        code=code("neurohorizon.command.preview:preview_session"),
    shell:
        """
        python "$CALL" neurohorizon.command.preview:preview_session --weights {input.weights:q} \
            --session {input.session:q} --minimum-rate-hz {params.minimum_rate_hz} --seed {params.seed} \
            --output-page {output.page:q} --output-score {output.score:q} >{log:q} 2>&1
        """
