# From a release to the cohort table and to session files: one file per session, the same schema for every source.
SIMULATED_RELEASE = [CONFIG.sources.ibl.folder] if CONFIG.sources.simulated else []
SIMULATED_ALLEN_RELEASE = [CONFIG.sources.allen.folder] if CONFIG.sources.simulated_allen else []
FROM_ARCHIVE = CONFIG.sources.ibl is not None and CONFIG.sources.ibl.mode == "archive"
IBL_ARCHIVES = list(IBL_ARCHIVE_VERSIONS)
# The cohort table is frozen once it exists: only before that do the rules that make it exist.
RELEASE_TABLES = {
    "ibl": os.environ.get("IBL_TABLE", f"{RESULTS}/cohort/ibl_release.csv"),
    "allen": os.environ.get("ALLEN_TABLE", f"{RESULTS}/cohort/allen_sessions.csv"),
}
if CONFIG.sources.nwb:
    RECORDINGS = expand_folder(os.environ.get("NEUROHORIZON_NWB", CONFIG.sources.nwb.folder))
OF_RELEASES = COHORT_IS_MADE and CONFIG.cohort.arrays is None


rule cohorts:
    input:
        COHORT,


if OF_RELEASES and FROM_ARCHIVE:

    rule fetch_ibl_table:
        input:
            f"{RESULTS}/raw/ibl_archive/bwm_ephys.json",
        output:
            f"{RESULTS}/cohort/ibl_release.csv",
        log:
            f"{RESULTS}/logs/fetch_ibl_table.log",
        benchmark:
            f"{RESULTS}/benchmarks/fetch_ibl_table.tsv"
        conda:
            "../envs/one.yaml"
        resources:
            **declared("fetch_ibl_table"),
        params:
            ibl=section(CONFIG.sources.ibl),
            code=code("neurohorizon.ingest.ibl_archive:fetch_archive_insertions"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.ibl_archive:fetch_archive_insertions --archive {input:q} \
                --ibl {params.ibl:q} --output {output:q} >{log:q} 2>&1
            """


if OF_RELEASES and not FROM_ARCHIVE:

    rule fetch_ibl_table:
        output:
            f"{RESULTS}/cohort/ibl_release.csv",
        log:
            f"{RESULTS}/logs/fetch_ibl_table.log",
        benchmark:
            f"{RESULTS}/benchmarks/fetch_ibl_table.tsv"
        conda:
            "../envs/one.yaml"
        resources:
            **declared("fetch_ibl_table"),
        params:
            ibl=section(CONFIG.sources.ibl),
            code=code("neurohorizon.ingest.ibl_release:fetch_ibl_release"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.ibl_release:fetch_ibl_release --ibl {params.ibl:q} \
                --output {output:q} >{log:q} 2>&1
            """


if OF_RELEASES:

    rule fetch_allen_table:
        output:
            f"{RESULTS}/cohort/allen_sessions.csv",
        log:
            f"{RESULTS}/logs/fetch_allen_table.log",
        benchmark:
            f"{RESULTS}/benchmarks/fetch_allen_table.tsv"
        conda:
            "../envs/one.yaml"
        resources:
            **declared("fetch_allen_table"),
            downloads=1,
        params:
            allen=section(CONFIG.sources.allen),
            code=code("neurohorizon.ingest.allen_release:fetch_allen_release"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.allen_release:fetch_allen_release --allen {params.allen:q} \
                --output {output:q} >{log:q} 2> >(tee -a {log:q} >&2)
            """

    checkpoint make_cohort:
        input:
            ibl=RELEASE_TABLES["ibl"],
            allen=RELEASE_TABLES["allen"],
            reserved=shipped("config/cohorts/bwb_heldout.txt"),
        output:
            COHORT,
        log:
            f"{RESULTS}/logs/make_cohort.log",
        benchmark:
            f"{RESULTS}/benchmarks/make_cohort.tsv"
        conda:
            "../envs/one.yaml"
        resources:
            **declared("make_cohort"),
        params:
            heldout_fraction=CONFIG.cohort.heldout_fraction,
            seed=CONFIG.run.seed,
            code=code("neurohorizon.ingest.paper_cohort:make_cohort"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.paper_cohort:make_cohort --ibl-table {input.ibl:q} \
                --allen-table {input.allen:q} --reserved {input.reserved:q} \
                --heldout-fraction {params.heldout_fraction} --seed {params.seed} --output {output:q} >{log:q} 2>&1
            """


if COHORT_IS_MADE and CONFIG.cohort.arrays:

    MANIFEST = f"{RECORDINGS}/{CONFIG.cohort.arrays.manifest}"
    if not os.path.isfile(MANIFEST):
        raise WorkflowError(
            f"there is no manifest {MANIFEST}: put the recordings there, or set NEUROHORIZON_NWB to their folder"
        )

    checkpoint make_cohort:
        input:
            MANIFEST,
        output:
            COHORT,
        log:
            f"{RESULTS}/logs/make_cohort.log",
        benchmark:
            f"{RESULTS}/benchmarks/make_cohort.tsv"
        conda:
            "../envs/nwb.yaml"
        resources:
            **declared("make_cohort"),
        params:
            arrays=section(CONFIG.cohort.arrays),
            nwb=section(CONFIG.sources.nwb),
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            minimum_rate_hz=CONFIG.evaluation.minimum_rate_hz,
            heldout_fraction=[] if CONFIG.cohort.heldout_fraction is None else CONFIG.cohort.heldout_fraction,
            seed=CONFIG.run.seed,
            code=code("neurohorizon.ingest.array_cohort:make_array_cohort"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.array_cohort:make_array_cohort --manifest {input:q} \
                --arrays {params.arrays:q} --nwb {params.nwb:q} --timeline {params.timeline:q} \
                --splits {params.splits:q} --minimum-rate-hz {params.minimum_rate_hz} \
                --heldout-fraction {params.heldout_fraction} --seed {params.seed} --output {output:q} >{log:q} 2>&1
            """


if CONFIG.sources.simulated:

    rule simulate_release:
        output:
            release=directory(SIMULATED_RELEASE),
            truth=LAYOUT.truths("ibl"),
        log:
            f"{RESULTS}/logs/simulate_release.log",
        benchmark:
            f"{RESULTS}/benchmarks/simulate_release.tsv"
        conda:
            "../envs/one.yaml"
        resources:
            **declared("simulate_release"),
        params:
            truth=LAYOUT.truth_folder,
            simulated=section(CONFIG.sources.simulated),
            timeline=section(CONFIG.timeline),
            seed=CONFIG.run.seed,
            code=code("neurohorizon.ingest.simulated.ibl:simulate_release"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.simulated.ibl:simulate_release --simulated {params.simulated:q} \
                --timeline {params.timeline:q} --seed {params.seed} --folder {output.release:q} \
                --truth-folder {params.truth:q} >{log:q} 2>&1
            """


if FROM_ARCHIVE:

    rule download_ibl_archive:
        output:
            f"{RESULTS}/raw/ibl_archive/{{archive}}.json",
        log:
            f"{RESULTS}/logs/download_ibl_archive/{{archive}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/download_ibl_archive/{{archive}}.tsv"
        wildcard_constraints:
            archive="|".join(IBL_ARCHIVES),
        retries: tried_again(2)
        conda:
            "../envs/one.yaml"
        # the archive's servers and the connection are shared by all downloads
        resources:
            **declared("download_ibl_archive"),
            downloads=1,
        params:
            ibl=section(CONFIG.sources.ibl),
            code=code("neurohorizon.ingest.ibl_archive:download_ibl_archive"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.ibl_archive:download_ibl_archive --archive {wildcards.archive} \
                --ibl {params.ibl:q} --output {output:q} >{log:q} 2> >(tee -a {log:q} >&2)
            """

    # each session is listed, not downloaded: the archive has all of them
    rule download_ibl:
        input:
            expand(f"{RESULTS}/raw/ibl_archive/{{archive}}.json", archive=IBL_ARCHIVES),
        output:
            f"{RESULTS}/raw/ibl/{{session}}.json",
        log:
            f"{RESULTS}/logs/download_ibl/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/download_ibl/{{session}}.tsv"
        conda:
            "../envs/one.yaml"
        resources:
            **declared("download_ibl"),
        params:
            row=LAYOUT.row_json,
            ibl=section(CONFIG.sources.ibl),
            on_fatal=CONFIG.cohort.on_fatal,
            attempt=LAYOUT.download_attempt("ibl"),
            code=code("neurohorizon.ingest.ibl_archive:list_ibl"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.ibl_archive:list_ibl --row {params.row:q} --ibl {params.ibl:q} \
                --archives {input:q} --on-fatal {params.on_fatal} --attempt {params.attempt} --output {output:q} \
                >{log:q} 2>&1
            """


if CONFIG.sources.ibl and not FROM_ARCHIVE:

    rule download_ibl:
        input:
            SIMULATED_RELEASE,
        output:
            f"{RESULTS}/raw/ibl/{{session}}.json",
        log:
            f"{RESULTS}/logs/download_ibl/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/download_ibl/{{session}}.tsv"
        retries: tried_again(2)
        conda:
            "../envs/one.yaml"
        # the archive's servers and the connection are shared by all downloads
        resources:
            **declared("download_ibl"),
            downloads=1,
        params:
            row=LAYOUT.row_json,
            ibl=section(CONFIG.sources.ibl),
            on_fatal=CONFIG.cohort.on_fatal,
            attempt=LAYOUT.download_attempt("ibl"),
            code=code("neurohorizon.ingest.ibl_download:download_ibl"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.ibl_download:download_ibl --row {params.row:q} --ibl {params.ibl:q} \
                --on-fatal {params.on_fatal} --attempt {params.attempt} --output {output:q} \
                >{log:q} 2> >(tee -a {log:q} >&2)
            """


if CONFIG.sources.ibl:

    rule preprocess_ibl:
        input:
            f"{RESULTS}/raw/ibl/{{session}}.json",
        output:
            f"{RESULTS}/sessions/ibl/{{session}}.h5",
        log:
            f"{RESULTS}/logs/preprocess_ibl/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/preprocess_ibl/{{session}}.tsv"
        retries: tried_again(1)
        conda:
            "../envs/one.yaml"
        resources:
            **declared("preprocess_ibl"),
        params:
            row=LAYOUT.row_json,
            ibl=section(CONFIG.sources.ibl),
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            exclusions=LAYOUT.exclusions,
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("neurohorizon.ingest.ibl_preprocess:preprocess_ibl"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.ibl_preprocess:preprocess_ibl --manifest {input:q} --row {params.row:q} \
                --ibl {params.ibl:q} --timeline {params.timeline:q} --splits {params.splits:q} \
                --exclusions {params.exclusions:q} --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
            """


if CONFIG.sources.simulated_allen:

    rule simulate_allen_release:
        output:
            release=directory(SIMULATED_ALLEN_RELEASE),
            truth=LAYOUT.truths("allen"),
        log:
            f"{RESULTS}/logs/simulate_allen_release.log",
        benchmark:
            f"{RESULTS}/benchmarks/simulate_allen_release.tsv"
        # it takes longer than the release of the IBL, and the network is trained on both
        priority: 5
        conda:
            "../envs/allen.yaml"
        resources:
            **declared("simulate_allen_release"),
        params:
            truth=LAYOUT.truth_folder,
            simulated_allen=section(CONFIG.sources.simulated_allen),
            timeline=section(CONFIG.timeline),
            seed=CONFIG.run.seed,
            code=code("neurohorizon.ingest.simulated.allen:simulate_allen_release"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.simulated.allen:simulate_allen_release \
                --simulated-allen {params.simulated_allen:q} --timeline {params.timeline:q} --seed {params.seed} \
                --folder {output.release:q} --truth-folder {params.truth:q} >{log:q} 2>&1
            """


if CONFIG.sources.allen:

    rule download_allen:
        input:
            SIMULATED_ALLEN_RELEASE,
        output:
            f"{RESULTS}/raw/allen/{{session}}.json",
        log:
            f"{RESULTS}/logs/download_allen/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/download_allen/{{session}}.tsv"
        retries: tried_again(2)
        conda:
            "../envs/allen.yaml"
        # the archive's servers and the connection are shared by all downloads
        resources:
            **declared("download_allen"),
            downloads=1,
        params:
            row=LAYOUT.row_json,
            allen=section(CONFIG.sources.allen),
            on_fatal=CONFIG.cohort.on_fatal,
            attempt=LAYOUT.download_attempt("allen"),
            code=code("neurohorizon.ingest.allen_download:download_allen"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.allen_download:download_allen --row {params.row:q} \
                --allen {params.allen:q} --on-fatal {params.on_fatal} --attempt {params.attempt} --output {output:q} \
                >{log:q} 2> >(tee -a {log:q} >&2)
            """

    rule preprocess_allen:
        input:
            f"{RESULTS}/raw/allen/{{session}}.json",
        output:
            f"{RESULTS}/sessions/allen/{{session}}.h5",
        log:
            f"{RESULTS}/logs/preprocess_allen/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/preprocess_allen/{{session}}.tsv"
        conda:
            "../envs/allen.yaml"
        resources:
            **declared("preprocess_allen"),
        params:
            row=LAYOUT.row_json,
            allen=section(CONFIG.sources.allen),
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            exclusions=LAYOUT.exclusions,
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("neurohorizon.ingest.allen:preprocess_allen"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.allen:preprocess_allen --manifest {input:q} --row {params.row:q} \
                --allen {params.allen:q} --timeline {params.timeline:q} --splits {params.splits:q} \
                --exclusions {params.exclusions:q} --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
            """

    rule export_images:
        input:
            SIMULATED_ALLEN_RELEASE,
        output:
            f"{RESULTS}/images/allen/{{image_set}}.h5",
        log:
            f"{RESULTS}/logs/export_images/{{image_set}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/export_images/{{image_set}}.tsv"
        conda:
            "../envs/allen.yaml"
        resources:
            **declared("export_images"),
            downloads=1,
        params:
            allen=section(CONFIG.sources.allen),
            code=code("neurohorizon.ingest.allen_download:export_images"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.allen_download:export_images --image-set {wildcards.image_set:q} \
                --allen {params.allen:q} --output {output:q} >{log:q} 2> >(tee -a {log:q} >&2)
            """


if CONFIG.sources.nwb:

    rule preprocess_nwb:
        input:
            LAYOUT.recordings(RECORDINGS),
        output:
            f"{RESULTS}/sessions/nwb/{{session}}.h5",
        log:
            f"{RESULTS}/logs/preprocess_nwb/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/preprocess_nwb/{{session}}.tsv"
        conda:
            "../envs/nwb.yaml"
        resources:
            **declared("preprocess_nwb"),
        params:
            row=LAYOUT.row_json,
            nwb=section(CONFIG.sources.nwb),
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            exclusions=LAYOUT.exclusions,
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("neurohorizon.ingest.nwb:preprocess_nwb"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.nwb:preprocess_nwb --recordings {input:q} --row {params.row:q} \
                --nwb {params.nwb:q} --timeline {params.timeline:q} --splits {params.splits:q} \
                --exclusions {params.exclusions:q} --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
            """


if CONFIG.sources.dandi:

    rule dandi_cohort:
        output:
            f"{RESULTS}/cohort/dandi.tsv",
        log:
            f"{RESULTS}/logs/dandi_cohort.log",
        benchmark:
            f"{RESULTS}/benchmarks/dandi_cohort.tsv"
        conda:
            "../envs/dandi.yaml"
        resources:
            **declared("dandi_cohort"),
        params:
            dandi=section(CONFIG.sources.dandi),
            code=code("neurohorizon.ingest.dandi:draft_cohort"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.dandi:draft_cohort --dandi {params.dandi:q} --output {output:q} \
                >{log:q} 2> >(tee -a {log:q} >&2)
            """

    rule download_dandi:
        output:
            f"{RESULTS}/raw/dandi/{{session}}.json",
        log:
            f"{RESULTS}/logs/download_dandi/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/download_dandi/{{session}}.tsv"
        retries: tried_again(2)
        conda:
            "../envs/dandi.yaml"
        # the archive's servers and the connection are shared by all downloads
        resources:
            **declared("download_dandi"),
            downloads=1,
        params:
            row=LAYOUT.row_json,
            dandi=section(CONFIG.sources.dandi),
            on_fatal=CONFIG.cohort.on_fatal,
            attempt=LAYOUT.download_attempt("dandi"),
            code=code("neurohorizon.ingest.dandi:download_dandi"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.dandi:download_dandi --row {params.row:q} --dandi {params.dandi:q} \
                --on-fatal {params.on_fatal} --attempt {params.attempt} --output {output:q} \
                >{log:q} 2> >(tee -a {log:q} >&2)
            """

    rule preprocess_dandi:
        input:
            f"{RESULTS}/raw/dandi/{{session}}.json",
        output:
            f"{RESULTS}/sessions/dandi/{{session}}.h5",
        log:
            f"{RESULTS}/logs/preprocess_dandi/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/preprocess_dandi/{{session}}.tsv"
        conda:
            "../envs/nwb.yaml"
        resources:
            **declared("preprocess_dandi"),
        params:
            row=LAYOUT.row_json,
            dandi=section(CONFIG.sources.dandi),
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            exclusions=LAYOUT.exclusions,
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("neurohorizon.ingest.nwb:preprocess_dandi"),
        shell:
            """
            python "$CALL" neurohorizon.ingest.nwb:preprocess_dandi --manifest {input:q} --row {params.row:q} \
                --dandi {params.dandi:q} --timeline {params.timeline:q} --splits {params.splits:q} \
                --exclusions {params.exclusions:q} --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
            """


rule validate:
    input:
        f"{RESULTS}/sessions/{{source}}/{{session}}.h5",
    output:
        findings=f"{RESULTS}/validation/{{source}}/{{session}}.json",
        picture=report(
            f"{RESULTS}/validation/{{source}}/{{session}}.png",
            caption="../report/validation.rst",
            category="Recordings",
            labels={"session": "{session}", "source": "{source}"},
        ),
    log:
        f"{RESULTS}/logs/validate/{{source}}/{{session}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/validate/{{source}}/{{session}}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        **declared("validate"),
    params:
        timeline=section(CONFIG.timeline),
        splits=section(CONFIG.splits),
        code=code("neurohorizon.ingest.validation_figure:validate_file"),
    shell:
        """
        python "$CALL" neurohorizon.ingest.validation_figure:validate_file --session {input:q} \
            --timeline {params.timeline:q} --splits {params.splits:q} --findings {output.findings:q} \
            --picture {output.picture:q} >{log:q} 2>&1
        """
