# What may be known of a unit: statistics and a closed-form readout of reference windows, several per session.
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
        python "$SCRIPTS/reference_features.py" --session {input:q} --features {params.features:q} \
            --timeline {params.timeline:q} --splits {params.splits:q} --output {output:q} >{log:q} 2>&1
        """


rule population_readout:
    input:
        session=f"{RESULTS}/sessions/{{source}}/{{session}}.h5",
        features=f"{RESULTS}/features/{{source}}/{{session}}.h5",
    output:
        f"{RESULTS}/readouts/{{source}}/{{session}}.h5",
    log:
        f"{RESULTS}/logs/population_readout/{{source}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/population_readout/{{source}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        timeline=section(CONFIG.timeline),
        readout=section(CONFIG.model.readout),
        code=code("fit_readout.py"),
    shell:
        """
        python "$SCRIPTS/fit_readout.py" --session {input.session:q} --features {input.features:q} \
            --timeline {params.timeline:q} --readout {params.readout:q} --output {output:q} >{log:q} 2>&1
        """
