# Points of experiments 2 and 6: a network each, trained on its own sessions or with a part taken away, and scored on
# all held-out sessions.
include: "variant_files.smk"


# Checkpoints are no output, since Snakemake deletes those of a job that is killed.
rule train_point:
    input:
        sessions=variant_sessions,
        features=variant_features,
        readouts=variant_readouts,
        choice=variant_choice,
    output:
        weights=f"{POINT}/model.safetensors",
        card=f"{POINT}/model.json",
        curve=f"{POINT}/log.csv",
    log:
        f"{RESULTS}/logs/train_point/{{experiment}}/{{fold}}/{{point}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_point/{{experiment}}/{{fold}}/{{point}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: CONFIG.training.threads
    params:
        checkpoints=f"{RESULTS}/checkpoints/{{experiment}}/{{fold}}/{{point}}/training",
        method=variant_method,
        seed=point_seed,
        timeline=section(CONFIG.timeline),
        features=of_variant("features"),
        model=of_variant("model"),
        training=of_variant("training"),
        code=code("train.py"),
    shell:
        """
        python "$SCRIPTS/train.py" --method {params.method} --fold {wildcards.fold:q} --seed {params.seed} \
            --paths.session {input.sessions:q} --paths.features {input.features:q} --paths.readout {input.readouts:q} \
            --only {input.choice:q} --timeline {params.timeline:q} --features {params.features:q} \
            --model {params.model:q} --training {params.training:q} --code {params.code} \
            --checkpoints {params.checkpoints:q} --output {output.weights:q} --log {output.curve:q} >{log:q} 2>&1
        """


rule score_point:
    input:
        weights=f"{POINT}/model.safetensors",
        card=f"{POINT}/model.json",
        sessions=scored_sessions,
        features=scored_features,
        readouts=scored_readouts,
    output:
        scores=f"{POINT}/scores.parquet",
        point=f"{POINT}/point.json",
    log:
        f"{RESULTS}/logs/score_point/{{experiment}}/{{fold}}/{{point}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_point/{{experiment}}/{{fold}}/{{point}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: CONFIG.training.threads
    params:
        parts=f"{RESULTS}/checkpoints/{{experiment}}/{{fold}}/{{point}}/scores",
        timeline=section(CONFIG.timeline),
        splits=section(CONFIG.splits),
        features=section(CONFIG.features),
        method=point_name,
        seed=point_seed,
        uses=point_uses,
        rollout=rollout_of_point,
        learned_embedding=learned_embedding_of_point,
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("score_point.py"),
    shell:
        """
        python "$SCRIPTS/score_point.py" --weights {input.weights:q} --method {params.method} \
            --fold {wildcards.fold:q} --seed {params.seed} --uses {params.uses} \
            --paths.session {input.sessions:q} --paths.features {input.features:q} --paths.readout {input.readouts:q} \
            --timeline {params.timeline:q} --splits {params.splits:q} --features {params.features:q} \
            --rollout {params.rollout:q} --learned-embedding {params.learned_embedding:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --threads {threads} --code {params.code} \
            --parts {params.parts:q} --output {output.scores:q} >{log:q} 2>&1
        """
