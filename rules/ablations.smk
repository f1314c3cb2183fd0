# Experiment 6, from scores to figures: the forecaster with one part taken away at a time (rules/variants.smk trains
# and scores them).
ABLATIONS_REPORTED = ("ablations", "summary")
ABLATIONS_TABLES = (*ABLATIONS_REPORTED, "differences", "horizons", "sessions", "left_out")
ABLATIONS_FIGURES = {  # figure: the tables that it is drawn from
    "forest": ("ablations", "differences"),
    "horizons": ("horizons",),
}
ABLATIONS = [
    *expand(
        f"{RESULTS}/ablations/figures/{{name}}.{{format}}",
        name=list(ABLATIONS_FIGURES),
        format=["svg", "pdf", "png"],
    ),
    f"{RESULTS}/ablations/tables/summary.txt",
    f"{RESULTS}/ablations/notebooks/ablations.html",
]
NOTEBOOKS["ablations"] = [f"{RESULTS}/ablations/tables/{name}.parquet" for name in ABLATIONS_TABLES]
SCORE_FILES["ablations"] = ablations_scores
PAPER_FIGURES["ablations"] = "forest"


rule make_ablations_tables:
    input:
        ablations_scores,
    output:
        [f"{RESULTS}/ablations/tables/{name}.parquet" for name in ABLATIONS_TABLES],
        [f"{RESULTS}/ablations/tables/{name}.tsv" for name in ABLATIONS_TABLES if name not in ABLATIONS_REPORTED],
        f"{RESULTS}/ablations/tables/summary.txt",
        [
            report(
                f"{RESULTS}/ablations/tables/{name}.tsv",
                caption=f"../report/ablations_table_{name}.rst",
                category=CATEGORIES["ablations"],
                subcategory="Tables",
                labels={"table": name},
            )
            for name in ABLATIONS_REPORTED
        ],
    log:
        f"{RESULTS}/logs/make_ablations_tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_ablations_tables.tsv"
    conda:
        "../envs/report.yaml"
    params:
        folder=output_folder,
        horizons_ms=CONFIG.evaluation.horizons_ms,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        code=code("make_ablations_tables.py"),
    shell:
        """
        python "$SCRIPTS/make_ablations_tables.py" --scores {input:q} --horizons-ms {params.horizons_ms} \
            --draws {params.draws} --interval {params.interval} --seed {params.seed} \
            --output-folder {params.folder:q} >{log:q} 2>&1
        """


for _name, _tables in ABLATIONS_FIGURES.items():

    rule:
        name:
            f"draw_ablations_{_name}"
        input:
            [f"{RESULTS}/ablations/tables/{table}.parquet" for table in _tables],
        output:
            report(
                f"{RESULTS}/ablations/figures/{_name}.svg",
                caption=f"../report/ablations_figure_{_name}.rst",
                category=CATEGORIES["ablations"],
                subcategory="Figures",
                labels={"figure": _name},
            ),
            f"{RESULTS}/ablations/figures/{_name}.pdf",
            f"{RESULTS}/ablations/figures/{_name}.png",
        log:
            f"{RESULTS}/logs/draw_ablations_{_name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw_ablations_{_name}.tsv"
        conda:
            "../envs/report.yaml"
        params:
            figure=_name,
            code=code("draw_ablations.py"),
        shell:
            """
            python "$SCRIPTS/draw_ablations.py" {params.figure} --tables {input:q} --output {output:q} >{log:q} 2>&1
            """
