# Experiment 5: scores of probes that read frozen latents at the end of a context, counts and POYO.
include: "decoding_files.smk"


rule score_downstream:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        session=session_file,
        features=feature_file,
        readout=readout_file,
        poyo=poyo_of_session,
    output:
        f"{RESULTS}/downstream/scores/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.parquet",
    log:
        f"{RESULTS}/logs/score_downstream/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_downstream/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.tsv"
    wildcard_constraints:
        role="heldout|train",
    conda:
        "../envs/model.yaml"
    params:
        downstream=section(CONFIG.downstream),
        timeline=section(CONFIG.timeline),
        gap_s=CONFIG.splits.gap_s,
        code=code("score_downstream.py"),
    shell:
        """
        python "$SCRIPTS/score_downstream.py" --weights {input.weights:q} --paths.session {input.session:q} \
            --paths.features {input.features:q} --paths.readout {input.readout:q} --poyo {input.poyo:q} \
            --downstream {params.downstream:q} --timeline {params.timeline:q} --gap-s {params.gap_s} \
            --role {wildcards.role} --fold {wildcards.fold:q} --seed {wildcards.seed} --code {params.code} \
            --output {output:q} >{log:q} 2>&1
        """
