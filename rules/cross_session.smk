# Experiment 1 against what is known of a recording, and by time and region: sums, tables and figures.
include: "cross_session_files.smk"


CURVE_REPORTED = ("reference_length", "population", "gap", "elapsed", "elapsed_leads", "matched_regions")
CURVE_TABLES = (*CURVE_REPORTED, "curves_sessions", "elapsed_sessions", "matched_sessions")
SCORE_FILES["cross_session_curves"] = curve_scores
PAPER_FIGURES["cross_session_curves"] = "reference_length"
NOTEBOOKS["cross_session"] += [f"{RESULTS}/cross_session/tables/{name}.parquet" for name in CURVE_TABLES]


# One job forecasts with all lengths of the reference part and all numbers of units.
rule score_curves:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        session=session_file,
        features=feature_file,
        readout=readout_file,
        forecasts=compared_forecasts,
    output:
        f"{CURVE_SUMS}/curves_seed-{{seed}}.parquet",
    log:
        f"{RESULTS}/logs/score_curves/{{fold}}/{{session}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_curves/{{fold}}/{{session}}/seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        cross_session=section(CONFIG.cross_session),
        timeline=section(CONFIG.timeline),
        features=section(CONFIG.features),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        random_seed=CONFIG.run.seed,
        code=code("score_curves.py"),
    shell:
        """
        python "$SCRIPTS/score_curves.py" --weights {input.weights:q} --paths.session {input.session:q} \
            --paths.features {input.features:q} --paths.readout {input.readout:q} --forecasts {input.forecasts:q} \
            --cross-session {params.cross_session:q} --timeline {params.timeline:q} \
            --features {params.features:q} --minimum-rate-hz {params.minimum_rate_hz} \
            --random-seed {params.random_seed} --code {params.code} --output {output:q} >{log:q} 2>&1
        """


rule score_elapsed:
    input:
        session=session_file,
        forecasts=session_forecasts,
    output:
        elapsed=f"{CURVE_SUMS}/elapsed.parquet",
        by_unit=f"{CURVE_SUMS}/units.parquet",
    log:
        f"{RESULTS}/logs/score_elapsed/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_elapsed/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        cross_session=section(CONFIG.cross_session),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("score_elapsed.py"),
    shell:
        """
        python "$SCRIPTS/score_elapsed.py" --session {input.session:q} --forecasts {input.forecasts:q} \
            --cross-session {params.cross_session:q} --minimum-rate-hz {params.minimum_rate_hz} \
            --elapsed {output.elapsed:q} --by-unit {output.by_unit:q} >{log:q} 2>&1
        """


rule make_cross_session_tables:
    input:
        curves=curve_sums,
        elapsed=elapsed_sums,
        by_unit=unit_sums,
    output:
        [f"{RESULTS}/cross_session/tables/{name}.parquet" for name in CURVE_TABLES],
        [f"{RESULTS}/cross_session/tables/{name}.tsv" for name in CURVE_TABLES if name not in CURVE_REPORTED],
        f"{RESULTS}/cross_session/tables/summary.txt",
        [
            report(
                f"{RESULTS}/cross_session/tables/{name}.tsv",
                caption=f"../report/cross_session_table_{name}.rst",
                category=CATEGORIES["cross_session"],
                subcategory="Tables",
                labels={"table": name.replace("_", " ")},
            )
            for name in CURVE_REPORTED
        ],
    log:
        f"{RESULTS}/logs/make_cross_session_tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_cross_session_tables.tsv"
    conda:
        "../envs/report.yaml"
    params:
        folder=output_folder,
        horizons_ms=CONFIG.evaluation.horizons_ms,
        matched_units=CONFIG.cross_session.matched_units,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        code=code("make_cross_session_tables.py"),
    shell:
        """
        python "$SCRIPTS/make_cross_session_tables.py" --curves {input.curves:q} --elapsed {input.elapsed:q} \
            --by-unit {input.by_unit:q} --horizons-ms {params.horizons_ms} --matched-units {params.matched_units} \
            --draws {params.draws} --interval {params.interval} --seed {params.seed} \
            --output-folder {params.folder:q} >{log:q} 2>&1
        """


for _name, _tables in CURVE_FIGURES.items():

    rule:
        name:
            f"draw_cross_session_{_name}"
        input:
            [f"{RESULTS}/cross_session/tables/{table}.parquet" for table in _tables],
        output:
            report(
                f"{RESULTS}/cross_session/figures/{_name}.svg",
                caption=f"../report/cross_session_figure_{_name}.rst",
                category=CATEGORIES["cross_session"],
                subcategory="Figures",
                labels={"figure": _name.replace("_", " ")},
            ),
            f"{RESULTS}/cross_session/figures/{_name}.pdf",
            f"{RESULTS}/cross_session/figures/{_name}.png",
        log:
            f"{RESULTS}/logs/draw_cross_session_{_name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw_cross_session_{_name}.tsv"
        conda:
            "../envs/report.yaml"
        params:
            figure=_name,
            code=code("draw_cross_session.py"),
        shell:
            """
            python "$SCRIPTS/draw_cross_session.py" {params.figure} --tables {input:q} --output {output:q} >{log:q} 2>&1
            """
