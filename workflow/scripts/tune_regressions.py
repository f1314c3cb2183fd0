"""Choose the settings of the regressions on the training sessions of a fold, and fit the one that all units share."""

from neurohorizon.baselines.tuning import tune_regressions_on_files
from workflow.command import run

if __name__ == "__main__":
    run(tune_regressions_on_files)
