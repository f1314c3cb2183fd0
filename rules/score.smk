# Score sums of each held-out session, and the list of sessions.


rule score:
    input:
        LAYOUT.session_forecasts,
    output:
        f"{RESULTS}/scores/{{fold}}/{{session}}.parquet",
    log:
        f"{RESULTS}/logs/score/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        **declared("score"),
    params:
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("neurohorizon.forecasts.scoring:score_session"),
    shell:
        """
        python "$CALL" neurohorizon.forecasts.scoring:score_session --forecasts {input:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --output {output:q} >{log:q} 2>&1
        """


# The facts about sessions that tables need, so that tables read no session file.
rule list_sessions:
    input:
        cohort=COHORT,
        sessions=LAYOUT.of_cohort("sessions/{source}/{session}.h5"),
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
    resources:
        **declared("list_sessions"),
    params:
        code=code("neurohorizon.analysis.session_list:write_session_list"),
    shell:
        """
        python "$CALL" neurohorizon.analysis.session_list:write_session_list --sessions {input.sessions:q} \
            --cohort {input.cohort:q} --outputs {output:q} >{log:q} 2>&1
        """


rule score_definitions:
    input:
        LAYOUT.session_forecasts,
    output:
        f"{RESULTS}/definitions/scores/{{fold}}/{{session}}.parquet",
    log:
        f"{RESULTS}/logs/score_definitions/{{fold}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_definitions/{{fold}}/{{session}}.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        **declared("score_definitions"),
    params:
        minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
        code=code("neurohorizon.agreement.definition_tables:score_definitions"),
    shell:
        """
        python "$CALL" neurohorizon.agreement.definition_tables:score_definitions --forecasts {input:q} \
            --minimum-rate-hz {params.minimum_rate_hz} --output {output:q} >{log:q} 2>&1
        """
