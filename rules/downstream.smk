# Experiment 5: what probes read from frozen latents at the end of a context, beside counts and POYO.
include: "decoding_files.smk"


DOWNSTREAM_REPORTED = ("summary", "comparisons")
DOWNSTREAM_TABLES = (*DOWNSTREAM_REPORTED, "sessions", "left_out")
DOWNSTREAM_FIGURES = {  # figure: the tables that it is drawn from
    "scores": ("summary",),
    "sessions": ("sessions",),
}
DOWNSTREAM = [
    *expand(
        f"{RESULTS}/downstream/figures/{{name}}.{{format}}",
        name=list(DOWNSTREAM_FIGURES),
        format=["svg", "pdf", "png"],
    ),
    *[f"{RESULTS}/downstream/tables/{name}.tsv" for name in DOWNSTREAM_TABLES],
    f"{RESULTS}/downstream/tables/summary.txt",
    f"{RESULTS}/downstream/notebooks/downstream.html",
]
NOTEBOOKS["downstream"] = [f"{RESULTS}/downstream/tables/{name}.parquet" for name in DOWNSTREAM_TABLES]
PAPER_FIGURES["downstream"] = "scores"


SCORE_FILES["downstream"] = downstream_scores


rule score_downstream:
    input:
        weights=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{fold}}/neurohorizon_seed-{{seed}}/model.json",
        session=session_file,
        features=feature_file,
        readout=readout_file,
        poyo=poyo_of_session,
    output:
        f"{RESULTS}/downstream/scores/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.parquet",
    log:
        f"{RESULTS}/logs/score_downstream/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_downstream/{{fold}}/{{role}}/{{session}}_seed-{{seed}}.tsv"
    wildcard_constraints:
        role="heldout|train",
    conda:
        "../envs/model.yaml"
    params:
        downstream=section(CONFIG.downstream),
        timeline=section(DECODED_TIMELINE),
        gap_s=CONFIG.splits.gap_s,
        code=code("score_downstream.py"),
    shell:
        """
        python "$SCRIPTS/score_downstream.py" --weights {input.weights:q} --paths.session {input.session:q} \
            --paths.features {input.features:q} --paths.readout {input.readout:q} --poyo {input.poyo:q} \
            --downstream {params.downstream:q} --timeline {params.timeline:q} --gap-s {params.gap_s} \
            --role {wildcards.role} --fold {wildcards.fold:q} --seed {wildcards.seed} --code {params.code} \
            --output {output:q} >{log:q} 2>&1
        """


rule make_downstream_tables:
    input:
        downstream_scores,
    output:
        [f"{RESULTS}/downstream/tables/{name}.parquet" for name in DOWNSTREAM_TABLES],
        [f"{RESULTS}/downstream/tables/{name}.tsv" for name in DOWNSTREAM_TABLES if name not in DOWNSTREAM_REPORTED],
        f"{RESULTS}/downstream/tables/summary.txt",
        [
            report(
                f"{RESULTS}/downstream/tables/{name}.tsv",
                caption=f"../report/downstream_table_{name}.rst",
                category=CATEGORIES["downstream"],
                subcategory="Tables",
                labels={"table": name},
            )
            for name in DOWNSTREAM_REPORTED
        ],
    log:
        f"{RESULTS}/logs/make_downstream_tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_downstream_tables.tsv"
    conda:
        "../envs/report.yaml"
    params:
        folder=output_folder,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        code=code("make_downstream_tables.py"),
    shell:
        """
        python "$SCRIPTS/make_downstream_tables.py" --scores {input:q} --draws {params.draws} \
            --interval {params.interval} --seed {params.seed} --output-folder {params.folder:q} >{log:q} 2>&1
        """


for _name, _tables in DOWNSTREAM_FIGURES.items():

    rule:
        name:
            f"draw_downstream_{_name}"
        input:
            [f"{RESULTS}/downstream/tables/{table}.parquet" for table in _tables],
        output:
            report(
                f"{RESULTS}/downstream/figures/{_name}.svg",
                caption=f"../report/downstream_figure_{_name}.rst",
                category=CATEGORIES["downstream"],
                subcategory="Figures",
                labels={"figure": _name},
            ),
            f"{RESULTS}/downstream/figures/{_name}.pdf",
            f"{RESULTS}/downstream/figures/{_name}.png",
        log:
            f"{RESULTS}/logs/draw_downstream_{_name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw_downstream_{_name}.tsv"
        conda:
            "../envs/report.yaml"
        params:
            figure=_name,
            code=code("draw_downstream.py"),
        shell:
            """
            python "$SCRIPTS/draw_downstream.py" {params.figure} --tables {input:q} --output {output:q} >{log:q} 2>&1
            """
