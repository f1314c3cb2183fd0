# One notebook for each experiment that registered one, executed on the experiment's tables. Included last.
for _name, _tables in NOTEBOOKS.items():

    # papermill starts the kernel of its own environment
    rule:
        name:
            f"notebook_{_name}"
        input:
            notebook=shipped(f"notebooks/{_name}.ipynb"),
            tables=_tables,
        output:
            executed=f"{experiment_folder(_name)}/notebooks/{_name}.ipynb",
            page=report(
                f"{experiment_folder(_name)}/notebooks/{_name}.html",
                caption="../report/notebook.rst",
                category=CATEGORIES[_name],
                subcategory="Notebook",
                labels={"notebook": _name.replace("_", " ")},
            ),
        log:
            f"{RESULTS}/logs/notebook_{_name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/notebook_{_name}.tsv"
        conda:
            "../envs/report.yaml"
        params:
            tables=os.path.abspath(f"{experiment_folder(_name)}/tables"),
            code=CODE.fingerprint(ROOT / "notebooks" / f"{_name}.ipynb"),
        shell:
            """
            exec >{log:q} 2>&1
            papermill --kernel python3 -p tables {params.tables:q} {input.notebook:q} {output.executed:q}
            jupyter nbconvert --to html --no-input --TagRemovePreprocessor.enabled=True \
                --TagRemovePreprocessor.remove_cell_tags injected-parameters \
                --TagRemovePreprocessor.remove_cell_tags parameters {output.executed:q}
            """
