# Experiment 5: behaviour decoded from frozen latents and from counts by probes, and by POYO, which is trained on the
# training sessions and extended to each held-out one.


if CONFIG.downstream:

    rule score_downstream:
        input:
            weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
            session=LAYOUT.of_session("sessions"),
            features=LAYOUT.of_session("features"),
            readout=LAYOUT.of_session("readouts"),
            poyo=LAYOUT.poyo_of_session,
        output:
            f"{RESULTS}/downstream/scores/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.parquet",
        log:
            f"{RESULTS}/logs/score_downstream/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/score_downstream/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.tsv"
        wildcard_constraints:
            role="heldout|train",
        conda:
            "../../envs/model.yaml"
        resources:
            **declared("score_downstream"),
        params:
            downstream=section(CONFIG.downstream),
            timeline=section(CONFIG.timeline),
            gap_s=CONFIG.splits.gap_s,
            code=code("neurohorizon.experiments.downstream.scores:score_downstream"),
        shell:
            """
            python "$CALL" neurohorizon.experiments.downstream.scores:score_downstream --weights {input.weights:q} \
                --paths.session {input.session:q} --paths.features {input.features:q} \
                --paths.readout {input.readout:q} --poyo {input.poyo:q} --downstream {params.downstream:q} \
                --timeline {params.timeline:q} --gap-s {params.gap_s} --role {wildcards.role} \
                --fold {wildcards.fold:q} --seed {wildcards.seed} --code {params.code} --output {output:q} >{log:q} 2>&1
            """


if CONFIG.poyo:

    # Checkpoints are not an output, since Snakemake deletes the outputs of a job that is killed.
    rule train_poyo:
        input:
            LAYOUT.training("sessions", CONFIG.poyo.source),
        output:
            weights=f"{RESULTS}/poyo/models/{{fold}}/seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/poyo/models/{{fold}}/seed-{{seed}}/model.json",
        log:
            f"{RESULTS}/logs/train_poyo/{{fold}}/seed-{{seed}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/train_poyo/{{fold}}/seed-{{seed}}.tsv"
        conda:
            "../../envs/poyo.yaml"
        threads: CONFIG.training.threads
        resources:
            **declared("train_poyo"),
        params:
            checkpoints=f"{RESULTS}/checkpoints/{{fold}}/poyo_seed-{{seed}}",
            poyo=section(CONFIG.poyo),
            timeline=section(CONFIG.timeline),
            accelerator=CONFIG.training.accelerator,
            code=code("neurohorizon.experiments.downstream.poyo:train_poyo"),
        shell:
            """
            python "$CALL" neurohorizon.experiments.downstream.poyo:train_poyo --sessions {input:q} \
                --poyo {params.poyo:q} --timeline {params.timeline:q} --fold {wildcards.fold:q} \
                --seed {wildcards.seed} --accelerator {params.accelerator} --threads {threads} --code {params.code} \
                --checkpoints {params.checkpoints:q} --output {output.weights:q} >{log:q} 2>&1
            """

    rule decode_training:
        input:
            weights=f"{RESULTS}/poyo/models/{{fold}}/seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/poyo/models/{{fold}}/seed-{{seed}}/model.json",
            sessions=LAYOUT.training("sessions", CONFIG.poyo.source),
        output:
            f"{RESULTS}/poyo/decodings/{{fold}}/seed-{{seed}}/training.h5",
        log:
            f"{RESULTS}/logs/decode_training/{{fold}}/seed-{{seed}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/decode_training/{{fold}}/seed-{{seed}}.tsv"
        conda:
            "../../envs/poyo.yaml"
        threads: CONFIG.training.threads
        resources:
            **declared("decode_training"),
        params:
            accelerator=CONFIG.training.accelerator,
            code=code("neurohorizon.experiments.downstream.poyo_decoding:decode_training_sessions"),
        shell:
            """
            python "$CALL" neurohorizon.experiments.downstream.poyo_decoding:decode_training_sessions \
                --weights {input.weights:q} --sessions {input.sessions:q} --fold {wildcards.fold:q} \
                --seed {wildcards.seed} --accelerator {params.accelerator} --threads {threads} --code {params.code} \
                --output {output:q} >{log:q} 2>&1
            """

    rule extend_poyo:
        input:
            weights=f"{RESULTS}/poyo/models/{{fold}}/seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/poyo/models/{{fold}}/seed-{{seed}}/model.json",
            session=LAYOUT.of_session("sessions"),
        output:
            decoding=f"{RESULTS}/poyo/decodings/{{fold}}/seed-{{seed}}/{{session}}_poyo.h5",
            contexts=(
                [f"{RESULTS}/poyo/contexts/{{fold}}/seed-{{seed}}/{{session}}.h5"] if LAYOUT.poyo_is_probed() else []
            ),
        log:
            f"{RESULTS}/logs/extend_poyo/{{fold}}/seed-{{seed}}/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/extend_poyo/{{fold}}/seed-{{seed}}/{{session}}.tsv"
        conda:
            "../../envs/poyo.yaml"
        threads: CONFIG.training.threads
        resources:
            **declared("extend_poyo"),
        params:
            accelerator=CONFIG.training.accelerator,
            downstream=section(CONFIG.downstream if LAYOUT.poyo_is_probed() else None),
            code=code("neurohorizon.experiments.downstream.poyo_decoding:decode_new_session"),
        shell:
            """
            python "$CALL" neurohorizon.experiments.downstream.poyo_decoding:decode_new_session \
                --weights {input.weights:q} --session {input.session:q} --fold {wildcards.fold:q} \
                --seed {wildcards.seed} --accelerator {params.accelerator} --threads {threads} --code {params.code} \
                --output {output.decoding:q} --downstream {params.downstream:q} --contexts {output.contexts:q} \
                >{log:q} 2>&1
            """

    rule probe_session:
        input:
            weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
            session=LAYOUT.of_session("sessions"),
            features=LAYOUT.of_session("features"),
            readout=LAYOUT.of_session("readouts"),
        output:
            f"{RESULTS}/poyo/decodings/{{fold}}/seed-{{seed}}/{{session}}_probes.h5",
        log:
            f"{RESULTS}/logs/probe_session/{{fold}}/seed-{{seed}}/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/probe_session/{{fold}}/seed-{{seed}}/{{session}}.tsv"
        conda:
            "../../envs/model.yaml"
        resources:
            **declared("probe_session"),
        params:
            poyo=section(CONFIG.poyo),
            timeline=section(CONFIG.timeline),
            code=code("neurohorizon.experiments.downstream.ridge_probes:probe_session"),
        shell:
            """
            python "$CALL" neurohorizon.experiments.downstream.ridge_probes:probe_session \
                --weights {input.weights:q} --paths.session {input.session:q} --paths.features {input.features:q} \
                --paths.readout {input.readout:q} --poyo {params.poyo:q} --timeline {params.timeline:q} \
                --fold {wildcards.fold:q} --seed {wildcards.seed} --code {params.code} --output {output:q} >{log:q} 2>&1
            """
