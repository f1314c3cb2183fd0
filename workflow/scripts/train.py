"""Train the forecaster, or a network of own history, on the training sessions of a fold."""

from neurohorizon.models.training import train_on_files
from workflow.command import run

if __name__ == "__main__":
    run(train_on_files)
