# Points of experiments 2 and 6: each is one network, trained on its own sessions or without one component, and scored
# on all held-out sessions.
POINT = f"{RESULTS}/{{experiment}}/{{fold}}/{{point}}"


rule train_point:
    input:
        sessions=LAYOUT.point_training("sessions"),
        features=LAYOUT.point_training("features"),
        readouts=LAYOUT.point_training("readouts"),
        choice=LAYOUT.point_choice,
    output:
        weights=f"{POINT}/model.safetensors",
        card=f"{POINT}/model.json",
        curve=f"{POINT}/log.csv",
    log:
        f"{RESULTS}/logs/train_point/{{experiment}}/{{fold}}/{{point}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_point/{{experiment}}/{{fold}}/{{point}}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: CONFIG.training.threads
    resources:
        **declared("train_point"),
    params:
        checkpoints=f"{RESULTS}/checkpoints/{{experiment}}/{{fold}}/{{point}}/training",
        method=LAYOUT.point_method,
        seed=LAYOUT.point_seed,
        timeline=section(CONFIG.timeline),
        features=LAYOUT.point_section("features"),
        model=LAYOUT.point_section("model"),
        training=LAYOUT.point_section("training"),
        code=code("neurohorizon.models.training:train_on_files"),
    shell:
        """
        $START python "$CALL" neurohorizon.models.training:train_on_files --method {params.method} \
            --fold {wildcards.fold:q} --seed {params.seed} --paths.session {input.sessions:q} \
            --paths.features {input.features:q} --paths.readout {input.readouts:q} --only {input.choice:q} \
            --timeline {params.timeline:q} --features {params.features:q} --model {params.model:q} \
            --training {params.training:q} --code {params.code} --checkpoints {params.checkpoints:q} \
            --output {output.weights:q} --log {output.curve:q} >{log:q} 2>&1
        """


rule score_point:
    input:
        weights=f"{POINT}/model.safetensors",
        card=f"{POINT}/model.json",
        sessions=LAYOUT.point_heldout("sessions"),
        features=LAYOUT.point_heldout("features"),
        readouts=LAYOUT.point_heldout("readouts"),
    output:
        scores=f"{POINT}/scores.parquet",
        point=f"{POINT}/point.json",
    log:
        f"{RESULTS}/logs/score_point/{{experiment}}/{{fold}}/{{point}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_point/{{experiment}}/{{fold}}/{{point}}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: CONFIG.training.threads
    resources:
        **declared("score_point"),
    params:
        parts=f"{RESULTS}/checkpoints/{{experiment}}/{{fold}}/{{point}}/scores",
        timeline=section(CONFIG.timeline),
        splits=section(CONFIG.splits),
        features=section(CONFIG.features),
        method=LAYOUT.point_name,
        seed=LAYOUT.point_seed,
        uses=LAYOUT.point_uses,
        rollout=LAYOUT.point_rollout,
        learned_embedding=LAYOUT.point_learned_embedding,
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("neurohorizon.forecasts.points:score_point"),
    shell:
        """
        python "$CALL" neurohorizon.forecasts.points:score_point --weights {input.weights:q} \
            --method {params.method} --fold {wildcards.fold:q} --seed {params.seed} --uses {params.uses} \
            --paths.session {input.sessions:q} --paths.features {input.features:q} --paths.readout {input.readouts:q} \
            --timeline {params.timeline:q} --splits {params.splits:q} --features {params.features:q} \
            --rollout {params.rollout:q} --learned-embedding {params.learned_embedding:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --threads {threads} --code {params.code} \
            --parts {params.parts:q} --output {output.scores:q} >{log:q} 2>&1
        """
