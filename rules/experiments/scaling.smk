# Experiment 2: sessions that are matched by region. The rules in points.smk train and score its points.


rule choose_sessions:
    input:
        training=LAYOUT.training("sessions", CONFIG.scaling.source),
        heldout=LAYOUT.heldout("sessions", CONFIG.scaling.source),
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
        "../../envs/model.yaml"
    resources:
        **declared("choose_sessions"),
    params:
        seed=CONFIG.run.seed,
        code=code("neurohorizon.experiments.scaling.region_match:choose_matched"),
    shell:
        """
        python "$CALL" neurohorizon.experiments.scaling.region_match:choose_matched --training {input.training:q} \
            --heldout {input.heldout:q} --size {wildcards.size} --draw {wildcards.draw} --seed {params.seed} \
            --output {output:q} >{log:q} 2>&1
        """
