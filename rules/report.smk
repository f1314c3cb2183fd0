# All results that are computed from files of sums, in a loop over neurohorizon/experiments/catalogue.py: tables,
# figures, notebooks, the first page of the report and the paper; and the archive of the sums.
from report_files import ReportFiles, input_options, run_folder, tables_folder

from neurohorizon.experiments.catalogue import CATALOGUE

REPORT = ReportFiles(LAYOUT)
ARCHIVE = f"{RESULTS}/scores.tar"


for _one in REPORT.tabled:

    rule:
        name:
            f"make_{_one.name}_tables"
        input:
            REPORT.beside(_one),
            **REPORT.sums(_one),
        output:
            REPORT.of(_one, "tables", _one.table_files),
            [
                report(
                    path,
                    caption=f"../report/{_one.caption('table', name)}",
                    category=_one.category,
                    subcategory=_one.subcategory("Tables"),
                    labels={"table": name.replace("_", " ")},
                )
                for name in _one.shown
                for path in REPORT.of(_one, "tables", [f"{name}.tsv"])
            ],
        log:
            f"{RESULTS}/logs/make_{_one.name}_tables.log",
        benchmark:
            f"{RESULTS}/benchmarks/make_{_one.name}_tables.tsv"
        conda:
            "../envs/report.yaml"
        resources:
            **declared("make_tables"),
        params:
            function=_one.table_function,
            sums=input_options,
            settings=REPORT.settings(_one),
            further=REPORT.found(_one),
            folder=output_folder,
            code=code(_one.table_function),
        shell:
            """
            python "$CALL" {params.function} {params.sums} {params.settings} {params.further} \
                --folder {params.folder:q} >{log:q} 2>&1
            """


for _one, _figure in REPORT.drawn:

    rule:
        name:
            f"draw_{_one.name}_{_figure}"
        input:
            REPORT.of(_one, "tables", _one.drawn_from(_figure)),
        output:
            report(
                REPORT.figure(_one, _figure, "svg"),
                caption=f"../report/{_one.caption('figure', _figure)}",
                category=_one.category,
                subcategory=_one.subcategory("Figures"),
                labels={"figure": _figure.replace("_", " ")},
            ),
            REPORT.figure(_one, _figure, "pdf", "png"),
        log:
            f"{RESULTS}/logs/draw_{_one.name}_{_figure}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw_{_one.name}_{_figure}.tsv"
        conda:
            "../envs/report.yaml"
        resources:
            **declared("draw_figure"),
        params:
            function=_one.figure_function(_figure),
            code=code("neurohorizon.analysis.drawing:draw_files", _one.figure_function(_figure)),
        shell:
            """
            python "$CALL" neurohorizon.analysis.drawing:draw_files --draw {params.function} --tables {input:q} \
                --output {output:q} >{log:q} 2>&1
            """


for _one in REPORT.paged:

    # papermill starts the kernel of the rule's environment
    rule:
        name:
            f"notebook_{_one.name}"
        input:
            notebook=shipped(f"notebooks/{_one.name}.ipynb"),
            tables=REPORT.notebook_inputs(_one),
        output:
            executed=REPORT.of(_one, "notebooks", [f"{_one.name}.ipynb"]),
            page=report(
                REPORT.of(_one, "notebooks", [f"{_one.name}.html"]),
                caption="../report/notebook.rst",
                category=_one.category,
                subcategory="Notebook",
                labels={"notebook": _one.name.replace("_", " ")},
            ),
        log:
            f"{RESULTS}/logs/notebook_{_one.name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/notebook_{_one.name}.tsv"
        conda:
            "../envs/report.yaml"
        resources:
            **declared("run_notebook"),
        params:
            tables=os.path.abspath(f"{RESULTS}/{_one.folder}/tables"),
            code=code(ROOT / "notebooks" / f"{_one.name}.ipynb"),
        shell:
            """
            exec >{log:q} 2>&1
            python "$CHECK" {params.tables:q}
            papermill --start-timeout 600 --kernel python3 -p tables {params.tables:q} \
                {input.notebook:q} {output.executed:q}
            jupyter nbconvert --to html --no-input --TagRemovePreprocessor.enabled=True \
                --TagRemovePreprocessor.remove_cell_tags injected-parameters \
                --TagRemovePreprocessor.remove_cell_tags parameters {output.executed:q}
            """


rule write_results:
    input:
        config=f"{RESULTS}/config.yaml",
        sessions=REPORT.session_list,
        cards=LAYOUT.main_cards,
        tables=REPORT.paper_tables(),
        figures=REPORT.paper_figures("svg"),
        pictures=REPORT.paper_figures("png"),
        captions=[shipped(f"report/{one.caption('figure', one.paper_figure)}") for one in REPORT.published],
    output:
        f"{REPORT.folder}/results.json",
    log:
        f"{RESULTS}/logs/write_results.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_results.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        **declared("write_results"),
    params:
        folder=run_folder,
        names=[one.name for one in REPORT.published],
        code=code("neurohorizon.report.results:write_results", *(one.narrative_function for one in REPORT.published)),
    shell:
        """
        python "$CALL" neurohorizon.report.results:write_results --folder {params.folder:q} --names {params.names} \
            --figures {input.figures:q} --captions {input.captions:q} --cards {input.cards:q} --output {output:q} \
            >{log:q} 2>&1
        """


# The first page of the report, and its part on the first page of Snakemake's report
rule write_page:
    input:
        results=f"{REPORT.folder}/results.json",
        tables=REPORT.page_tables,
        example=REPORT.example,
    output:
        page=REPORT.page,
        overview=report(
            f"{REPORT.folder}/overview.html",
            caption="../report/overview.rst",
            category=CATALOGUE["paper"].category,
            labels={"page": "overview"},
        ),
    log:
        f"{RESULTS}/logs/write_page.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_page.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        **declared("write_page"),
    params:
        folder=tables_folder,
        code=code("neurohorizon.report.page:write_page"),
    shell:
        """
        python "$CALL" neurohorizon.report.page:write_page --results {input.results:q} --tables {params.folder:q} \
            --example {input.example:q} --output {output.page:q} --overview {output.overview:q} >{log:q} 2>&1
        """


rule write_run_page:
    input:
        results=f"{REPORT.folder}/results.json",
        summaries=[path for one in REPORT.printed for path in REPORT.of(one, "tables", [one.text])],
    output:
        f"{REPORT.folder}/results.md",
    log:
        f"{RESULTS}/logs/write_run_page.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_run_page.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        **declared("write_run_page"),
    params:
        names=[one.name for one in REPORT.printed],
        code=code("neurohorizon.report.run_page:write_run_page"),
    shell:
        """
        python "$CALL" neurohorizon.report.run_page:write_run_page --results {input.results:q} \
            --names {params.names} --summaries {input.summaries:q} --output {output:q} >{log:q} 2>&1
        """


rule typeset_paper:
    input:
        paper=shipped("paper/paper.typ"),
        references=shipped("paper/references.yml"),
        results=f"{REPORT.folder}/results.json",
        figures=REPORT.paper_figures("svg"),
    output:
        report(
            f"{REPORT.folder}/paper.pdf",
            caption="../report/paper.rst",
            category=CATALOGUE["paper"].category,
            labels={"page": "paper"},
        ),
    log:
        f"{RESULTS}/logs/typeset_paper.log",
    benchmark:
        f"{RESULTS}/benchmarks/typeset_paper.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        **declared("typeset_paper"),
    params:
        code=code("neurohorizon.report.typesetting:typeset"),
    shell:
        """
        python "$CALL" neurohorizon.report.typesetting:typeset --source {input.paper:q} --results {input.results:q} \
            --output {output:q} >{log:q} 2>&1
        """


rule record_config:
    output:
        report(
            f"{RESULTS}/config.yaml",
            caption="../report/config.rst",
            category="Configuration",
            labels={"file": "configuration"},
        ),
    log:
        f"{RESULTS}/logs/record_config.log",
    benchmark:
        f"{RESULTS}/benchmarks/record_config.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        **declared("record_config"),
    params:
        config=section(CONFIG),
        code=code("neurohorizon.report.archive:record_config"),
    shell:
        """
        python "$CALL" neurohorizon.report.archive:record_config --config {params.config:q} --output {output:q} \
            >{log:q} 2>&1
        """


if REVIEW:

    rule restore_scores:
        input:
            os.environ.get("SCORES", ARCHIVE),
        output:
            f"{RESULTS}/restored.txt",
        log:
            f"{RESULTS}/logs/restore_scores.log",
        benchmark:
            f"{RESULTS}/benchmarks/restore_scores.tsv"
        conda:
            "../envs/report.yaml"
        resources:
            **declared("restore_scores"),
        params:
            folder=output_folder,
            cohort=COHORT,
            config=section(CONFIG),
            code=code("neurohorizon.report.archive:restore_scores"),
        shell:
            """
            python "$CALL" neurohorizon.report.archive:restore_scores --archive {input:q} \
                --folder {params.folder:q} --cohort {params.cohort:q} --config {params.config:q} --output {output:q} \
                >{log:q} 2>&1
            """

else:

    rule archive_scores:
        input:
            config=f"{RESULTS}/config.yaml",
            cohort=COHORT,
            scores=REPORT.archived,
        output:
            archive=ARCHIVE,
            sums=f"{ARCHIVE}.sha256",
        log:
            f"{RESULTS}/logs/archive_scores.log",
        benchmark:
            f"{RESULTS}/benchmarks/archive_scores.tsv"
        conda:
            "../envs/report.yaml"
        resources:
            **declared("archive_scores"),
        params:
            folder=output_folder,
            code=code("neurohorizon.report.archive:write_archive"),
        shell:
            """
            python "$CALL" neurohorizon.report.archive:write_archive --scores {input.scores:q} \
                --folder {params.folder:q} --cohort {input.cohort:q} --output {output.archive:q} >{log:q} 2>&1
            """

    rule make_example:
        input:
            sessions=LAYOUT.every("sessions/{source}/{session}.h5"),
            forecasts=LAYOUT.shown_forecasts,
            rivals=LAYOUT.shown_rivals,
        output:
            REPORT.example,
        log:
            f"{RESULTS}/logs/make_example.log",
        benchmark:
            f"{RESULTS}/benchmarks/make_example.tsv"
        conda:
            "../envs/report.yaml"
        resources:
            **declared("make_example"),
        params:
            context_bins=CONFIG.timeline.context_bins,
            units=CONFIG.evaluation.example_units,
            minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
            code=code("neurohorizon.forecasts.example:make_example"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.example:make_example --sessions {input.sessions:q} \
                --forecasts {input.forecasts:q} --rivals {input.rivals:q} --context-bins {params.context_bins} \
                --units {params.units} --minimum-rate-hz {params.minimum_rate_hz} --output {output:q} >{log:q} 2>&1
            """

    # Agreement with the scorer of the IBL Brain-Wide Bench, on the forecasts of a run
    rule audit_bwb:
        input:
            LAYOUT.audited_forecasts,
        output:
            agreement=f"{RESULTS}/audit/agreement.tsv",
            summary=f"{RESULTS}/audit/summary.txt",
            submissions=directory(f"{RESULTS}/audit/submissions"),
            ground_truth=directory(f"{RESULTS}/audit/ground_truth"),
        log:
            f"{RESULTS}/logs/audit_bwb.log",
        benchmark:
            f"{RESULTS}/benchmarks/audit_bwb.tsv"
        conda:
            "../envs/bwb.yaml"
        resources:
            **declared("audit_bwb"),
        params:
            recordings=REPORT.bench_recordings,
            folder=output_folder,
            code=code("neurohorizon.agreement.brain_wide_bench:audit"),
        shell:
            """
            python "$CALL" neurohorizon.agreement.brain_wide_bench:audit --forecasts {input:q} \
                --recordings {params.recordings:q} --folder {params.folder:q} >{log:q} 2>&1
            """
