# Figures and what else the report lists. Nothing is computed here: it is all in the tables.
PAPER_FIGURES["cross_session"] = "main"


rule draw_main:
    input:
        example=f"{RESULTS}/tables/example.h5",
        horizon=f"{RESULTS}/tables/horizon.parquet",
        sessions=f"{RESULTS}/tables/sessions.parquet",
        summary=f"{RESULTS}/tables/summary.parquet",
    output:
        report(
            f"{RESULTS}/figures/main.svg",
            caption="../report/figure_main.rst",
            category=CATEGORIES["cross_session"],
            subcategory="Figures",
            labels={"figure": "main"},
        ),
        f"{RESULTS}/figures/main.pdf",
        f"{RESULTS}/figures/main.png",
    log:
        f"{RESULTS}/logs/draw_main.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_main.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=code("draw_figures.py"),
    shell:
        """
        python "$SCRIPTS/draw_figures.py" main --tables {input:q} --output {output:q} >{log:q} 2>&1
        """


rule draw_paired:
    input:
        sessions=f"{RESULTS}/tables/sessions.parquet",
        summary=f"{RESULTS}/tables/summary.parquet",
    output:
        report(
            f"{RESULTS}/figures/paired.svg",
            caption="../report/figure_paired.rst",
            category=CATEGORIES["cross_session"],
            subcategory="Figures",
            labels={"figure": "paired"},
        ),
        f"{RESULTS}/figures/paired.pdf",
        f"{RESULTS}/figures/paired.png",
    log:
        f"{RESULTS}/logs/draw_paired.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_paired.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=code("draw_figures.py"),
    shell:
        """
        python "$SCRIPTS/draw_figures.py" paired --tables {input:q} --output {output:q} >{log:q} 2>&1
        """


rule draw_horizon:
    input:
        horizon=f"{RESULTS}/tables/horizon.parquet",
    output:
        report(
            f"{RESULTS}/figures/horizon.svg",
            caption="../report/figure_horizon.rst",
            category=CATEGORIES["cross_session"],
            subcategory="Figures",
            labels={"figure": "horizon"},
        ),
        f"{RESULTS}/figures/horizon.pdf",
        f"{RESULTS}/figures/horizon.png",
    log:
        f"{RESULTS}/logs/draw_horizon.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_horizon.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=code("draw_figures.py"),
    shell:
        """
        python "$SCRIPTS/draw_figures.py" horizon --tables {input:q} --output {output:q} >{log:q} 2>&1
        """


rule draw_example:
    input:
        example=f"{RESULTS}/tables/example.h5",
    output:
        report(
            f"{RESULTS}/figures/example.svg",
            caption="../report/figure_example.rst",
            category=CATEGORIES["cross_session"],
            subcategory="Figures",
            labels={"figure": "example"},
        ),
        f"{RESULTS}/figures/example.pdf",
        f"{RESULTS}/figures/example.png",
    log:
        f"{RESULTS}/logs/draw_example.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_example.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=code("draw_figures.py"),
    shell:
        """
        python "$SCRIPTS/draw_figures.py" example --tables {input:q} --output {output:q} >{log:q} 2>&1
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
    params:
        config=section(CONFIG),
        code=code("record_config.py"),
    shell:
        """
        python "$SCRIPTS/record_config.py" --config-json {params.config:q} --output {output:q} >{log:q} 2>&1
        """
