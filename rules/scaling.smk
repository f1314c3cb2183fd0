# Experiment 2: the score against the number of training sessions and of parameters. Points are trained and scored by the
# rules of variants; here stands which sessions are matched by region, and what is made of the scores.
include: "scaling_files.smk"


rule choose_sessions:
    input:
        training=scaling_training_files,
        heldout=scaling_heldout_files,
    output:
        f"{RESULTS}/scaling/{{fold}}/same_region-{{size}}_draw-{{draw}}_seed-{{seed}}/sessions.json",
    log:
        f"{RESULTS}/logs/choose_sessions/{{fold}}/same_region-{{size}}_draw-{{draw}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/choose_sessions/{{fold}}/same_region-{{size}}_draw-{{draw}}_seed-{{seed}}.tsv"
    wildcard_constraints:
        size=r"\d+",
        draw=r"\d+",
    conda:
        "../envs/model.yaml"
    params:
        seed=CONFIG.run.seed,
        code=code("choose_sessions.py"),
    shell:
        """
        python "$SCRIPTS/choose_sessions.py" --training {input.training:q} --heldout {input.heldout:q} \
            --size {wildcards.size} --draw {wildcards.draw} --seed {params.seed} --output {output:q} >{log:q} 2>&1
        """


SCALING_REPORTED = ("curve", "fits", "predictions", "comparisons")
SCALING_TABLES = (*SCALING_REPORTED, "points", "horizon", "lines", "arms", "own_lab", "parameters", "left_out")
SCALING_FIGURES = {  # figure: what it is drawn from
    "main": (
        *("curve", "points", "fits", "lines", "predictions"),
        *("arms", "comparisons", "own_lab", "parameters"),
    ),
    "curve": ("curve", "points", "fits", "lines"),
    "horizon": ("horizon",),
}
SCALING = [
    *expand(
        f"{RESULTS}/scaling/figures/{{name}}.{{format}}",
        name=list(SCALING_FIGURES),
        format=["svg", "pdf", "png"],
    ),
    f"{RESULTS}/scaling/tables/summary.txt",
    f"{RESULTS}/scaling/notebooks/scaling.html",
]
NOTEBOOKS["scaling"] = [f"{RESULTS}/scaling/tables/{name}.parquet" for name in SCALING_TABLES]
SCORE_FILES["scaling"] = scaling_scores
PAPER_FIGURES["scaling"] = "main"


rule make_scaling_tables:
    input:
        scaling_scores,
    output:
        [f"{RESULTS}/scaling/tables/{name}.parquet" for name in SCALING_TABLES],
        [f"{RESULTS}/scaling/tables/{name}.tsv" for name in SCALING_TABLES if name not in SCALING_REPORTED],
        f"{RESULTS}/scaling/tables/summary.txt",
        [
            report(
                f"{RESULTS}/scaling/tables/{name}.tsv",
                caption=f"../report/scaling_table_{name}.rst",
                category=CATEGORIES["scaling"],
                subcategory="Tables",
                labels={"table": name},
            )
            for name in SCALING_REPORTED
        ],
    log:
        f"{RESULTS}/logs/make_scaling_tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_scaling_tables.tsv"
    conda:
        "../envs/report.yaml"
    params:
        scores=scaling_score_option,
        folder=output_folder,
        horizons_ms=list(CONFIG.evaluation.horizons_ms),
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        code=code("make_scaling_tables.py"),
    shell:
        """
        python "$SCRIPTS/make_scaling_tables.py" --scores {params.scores} --horizons-ms {params.horizons_ms} \
            --draws {params.draws} --interval {params.interval} --seed {params.seed} \
            --output-folder {params.folder:q} >{log:q} 2>&1
        """


for _name, _tables in SCALING_FIGURES.items():

    rule:
        name:
            f"draw_scaling_{_name}"
        input:
            [f"{RESULTS}/scaling/tables/{table}.parquet" for table in _tables],
        output:
            report(
                f"{RESULTS}/scaling/figures/{_name}.svg",
                caption=f"../report/scaling_figure_{_name}.rst",
                category=CATEGORIES["scaling"],
                subcategory="Figures",
                labels={"figure": _name},
            ),
            f"{RESULTS}/scaling/figures/{_name}.pdf",
            f"{RESULTS}/scaling/figures/{_name}.png",
        log:
            f"{RESULTS}/logs/draw_scaling_{_name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw_scaling_{_name}.tsv"
        conda:
            "../envs/report.yaml"
        params:
            figure=_name,
            code=code("draw_scaling.py"),
        shell:
            """
            python "$SCRIPTS/draw_scaling.py" {params.figure} --tables {input:q} --output {output:q} >{log:q} 2>&1
            """
