# From a release to session files: one file per session, the same schema whatever its source.
SIMULATED_RELEASE = [CONFIG.sources.ibl.folder] if CONFIG.sources.simulated else []
SIMULATED_ALLEN_RELEASE = [CONFIG.sources.allen.folder] if CONFIG.sources.simulated_allen else []

if CONFIG.sources.simulated:

    rule simulate_release:
        output:
            release=directory(SIMULATED_RELEASE),
            truth=truths("ibl"),
        log:
            f"{RESULTS}/logs/simulate_release.log",
        benchmark:
            f"{RESULTS}/benchmarks/simulate_release.tsv"
        conda:
            "../envs/one.yaml"
        params:
            truth=f"{RESULTS}/truth",
            simulated=section(CONFIG.sources.simulated),
            timeline=section(CONFIG.timeline),
            seed=CONFIG.run.seed,
            code=code("simulate_release.py"),
        shell:
            """
            python "$SCRIPTS/simulate_release.py" --simulated {params.simulated:q} \
                --timeline {params.timeline:q} --seed {params.seed} \
                --folder {output.release:q} --truth-folder {params.truth:q} >{log:q} 2>&1
            """


if CONFIG.sources.ibl:

    rule download_ibl:
        input:
            SIMULATED_RELEASE,
        output:
            f"{RESULTS}/raw/ibl/{{session}}.json",
        log:
            f"{RESULTS}/logs/download_ibl/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/download_ibl/{{session}}.tsv"
        conda:
            "../envs/one.yaml"
        params:
            row=row,
            ibl=section(CONFIG.sources.ibl),
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("download_ibl.py"),
        shell:
            """
            python "$SCRIPTS/download_ibl.py" --row {params.row:q} --ibl {params.ibl:q} \
                --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
            """

    rule preprocess_ibl:
        input:
            f"{RESULTS}/raw/ibl/{{session}}.json",
        output:
            f"{RESULTS}/sessions/ibl/{{session}}.h5",
        log:
            f"{RESULTS}/logs/preprocess_ibl/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/preprocess_ibl/{{session}}.tsv"
        conda:
            "../envs/one.yaml"
        params:
            row=row,
            ibl=section(CONFIG.sources.ibl),
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("preprocess_ibl.py"),
        shell:
            """
            python "$SCRIPTS/preprocess_ibl.py" --manifest {input:q} --row {params.row:q} \
                --ibl {params.ibl:q} --timeline {params.timeline:q} --splits {params.splits:q} \
                --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
            """


if CONFIG.sources.simulated_allen:

    rule simulate_allen_release:
        output:
            release=directory(SIMULATED_ALLEN_RELEASE),
            truth=truths("allen"),
        log:
            f"{RESULTS}/logs/simulate_allen_release.log",
        benchmark:
            f"{RESULTS}/benchmarks/simulate_allen_release.tsv"
        conda:
            "../envs/allen.yaml"
        params:
            truth=f"{RESULTS}/truth",
            simulated_allen=section(CONFIG.sources.simulated_allen),
            timeline=section(CONFIG.timeline),
            seed=CONFIG.run.seed,
            code=code("simulate_allen_release.py"),
        shell:
            """
            python "$SCRIPTS/simulate_allen_release.py" --simulated-allen {params.simulated_allen:q} \
                --timeline {params.timeline:q} --seed {params.seed} \
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
        conda:
            "../envs/allen.yaml"
        params:
            row=row,
            allen=section(CONFIG.sources.allen),
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("download_allen.py"),
        shell:
            """
            python "$SCRIPTS/download_allen.py" --row {params.row:q} --allen {params.allen:q} \
                --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
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
        params:
            row=row,
            allen=section(CONFIG.sources.allen),
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("preprocess_allen.py"),
        shell:
            """
            python "$SCRIPTS/preprocess_allen.py" --manifest {input:q} --row {params.row:q} \
                --allen {params.allen:q} --timeline {params.timeline:q} --splits {params.splits:q} \
                --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
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
        params:
            allen=section(CONFIG.sources.allen),
            code=code("export_images.py"),
        shell:
            """
            python "$SCRIPTS/export_images.py" --image-set {wildcards.image_set:q} \
                --allen {params.allen:q} --output {output:q} >{log:q} 2>&1
            """


if CONFIG.sources.nwb:
    RECORDINGS = os.environ.get("NEUROHORIZON_NWB", CONFIG.sources.nwb.folder)

    rule preprocess_nwb:
        input:
            f"{RECORDINGS}/{{session}}.nwb",
        output:
            f"{RESULTS}/sessions/nwb/{{session}}.h5",
        log:
            f"{RESULTS}/logs/preprocess_nwb/{{session}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/preprocess_nwb/{{session}}.tsv"
        conda:
            "../envs/nwb.yaml"
        params:
            row=row,
            nwb=section(CONFIG.sources.nwb),
            timeline=section(CONFIG.timeline),
            splits=section(CONFIG.splits),
            on_fatal=CONFIG.cohort.on_fatal,
            code=code("preprocess_nwb.py"),
        shell:
            """
            python "$SCRIPTS/preprocess_nwb.py" --recording {input:q} --row {params.row:q} \
                --nwb {params.nwb:q} --timeline {params.timeline:q} --splits {params.splits:q} \
                --on-fatal {params.on_fatal} --output {output:q} >{log:q} 2>&1
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
    params:
        timeline=section(CONFIG.timeline),
        splits=section(CONFIG.splits),
        code=code("validate.py"),
    shell:
        """
        python "$SCRIPTS/validate.py" --session {input:q} \
            --timeline {params.timeline:q} --splits {params.splits:q} \
            --findings {output.findings:q} --picture {output.picture:q} >{log:q} 2>&1
        """
