# One session of each archive, end to end, compared with expected numbers. Its downloads wait only a minute for a network.
from first_session import FirstSession

FIRST = FirstSession(shipped("config/cohorts/first_session.yaml"), CONFIG)


rule first_session:
    input:
        expand(f"{RESULTS}/first_session/{{source}}.json", source=FIRST.sources),
    localrule: True


if FROM_ARCHIVE:

    use rule download_ibl_archive as first_download_ibl_archive with:
        output:
            f"{RESULTS}/first_session/raw/ibl_archive/{{archive}}.json",
        log:
            f"{RESULTS}/logs/first_session/download_ibl_archive/{{archive}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/first_session/download_ibl_archive/{{archive}}.tsv"
        retries: 0
        params:
            ibl=FIRST.section("ibl"),


if CONFIG.sources.ibl:

    use rule download_ibl as first_download_ibl with:
        input:
            (
                expand(f"{RESULTS}/first_session/raw/ibl_archive/{{archive}}.json", archive=IBL_ARCHIVES)
                if FROM_ARCHIVE
                else SIMULATED_RELEASE
            ),
        output:
            f"{RESULTS}/first_session/raw/ibl.json",
        log:
            f"{RESULTS}/logs/first_session/download_ibl.log",
        benchmark:
            f"{RESULTS}/benchmarks/first_session/download_ibl.tsv"
        retries: 0
        params:
            row=FIRST.row("ibl"),
            ibl=FIRST.section("ibl"),
            on_fatal="stop",
            attempt=0,

    use rule preprocess_ibl as first_preprocess_ibl with:
        input:
            f"{RESULTS}/first_session/raw/ibl.json",
        output:
            f"{RESULTS}/first_session/sessions/ibl.h5",
        log:
            f"{RESULTS}/logs/first_session/preprocess_ibl.log",
        benchmark:
            f"{RESULTS}/benchmarks/first_session/preprocess_ibl.tsv"
        params:
            row=FIRST.row("ibl"),
            exclusions=FIRST.exclusions,
            on_fatal="stop",


if CONFIG.sources.allen:

    use rule download_allen as first_download_allen with:
        output:
            f"{RESULTS}/first_session/raw/allen.json",
        log:
            f"{RESULTS}/logs/first_session/download_allen.log",
        benchmark:
            f"{RESULTS}/benchmarks/first_session/download_allen.tsv"
        retries: 0
        params:
            row=FIRST.row("allen"),
            allen=FIRST.section("allen"),
            on_fatal="stop",
            attempt=0,

    use rule preprocess_allen as first_preprocess_allen with:
        input:
            f"{RESULTS}/first_session/raw/allen.json",
        output:
            f"{RESULTS}/first_session/sessions/allen.h5",
        log:
            f"{RESULTS}/logs/first_session/preprocess_allen.log",
        benchmark:
            f"{RESULTS}/benchmarks/first_session/preprocess_allen.tsv"
        params:
            row=FIRST.row("allen"),
            exclusions=FIRST.exclusions,
            on_fatal="stop",


rule check_first_session:
    input:
        session=f"{RESULTS}/first_session/sessions/{{source}}.h5",
        manifest=f"{RESULTS}/first_session/raw/{{source}}.json",
    output:
        f"{RESULTS}/first_session/{{source}}.json",
    log:
        f"{RESULTS}/logs/first_session/check_{{source}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/first_session/check_{{source}}.tsv"
    conda:
        "../envs/one.yaml"
    resources:
        **declared("check_first_session"),
    params:
        expected=FIRST.expected,
        recorded=FIRST.recorded,
        code=code("neurohorizon.ingest.first_session:check_first_session"),
    shell:
        """
        python "$CALL" neurohorizon.ingest.first_session:check_first_session --session {input.session:q} \
            --manifest {input.manifest:q} --expected {params.expected:q} --recorded {params.recorded:q} \
            --output {output:q} >{log:q} 2> >(tee -a {log:q} >&2)
        """
