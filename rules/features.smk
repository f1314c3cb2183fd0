# What may be known of a unit: statistics of reference windows, several per session.
rule reference_features:
    input:
        f"{RESULTS}/sessions/{{source}}/{{session}}.h5",
    output:
        f"{RESULTS}/features/{{source}}/{{session}}.h5",
    log:
        f"{RESULTS}/logs/reference_features/{{source}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/reference_features/{{source}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        features=section(CONFIG.features),
        timeline=section(CONFIG.timeline),
        splits=section(CONFIG.splits),
        code=code("reference_features.py"),
    shell:
        """
        python "$SCRIPTS/reference_features.py" --session {input:q} --features-json {params.features:q} \
            --timeline-json {params.timeline:q} --splits-json {params.splits:q} --output {output:q} >{log:q} 2>&1
        """
