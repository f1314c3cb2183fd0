# Sample paths of held-out time: forecasts by every decoding of the network, and whether their spread is right.
include: "rollout_files.smk"


CALIBRATION_REPORTED = ("calibration", "comparisons")
CALIBRATION_TABLES = (*CALIBRATION_REPORTED, "sessions", "horizon", "coverage", "pit", "left_out")
CALIBRATION_FIGURES = {  # figure: what it is drawn from
    "calibration": ("pit.parquet", "coverage.parquet", "horizon.parquet", "calibration.parquet"),
    "paths": ("example.h5",),
}
CALIBRATION = [
    *expand(
        f"{RESULTS}/calibration/figures/{{name}}.{{format}}",
        name=list(CALIBRATION_FIGURES),
        format=["svg", "pdf", "png"],
    ),
    f"{RESULTS}/calibration/tables/summary.txt",
]
SCORE_FILES["calibration"] = calibration_scores


# Paths themselves are not kept. Forecast files are compared on the same windows, so they need paths of all windows.
rule sample_paths:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        baselines=f"{RESULTS}/models/{{fold}}/baselines.json",
        session=session_file,
        features=feature_file,
        readout=readout_file,
    output:
        sums=f"{RESULTS}/calibration/sums/{{fold}}/{{session}}/seed-{{seed}}.parquet",
        example=f"{RESULTS}/calibration/sums/{{fold}}/{{session}}/seed-{{seed}}.h5",
        forecasts=[f"{RESULTS}/forecasts/{{fold}}/{{session}}/{name}_seed-{{seed}}.h5" for name in DECODED],
    log:
        f"{RESULTS}/logs/sample_paths/{{fold}}/{{session}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_paths/{{fold}}/{{session}}/seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        timeline=section(CONFIG.timeline),
        rollout=section(CONFIG.rollout),
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("sample_paths.py"),
    shell:
        """
        python "$SCRIPTS/sample_paths.py" --weights {input.weights:q} --baselines {input.baselines:q} \
            --paths.session {input.session:q} --paths.features {input.features:q} --paths.readout {input.readout:q} \
            --fold {wildcards.fold:q} --method neurohorizon --seed {wildcards.seed} --timeline {params.timeline:q} \
            --rollout {params.rollout:q} --minimum-rate-hz {params.minimum_rate_hz} --code {params.code} \
            --sums {output.sums:q} --example {output.example:q} --forecasts {output.forecasts:q} >{log:q} 2>&1
        """


rule make_calibration_tables:
    input:
        sums=calibration_sums,
        examples=calibration_examples,
    output:
        [f"{RESULTS}/calibration/tables/{name}.parquet" for name in CALIBRATION_TABLES],
        [f"{RESULTS}/calibration/tables/{name}.tsv" for name in CALIBRATION_TABLES if name not in CALIBRATION_REPORTED],
        f"{RESULTS}/calibration/tables/example.h5",
        f"{RESULTS}/calibration/tables/summary.txt",
        [
            report(
                f"{RESULTS}/calibration/tables/{name}.tsv",
                caption=f"../report/calibration_table_{name}.rst",
                category=CATEGORIES["horizons"],
                subcategory="Calibration",
                labels={"table": name},
            )
            for name in CALIBRATION_REPORTED
        ],
    log:
        f"{RESULTS}/logs/make_calibration_tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_calibration_tables.tsv"
    conda:
        "../envs/report.yaml"
    params:
        folder=output_folder,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        horizons_ms=CONFIG.evaluation.horizons_ms,
        code=code("make_calibration_tables.py"),
    shell:
        """
        python "$SCRIPTS/make_calibration_tables.py" --sums {input.sums:q} --examples {input.examples:q} \
            --horizons-ms {params.horizons_ms} --draws {params.draws} --interval {params.interval} --seed {params.seed} \
            --output-folder {params.folder:q} >{log:q} 2>&1
        """


for _name, _tables in CALIBRATION_FIGURES.items():

    rule:
        name:
            f"draw_calibration_{_name}"
        input:
            [f"{RESULTS}/calibration/tables/{table}" for table in _tables],
        output:
            report(
                f"{RESULTS}/calibration/figures/{_name}.svg",
                caption=f"../report/calibration_figure_{_name}.rst",
                category=CATEGORIES["horizons"],
                subcategory="Calibration",
                labels={"figure": _name},
            ),
            f"{RESULTS}/calibration/figures/{_name}.pdf",
            f"{RESULTS}/calibration/figures/{_name}.png",
        log:
            f"{RESULTS}/logs/draw_calibration_{_name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw_calibration_{_name}.tsv"
        conda:
            "../envs/report.yaml"
        params:
            figure=_name,
            code=code("draw_calibration.py"),
        shell:
            """
            python "$SCRIPTS/draw_calibration.py" {params.figure} --tables {input:q} --output {output:q} >{log:q} 2>&1
            """
