"""Choose the settings of the closed-form baselines on the training sessions of a fold."""

from neurohorizon.baselines.closed_form import tune_on_files
from workflow.command import run

if __name__ == "__main__":
    run(tune_on_files)
