# Experiment 4, from forecasts to figures: the same stages as those of the cross-session experiment, for conditions.
include: "condition_files.smk"


MULTIMODAL_REPORTED = ("gain", "comparisons", "regions", "psth", "autocorrelation")
MULTIMODAL_TABLES = (
    *MULTIMODAL_REPORTED,
    *("gain_sessions", "regions_sessions", "horizon_sessions", "horizon", "horizon_parts"),
    *("psth_sessions", "example", "encoders", "left_out"),
)
MULTIMODAL_FIGURES = {  # figure: the tables that it is drawn from
    "main": ("regions", "horizon", "gain", "gain_sessions", "example"),
    "regions": ("regions",),
    "horizon": ("horizon",),
    "conditions": ("gain", "gain_sessions"),
    "psth": ("example",),
}
MULTIMODAL = [
    *expand(
        f"{RESULTS}/multimodal/figures/{{name}}.{{format}}",
        name=list(MULTIMODAL_FIGURES),
        format=["svg", "pdf", "png"],
    ),
    f"{RESULTS}/multimodal/tables/summary.txt",
    f"{RESULTS}/multimodal/notebooks/multimodal.html",
]
PAPER_FIGURES["multimodal"] = "main"
SCORE_FILES["multimodal"] = multimodal_scores
NOTEBOOKS["multimodal"] = [f"{RESULTS}/multimodal/tables/{name}.parquet" for name in MULTIMODAL_TABLES]


rule forecast_psth:
    input:
        session=session_file,
        task=first_forecasts,
    output:
        temp(f"{RESULTS}/multimodal/psth/{{fold}}/{{session}}.h5"),
    log:
        f"{RESULTS}/logs/forecast_psth/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/forecast_psth/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        code=code("forecast_psth.py"),
    shell:
        """
        python "$SCRIPTS/forecast_psth.py" --session {input.session:q} --task {input.task:q}/spikes.h5 \
            --code {params.code} --output {output:q} >{log:q} 2>&1
        """


rule score_conditions:
    input:
        session=session_file,
        folders=condition_forecasts,
        psth=psth_forecast,
        oracle=oracle_forecast,
    output:
        scores=f"{RESULTS}/multimodal/scores/{{fold}}/{{session}}.parquet",
        repeats=f"{RESULTS}/multimodal/repeats/{{fold}}/{{session}}.parquet",
        example=f"{RESULTS}/multimodal/examples/{{fold}}/{{session}}.parquet",
    log:
        f"{RESULTS}/logs/score_conditions/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_conditions/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        multimodal=section(CONFIG.multimodal),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        horizons_ms=CONFIG.evaluation.horizons_ms,
        code=code("score_conditions.py"),
    shell:
        """
        python "$SCRIPTS/score_conditions.py" --session {input.session:q} --folders {input.folders:q} \
            --others {input.psth:q} {input.oracle:q} --multimodal {params.multimodal:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --horizons-ms {params.horizons_ms} \
            --output.scores {output.scores:q} --output.repeats {output.repeats:q} \
            --output.example {output.example:q} >{log:q} 2>&1
        """


rule measure_behaviour:
    input:
        heldout_files,
    output:
        f"{RESULTS}/multimodal/scores/autocorrelation.parquet",
    log:
        f"{RESULTS}/logs/measure_behaviour.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_behaviour.tsv"
    conda:
        "../envs/report.yaml"
    params:
        multimodal=section(CONFIG.multimodal),
        code=code("measure_behaviour.py"),
    shell:
        """
        python "$SCRIPTS/measure_behaviour.py" --sessions {input:q} --multimodal {params.multimodal:q} \
            --output {output:q} >{log:q} 2>&1
        """


rule make_multimodal_tables:
    input:
        scores=condition_scores,
        repeats=condition_repeats,
        examples=condition_examples,
        autocorrelation=f"{RESULTS}/multimodal/scores/autocorrelation.parquet",
        weights=dinov2_card,
    output:
        [f"{RESULTS}/multimodal/tables/{name}.parquet" for name in MULTIMODAL_TABLES],
        [f"{RESULTS}/multimodal/tables/{name}.tsv" for name in MULTIMODAL_TABLES if name not in MULTIMODAL_REPORTED],
        f"{RESULTS}/multimodal/tables/summary.txt",
        [
            report(
                f"{RESULTS}/multimodal/tables/{name}.tsv",
                caption=f"../report/multimodal_table_{name}.rst",
                category=CATEGORIES["multimodal"],
                subcategory="Tables",
                labels={"table": name},
            )
            for name in MULTIMODAL_REPORTED
        ],
    log:
        f"{RESULTS}/logs/make_multimodal_tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_multimodal_tables.tsv"
    conda:
        "../envs/report.yaml"
    params:
        folder=output_folder,
        multimodal=section(CONFIG.multimodal),
        primary=primary_encoder_name,
        weights=weights_card_option,
        horizons_ms=CONFIG.evaluation.horizons_ms,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        code=code("make_multimodal_tables.py"),
    shell:
        """
        python "$SCRIPTS/make_multimodal_tables.py" --scores {input.scores:q} --repeats {input.repeats:q} \
            --examples {input.examples:q} --autocorrelation {input.autocorrelation:q} --multimodal-json {params.multimodal:q} \
            --primary-encoder {params.primary} {params.weights} --horizons-ms {params.horizons_ms} \
            --draws {params.draws} --interval {params.interval} --seed {params.seed} --output-folder {params.folder:q} >{log:q} 2>&1
        """


for _name, _tables in MULTIMODAL_FIGURES.items():

    rule:
        name:
            f"draw_multimodal_{_name}"
        input:
            [f"{RESULTS}/multimodal/tables/{table}.parquet" for table in _tables],
        output:
            report(
                f"{RESULTS}/multimodal/figures/{_name}.svg",
                caption=f"../report/multimodal_figure_{_name}.rst",
                category=CATEGORIES["multimodal"],
                subcategory="Figures",
                labels={"figure": _name},
            ),
            f"{RESULTS}/multimodal/figures/{_name}.pdf",
            f"{RESULTS}/multimodal/figures/{_name}.png",
        log:
            f"{RESULTS}/logs/draw_multimodal_{_name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw_multimodal_{_name}.tsv"
        conda:
            "../envs/report.yaml"
        params:
            figure=_name,
            code=code("draw_multimodal.py"),
        shell:
            """
            python "$SCRIPTS/draw_multimodal.py" {params.figure} --tables {input:q} --output {output:q} >{log:q} 2>&1
            """
