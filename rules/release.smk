# Weights that the project ships (`snakemake weights --configfile config/NAME.yaml`): all experts of the adaptive
# forecast in one file, with a card. A configuration that releases none has no such rules.
if CONFIG.release:
    NAME = CONFIG.release.name

    rule describe_release:
        input:
            sessions=LAYOUT.released_training("sessions"),
            features=LAYOUT.released_training("features"),
            summary=f"{RESULTS}/cross_session/tables/summary.parquet",
        output:
            f"{RESULTS}/released/about.json",
        log:
            f"{RESULTS}/logs/describe_release.log",
        benchmark:
            f"{RESULTS}/benchmarks/describe_release.tsv"
        conda:
            "../envs/report.yaml"
        resources:
            **declared("describe_release"),
        params:
            release=section(CONFIG.release),
            start=LAYOUT.released_start,
            command=" ".join(["snakemake weights --configfile", *map(os.path.relpath, workflow.configfiles)]),
            code=code("neurohorizon.report.released_weights:describe_release"),
        shell:
            """
            python "$CALL" neurohorizon.report.released_weights:describe_release --sessions {input.sessions:q} \
                --features {input.features:q} --summary {input.summary:q} --release {params.release:q} \
                --start {params.start:q} --command {params.command:q} --output {output:q} >{log:q} 2>&1
            """

    rule write_release:
        input:
            networks=LAYOUT.released(
                *(
                    f"{network}_seed-{CONFIG.run.seeds[0]}/model.safetensors"
                    for network in (FORECASTER, *CONFIG.other_networks)
                )
            ),
            tuned=LAYOUT.released("baselines.json"),
            regressions=LAYOUT.released("regressions.json"),
            pooled=LAYOUT.released("ar_glm.json"),
            about=f"{RESULTS}/released/about.json",
        output:
            weights=f"weights/{NAME}.safetensors",
            card=f"weights/{NAME}.json",
        log:
            f"{RESULTS}/logs/write_release.log",
        benchmark:
            f"{RESULTS}/benchmarks/write_release.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("write_release"),
        params:
            regressions=section(CONFIG.regressions),
            adaptive=section(CONFIG.adaptive),
            code=code("neurohorizon.forecasts.release:write_release"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.release:write_release --networks {input.networks:q} \
                --tuned {input.tuned:q} --regressions-tuned {input.regressions:q} --pooled {input.pooled:q} \
                --regressions {params.regressions:q} --adaptive {params.adaptive:q} --about {input.about:q} \
                --output {output.weights:q} >{log:q} 2>&1
            """

    # the package refuses shipped files that are not listed
    rule sum_releases:
        input:
            rules.write_release.output,
        output:
            "weights/SHA256SUMS",
        log:
            f"{RESULTS}/logs/sum_releases.log",
        benchmark:
            f"{RESULTS}/benchmarks/sum_releases.tsv"
        conda:
            "../envs/model.yaml"
        resources:
            **declared("sum_releases"),
        params:
            folder=output_folder,
            code=code("neurohorizon.forecasts.release:write_sums"),
        shell:
            """
            python "$CALL" neurohorizon.forecasts.release:write_sums --folder {params.folder:q} >{log:q} 2>&1
            """


rule weights:
    input:
        [rules.write_release.output, rules.sum_releases.output] if CONFIG.release else [],
    localrule: True
