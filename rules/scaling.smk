# Experiment 2: the score against the number of training sessions and of parameters. Points are trained and scored by the
# rules of variants; here stands which sessions are matched by region, and what is made of the scores.
def scaling_training_files(wildcards) -> list[str]:
    """Session files that a point of the fold could train on."""
    rows = [one for one in training_sessions(cohort(), wildcards.fold) if one.source == CONFIG.scaling.source]
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", rows)


def scaling_heldout_files(wildcards) -> list[str]:
    """Session files that every point of the fold forecasts."""
    rows = [one for one in heldout_sessions(cohort(), wildcards.fold) if one.source == CONFIG.scaling.source]
    return _files(f"{RESULTS}/sessions/{{source}}/{{session}}.h5", rows)


rule choose_sessions:
    input:
        training=scaling_training_files,
        heldout=scaling_heldout_files,
    output:
        f"{RESULTS}/scaling/{{fold}}/same_region-{{size}}_draw-{{draw}}_seed-{{seed}}/sessions.json",
    log:
        f"{RESULTS}/logs/choose_sessions/{{fold}}/same_region-{{size}}_draw-{{draw}}_seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/choose_sessions/{{fold}}/same_region-{{size}}_draw-{{draw}}_seed-{{seed}}.tsv"
    wildcard_constraints:
        size=r"\d+",
        draw=r"\d+",
    conda:
        "../envs/model.yaml"
    params:
        seed=CONFIG.run.seed,
        code=code("choose_sessions.py"),
    shell:
        """
        python "$SCRIPTS/choose_sessions.py" --training {input.training:q} --heldout {input.heldout:q} \
            --size {wildcards.size} --draw {wildcards.draw} --seed {params.seed} --output {output:q} >{log:q} 2>&1
        """
