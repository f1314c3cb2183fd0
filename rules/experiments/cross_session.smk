# Experiment 1: score sums by length of the reference window, number of units, time and region.
CURVE_SUMS = f"{RESULTS}/cross_session/scores/{{fold}}/{{session}}"


# One job forecasts with all lengths of the reference window and with all numbers of units.
rule score_curves:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        session=LAYOUT.of_session("sessions"),
        features=LAYOUT.of_session("features"),
        readout=LAYOUT.of_session("readouts"),
        forecasts=LAYOUT.compared_forecasts,
    output:
        f"{CURVE_SUMS}/curves_seed-{{seed}}.parquet",
    log:
        f"{RESULTS}/logs/score_curves/{{fold}}/{{session}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_curves/{{fold}}/{{session}}/seed-{{seed}}.tsv"
    conda:
        "../../envs/model.yaml"
    resources:
        **declared("score_curves"),
    params:
        cross_session=section(CONFIG.cross_session),
        timeline=section(CONFIG.timeline),
        features=section(CONFIG.features),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        random_seed=CONFIG.run.seed,
        code=code("neurohorizon.experiments.cross_session.curve_scores:score_curves"),
    shell:
        """
        python "$CALL" neurohorizon.experiments.cross_session.curve_scores:score_curves --weights {input.weights:q} \
            --paths.session {input.session:q} --paths.features {input.features:q} --paths.readout {input.readout:q} \
            --forecasts {input.forecasts:q} --cross-session {params.cross_session:q} --timeline {params.timeline:q} \
            --features {params.features:q} --minimum-rate-hz {params.minimum_rate_hz} \
            --random-seed {params.random_seed} --code {params.code} --output {output:q} >{log:q} 2>&1
        """


rule score_elapsed:
    input:
        session=LAYOUT.of_session("sessions"),
        forecasts=LAYOUT.session_forecasts,
    output:
        elapsed=f"{CURVE_SUMS}/elapsed.parquet",
        by_unit=f"{CURVE_SUMS}/units.parquet",
    log:
        f"{RESULTS}/logs/score_elapsed/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_elapsed/{{fold}}/{{session}}.tsv"
    conda:
        "../../envs/model.yaml"
    resources:
        **declared("score_elapsed"),
    params:
        cross_session=section(CONFIG.cross_session),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("neurohorizon.experiments.cross_session.elapsed_scores:score_elapsed"),
    shell:
        """
        python "$CALL" neurohorizon.experiments.cross_session.elapsed_scores:score_elapsed \
            --session {input.session:q} --forecasts {input.forecasts:q} --cross-session {params.cross_session:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --elapsed {output.elapsed:q} --by-unit {output.by_unit:q} \
            >{log:q} 2>&1
        """
