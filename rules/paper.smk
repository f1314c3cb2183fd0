# What all experiments say together: the results as a paper tells them, on the report's first page, as a notebook and as PDF.
include: "paper_files.smk"


PAPER = [
    f"{RESULTS}/overview.html",
    f"{RESULTS}/notebooks/results.html",
    f"{RESULTS}/paper/paper.pdf",
]


SCORE_FILES["results"] = main_cards
RESULT_TABLES = sorted({path for name, tables in NOTEBOOKS.items() if name in PAPER_FIGURES for path in tables})
NOTEBOOKS["results"] = [f"{RESULTS}/results.json", *paper_figures("png")]


rule tell_results:
    input:
        config=f"{RESULTS}/config.yaml",
        sessions=f"{RESULTS}/scores/sessions.parquet",
        cards=main_cards,
        tables=RESULT_TABLES,
        figures=paper_figures("svg"),
        pictures=paper_figures("png"),
        captions=paper_captions(),
    output:
        results=f"{RESULTS}/results.json",
        overview=report(
            f"{RESULTS}/overview.html",
            caption="../report/overview.rst",
            category=CATEGORIES["results"],
            labels={"page": "overview"},
        ),
    log:
        f"{RESULTS}/logs/tell_results.log",
    benchmark:
        f"{RESULTS}/benchmarks/tell_results.tsv"
    conda:
        "../envs/report.yaml"
    params:
        run=output_folder,
        names=list(PAPER_FIGURES),
        code=code("tell_results.py"),
    shell:
        """
        python "$SCRIPTS/tell_results.py" --run {params.run:q} --names {params.names} --figures {input.figures:q} \
            --captions {input.captions:q} --cards {input.cards:q} --output {output.results:q} \
            --overview {output.overview:q} >{log:q} 2>&1
        """


rule typeset_paper:
    input:
        paper=shipped("paper/paper.typ"),
        references=shipped("paper/references.yml"),
        results=f"{RESULTS}/results.json",
        figures=paper_figures("svg"),
    output:
        report(
            f"{RESULTS}/paper/paper.pdf",
            caption="../report/paper.rst",
            category=CATEGORIES["results"],
            labels={"page": "paper"},
        ),
    log:
        f"{RESULTS}/logs/typeset_paper.log",
    benchmark:
        f"{RESULTS}/benchmarks/typeset_paper.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=code("typeset_paper.py"),
    shell:
        """
        python "$SCRIPTS/typeset_paper.py" --paper {input.paper:q} --results {input.results:q} \
            --output {output:q} >{log:q} 2>&1
        """
