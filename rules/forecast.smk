# Forecasts of held-out time: one file for each fold, session and method, the same schema for all.


rule forecast:
    input:
        weights=f"{RESULTS}/models/{{fold}}/{{model}}_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/{{model}}_seed-{{seed}}/model.json",
        session=LAYOUT.of_session("sessions"),
        features=LAYOUT.of_session("features"),
        readout=LAYOUT.with_population(LAYOUT.of_session("readouts")),
    output:
        f"{RESULTS}/forecasts/{{fold}}/{{session}}/{{model}}_seed-{{seed}}.h5",
    log:
        f"{RESULTS}/logs/forecast/{{fold}}/{{session}}/{{model}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forecast/{{fold}}/{{session}}/{{model}}_seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        **declared("forecast"),
    params:
        timeline=section(CONFIG.timeline),
        code=code("neurohorizon.forecasts.forecast:forecast_with_network"),
    shell:
        """
        python "$CALL" neurohorizon.forecasts.forecast:forecast_with_network --weights {input.weights:q} \
            --paths.session {input.session:q} --paths.features {input.features:q} --paths.readout {input.readout:q} \
            --fold {wildcards.fold:q} --method {wildcards.model} --seed {wildcards.seed} \
            --timeline {params.timeline:q} --code {params.code} --output {output:q} >{log:q} 2>&1
        """


if CONFIG.baselines.controls:

    # The trained network with disrupted identities of its units.
    rule forecast_controls:
        input:
            weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
            session=LAYOUT.of_session("sessions"),
            features=LAYOUT.of_session("features"),
            readout=LAYOUT.of_session("readouts"),
        output:
            [
                f"{RESULTS}/forecasts/{{fold}}/{{session}}/{control}_seed-{{seed}}.h5"
                for control in CONFIG.baselines.controls
            ],
        log:
            f"{RESULTS}/logs/forecast_controls/{{fold}}/{{session}}/seed-{{seed}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/forecast_controls/{{fold}}/{{session}}/seed-{{seed}}.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("forecast_controls"),
        params:
            controls=CONFIG.baselines.controls,
            folder=output_folder,
            timeline=section(CONFIG.timeline),
            code=code("neurohorizon.forecasts.forecast:forecast_with_controls"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.forecast:forecast_with_controls --weights {input.weights:q} \
                --controls {params.controls:q} --paths.session {input.session:q} --paths.features {input.features:q} \
                --paths.readout {input.readout:q} --fold {wildcards.fold:q} --seed {wildcards.seed} \
                --timeline {params.timeline:q} --code {params.code} --output-folder {params.folder:q} >{log:q} 2>&1
            """


if CONFIG.baselines.learned_embedding:

    # The only network forecast that uses a fit to the forecast session, on its reference window.
    rule fit_within_session:
        input:
            weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
            card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
            session=LAYOUT.of_session("sessions"),
            features=LAYOUT.of_session("features"),
            readout=LAYOUT.of_session("readouts"),
        output:
            f"{RESULTS}/forecasts/{{fold}}/{{session}}/learned_embedding_seed-{{seed}}.h5",
        log:
            f"{RESULTS}/logs/fit_within_session/{{fold}}/{{session}}/seed-{{seed}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/fit_within_session/{{fold}}/{{session}}/seed-{{seed}}.tsv"
        conda:
            "../envs/model.yaml"
        threads: CONFIG.training.threads
        resources:
            **declared("fit_within_session"),
        params:
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            features=section(CONFIG.features),
            training=section(CONFIG.training),
            learned_embedding=section(CONFIG.baselines.learned_embedding),
            code=code("neurohorizon.forecasts.forecast:forecast_with_learned_embedding"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.forecast:forecast_with_learned_embedding \
                --weights {input.weights:q} --paths.session {input.session:q} --paths.features {input.features:q} \
                --paths.readout {input.readout:q} --fold {wildcards.fold:q} --seed {wildcards.seed} \
                --timeline {params.timeline:q} --splits {params.splits:q} --features {params.features:q} \
                --training {params.training:q} --learned-embedding {params.learned_embedding:q} --code {params.code} \
                --output {output:q} >{log:q} 2>&1
            """


rule forecast_baselines:
    input:
        baselines=f"{RESULTS}/models/{{fold}}/baselines.json",
        session=LAYOUT.of_session("sessions"),
        features=LAYOUT.of_session("features"),
    output:
        [f"{RESULTS}/forecasts/{{fold}}/{{session}}/{name}.h5" for name in CLOSED_FORM],
    log:
        f"{RESULTS}/logs/forecast_baselines/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forecast_baselines/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        **declared("forecast_baselines"),
    params:
        folder=output_folder,
        timeline=section(CONFIG.timeline),
        code=code("neurohorizon.forecasts.without_network:forecast_with_baselines"),
    shell:
        """
        python "$CALL" neurohorizon.forecasts.without_network:forecast_with_baselines --baselines {input.baselines:q} \
            --paths.session {input.session:q} --paths.features {input.features:q} --fold {wildcards.fold:q} \
            --timeline {params.timeline:q} --code {params.code} --output-folder {params.folder:q} >{log:q} 2>&1
        """


if CONFIG.sources.simulated or CONFIG.sources.simulated_allen:

    rule forecast_oracle:
        input:
            truth=f"{RESULTS}/truth/{{session}}.h5",
            session=LAYOUT.of_session("sessions"),
            features=LAYOUT.of_session("features"),
        output:
            f"{RESULTS}/forecasts/{{fold}}/{{session}}/oracle.h5",
        log:
            f"{RESULTS}/logs/forecast_oracle/{{fold}}/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/forecast_oracle/{{fold}}/{{session}}.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("forecast_oracle"),
        params:
            timeline=section(CONFIG.timeline),
            code=code("neurohorizon.forecasts.without_network:forecast_with_oracle"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.without_network:forecast_with_oracle --truth {input.truth:q} \
                --paths.session {input.session:q} --paths.features {input.features:q} --fold {wildcards.fold:q} \
                --timeline {params.timeline:q} --code {params.code} --output {output:q} >{log:q} 2>&1
            """


if CONFIG.regressions:

    rule forecast_regressions:
        input:
            tuned=f"{RESULTS}/models/{{fold}}/regressions.json",
            pooled=f"{RESULTS}/models/{{fold}}/ar_glm.json",
            session=LAYOUT.of_session("sessions"),
            features=LAYOUT.of_session("features"),
        output:
            [f"{RESULTS}/forecasts/{{fold}}/{{session}}/{name}.h5" for name in REGRESSIONS],
        log:
            f"{RESULTS}/logs/forecast_regressions/{{fold}}/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/forecast_regressions/{{fold}}/{{session}}.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("forecast_regressions"),
        params:
            folder=output_folder,
            timeline=section(CONFIG.timeline),
            regressions=section(CONFIG.regressions),
            code=code("neurohorizon.forecasts.regressions:forecast_with_regressions"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.regressions:forecast_with_regressions --tuned {input.tuned:q} \
                --pooled {input.pooled:q} --paths.session {input.session:q} --paths.features {input.features:q} \
                --fold {wildcards.fold:q} --timeline {params.timeline:q} --regressions {params.regressions:q} \
                --code {params.code} --output-folder {params.folder:q} >{log:q} 2>&1
            """


if CONFIG.latent_readout:

    rule forecast_latent_readout:
        input:
            weights=f"{RESULTS}/models/{{fold}}/{FORECASTER}_seed-{{seed}}/model.safetensors",
            readout=f"{RESULTS}/models/{{fold}}/{LATENT_READOUT}_seed-{{seed}}/model.safetensors",
            session=LAYOUT.of_session("sessions"),
            features=LAYOUT.of_session("features"),
            population=LAYOUT.of_session("readouts"),
        output:
            f"{RESULTS}/forecasts/{{fold}}/{{session}}/{LATENT_READOUT}_seed-{{seed}}.h5",
        log:
            f"{RESULTS}/logs/forecast_latent_readout/{{fold}}/{{session}}/seed-{{seed}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/forecast_latent_readout/{{fold}}/{{session}}/seed-{{seed}}.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("forecast_latent_readout"),
        params:
            timeline=section(CONFIG.timeline),
            code=code("neurohorizon.forecasts.latent_readout:forecast_with_latent_readout"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.latent_readout:forecast_with_latent_readout \
                --weights {input.weights:q} --readout {input.readout:q} --paths.session {input.session:q} \
                --paths.features {input.features:q} --paths.readout {input.population:q} \
                --fold {wildcards.fold:q} --seed {wildcards.seed} --timeline {params.timeline:q} --code {params.code} \
                --output {output:q} >{log:q} 2>&1
            """


if len(CONFIG.run.seeds) > 1:

    rule forecast_ensemble:
        input:
            LAYOUT.of_seeds,
        output:
            f"{RESULTS}/forecasts/{{fold}}/{{session}}/{ENSEMBLE}.h5",
        log:
            f"{RESULTS}/logs/forecast_ensemble/{{fold}}/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/forecast_ensemble/{{fold}}/{{session}}.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("forecast_ensemble"),
        params:
            code=code("neurohorizon.forecasts.ensemble:forecast_with_ensemble"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.ensemble:forecast_with_ensemble --forecasts {input:q} \
                --code {params.code} --output {output:q} >{log:q} 2>&1
            """


if CONFIG.adaptive:

    rule forecast_adaptive:
        input:
            LAYOUT.experts,
        output:
            f"{RESULTS}/forecasts/{{fold}}/{{session}}/{ADAPTIVE}_seed-{{seed}}.h5",
        log:
            f"{RESULTS}/logs/forecast_adaptive/{{fold}}/{{session}}/seed-{{seed}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/forecast_adaptive/{{fold}}/{{session}}/seed-{{seed}}.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("forecast_adaptive"),
        params:
            adaptive=section(CONFIG.adaptive),
            stride_bins=CONFIG.timeline.evaluation_stride_bins,
            code=code("neurohorizon.forecasts.online_mixture:forecast_with_mixture"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.online_mixture:forecast_with_mixture --forecasts {input:q} \
                --seed {wildcards.seed} --adaptive {params.adaptive:q} --stride-bins {params.stride_bins} \
                --code {params.code} --output {output:q} >{log:q} 2>&1
            """
