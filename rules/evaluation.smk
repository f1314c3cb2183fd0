# Scores are sums per session; tables are all that figures and the notebook read.
NOTEBOOKS["cross_session"] = [*(f"{RESULTS}/tables/{name}.parquet" for name in TABLES), f"{RESULTS}/tables/example.h5"]
SCORE_FILES["cross_session"] = cross_session_scores


rule score:
    input:
        session_forecasts,
    output:
        f"{RESULTS}/scores/{{fold}}/{{session}}.parquet",
    log:
        f"{RESULTS}/logs/score/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("score.py"),
    shell:
        """
        python "$SCRIPTS/score.py" --forecasts {input:q} --minimum-rate-hz {params.minimum_rate_hz} \
            --output {output:q} >{log:q} 2>&1
        """


# What tables need to know of sessions, so that they are made without them.
rule list_sessions:
    input:
        cohort=COHORT,
        sessions=all_session_files,
    output:
        f"{RESULTS}/scores/sessions.parquet",
        report(
            f"{RESULTS}/scores/sessions.tsv",
            caption="../report/session_list.rst",
            category="Recordings",
            labels={"session": "all"},
        ),
    log:
        f"{RESULTS}/logs/list_sessions.log",
    benchmark:
        f"{RESULTS}/benchmarks/list_sessions.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=code("list_sessions.py"),
    shell:
        """
        python "$SCRIPTS/list_sessions.py" --sessions {input.sessions:q} --cohort {input.cohort:q} \
            --outputs {output:q} >{log:q} 2>&1
        """


rule make_tables:
    input:
        scores=all_scores,
        sessions=f"{RESULTS}/scores/sessions.parquet",
    output:
        [f"{RESULTS}/tables/{name}.parquet" for name in TABLES],
        [f"{RESULTS}/tables/{name}.tsv" for name in TABLES if name not in REPORTED_TABLES],
        f"{RESULTS}/tables/summary.txt",
        [
            report(
                f"{RESULTS}/tables/{name}.tsv",
                caption=f"../report/table_{name}.rst",
                category=CATEGORIES["cross_session"],
                subcategory="Tables",
                labels={"table": name.replace("_", " ")},
            )
            for name in REPORTED_TABLES
        ],
    log:
        f"{RESULTS}/logs/make_tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_tables.tsv"
    conda:
        "../envs/report.yaml"
    params:
        folder=output_folder,
        draws=CONFIG.evaluation.bootstrap_draws,
        interval=CONFIG.evaluation.interval,
        seed=CONFIG.run.seed,
        shared=shared_subjects_option,
        code=code("make_tables.py"),
    shell:
        """
        python "$SCRIPTS/make_tables.py" --scores {input.scores:q} --sessions {input.sessions:q} \
            {params.shared} --draws {params.draws} --interval {params.interval} --seed {params.seed} \
            --output-folder {params.folder:q} >{log:q} 2>&1
        """


rule make_tried:
    input:
        tuned_settings,
    output:
        report(
            f"{RESULTS}/tables/tried.tsv",
            caption="../report/table_tried.rst",
            category=CATEGORIES["cross_session"],
            subcategory="Tables",
            labels={"table": "tried"},
        ),
    log:
        f"{RESULTS}/logs/make_tried.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_tried.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=code("make_tried.py"),
    shell:
        """
        python "$SCRIPTS/make_tried.py" --tuned {input:q} --output {output:q} >{log:q} 2>&1
        """


rule make_example:
    input:
        sessions=heldout_files,
        forecasts=example_forecasts,
    output:
        f"{RESULTS}/tables/example.h5",
    log:
        f"{RESULTS}/logs/make_example.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_example.tsv"
    conda:
        "../envs/report.yaml"
    params:
        context_bins=CONFIG.timeline.context_bins,
        units=CONFIG.evaluation.example_units,
        code=code("make_example.py"),
    shell:
        """
        python "$SCRIPTS/make_example.py" --sessions {input.sessions:q} --forecasts {input.forecasts:q} \
            --context-bins {params.context_bins} --units {params.units} --output {output:q} >{log:q} 2>&1
        """
