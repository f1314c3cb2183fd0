"""Train POYO on the behaviour of the training sessions of a fold."""

from neurohorizon.experiments.downstream.poyo import train_poyo
from workflow.command import run

if __name__ == "__main__":
    run(train_poyo)
