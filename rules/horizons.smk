# Experiment 3: how far ahead each decoding of the network knows something, in the windows that sample paths are drawn
# for. Calibration (rules/rollouts.smk) gives the sums of all but the teacher-forced scores, which are no forecasts.
include: "horizon_files.smk"


HORIZONS_REPORTED = ("horizons", "reach", "comparisons", "teacher_forced", "calibration")
HORIZONS_TABLES = (
    *HORIZONS_REPORTED,
    *("bins", "bins_over_filter", "teacher_forced_bins"),
    *("sessions", "teacher_forced_sessions", "left_out"),
)
HORIZONS_FIGURES = {  # figure: the tables that it is drawn from
    "main": ("bins", "horizons", "reach", "teacher_forced_bins", "calibration"),
    "curves": ("bins", "reach"),
    "horizons": ("horizons",),
    "teacher_forced": ("teacher_forced_bins", "bins"),
    "calibration": ("calibration",),
}
HORIZONS = [
    *expand(
        f"{RESULTS}/horizons/figures/{{name}}.{{format}}",
        name=list(HORIZONS_FIGURES),
        format=["svg", "pdf", "png"],
    ),
    f"{RESULTS}/horizons/tables/summary.txt",
    f"{RESULTS}/horizons/notebooks/horizons.html",
    *CALIBRATION,
]
NOTEBOOKS["horizons"] = [f"{RESULTS}/horizons/tables/{name}.parquet" for name in HORIZONS_TABLES]
SCORE_FILES["horizons"] = horizons_scores
PAPER_FIGURES["horizons"] = "main"


rule score_teacher_forcing:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        sessions=fold_heldout_files,
        features=fold_heldout_features,
        readouts=fold_heldout_readouts,
        oracles=fold_oracles,
    output:
        f"{RESULTS}/horizons/scores/{{fold}}/seed-{{seed}}.parquet",
    log:
        f"{RESULTS}/logs/score_teacher_forcing/{{fold}}/seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_teacher_forcing/{{fold}}/seed-{{seed}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        timeline=section(CONFIG.timeline),
        every_windows=CONFIG.rollout.every_windows,
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("score_teacher_forcing.py"),
    shell:
        """
        python "$SCRIPTS/score_teacher_forcing.py" --weights {input.weights:q} --method neurohorizon \
            --fold {wildcards.fold:q} --seed {wildcards.seed} \
            --paths.session {input.sessions:q} --paths.features {input.features:q} \
            --paths.readout {input.readouts:q} --oracles {input.oracles:q} --timeline {params.timeline:q} \
            --every-windows {params.every_windows} --minimum-rate-hz {params.minimum_rate_hz} --code {params.code} \
            --output {output:q} >{log:q} 2>&1
        """


rule make_horizons_tables:
    input:
        calibration=calibration_sums,
        told=teacher_forced_scores,
    output:
        [f"{RESULTS}/horizons/tables/{name}.parquet" for name in HORIZONS_TABLES],
        [f"{RESULTS}/horizons/tables/{name}.tsv" for name in HORIZONS_TABLES if name not in HORIZONS_REPORTED],
        f"{RESULTS}/horizons/tables/summary.txt",
        [
            report(
                f"{RESULTS}/horizons/tables/{name}.tsv",
                caption=f"../report/horizons_table_{name}.rst",
                category=CATEGORIES["horizons"],
                subcategory="Tables",
                labels={"table": name.replace("_", " ")},
            )
            for name in HORIZONS_REPORTED
        ],
    log:
        f"{RESULTS}/logs/make_horizons_tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_horizons_tables.tsv"
    conda:
        "../envs/report.yaml"
    params:
        folder=output_folder,
        horizons_ms=CONFIG.evaluation.horizons_ms,
        block_bins=CONFIG.rollout.block_bins,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        code=code("make_horizons_tables.py"),
    shell:
        """
        python "$SCRIPTS/make_horizons_tables.py" --calibration {input.calibration:q} \
            --teacher-forced {input.told:q} --horizons-ms {params.horizons_ms} --block-bins {params.block_bins} \
            --draws {params.draws} --interval {params.interval} --seed {params.seed} \
            --output-folder {params.folder:q} >{log:q} 2>&1
        """


for _name, _tables in HORIZONS_FIGURES.items():

    rule:
        name:
            f"draw_horizons_{_name}"
        input:
            [f"{RESULTS}/horizons/tables/{table}.parquet" for table in _tables],
        output:
            report(
                f"{RESULTS}/horizons/figures/{_name}.svg",
                caption=f"../report/horizons_figure_{_name}.rst",
                category=CATEGORIES["horizons"],
                subcategory="Figures",
                labels={"figure": _name.replace("_", " ")},
            ),
            f"{RESULTS}/horizons/figures/{_name}.pdf",
            f"{RESULTS}/horizons/figures/{_name}.png",
        log:
            f"{RESULTS}/logs/draw_horizons_{_name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw_horizons_{_name}.tsv"
        conda:
            "../envs/report.yaml"
        params:
            figure=_name,
            code=code("draw_horizons.py"),
        shell:
            """
            python "$SCRIPTS/draw_horizons.py" {params.figure} --tables {input:q} --output {output:q} >{log:q} 2>&1
            """
