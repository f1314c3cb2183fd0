"""Train a forecaster to read behaviour and images in addition to the spikes."""

from neurohorizon.experiments.multimodal.training import train_multimodal_on_files
from workflow.command import run

if __name__ == "__main__":
    run(train_multimodal_on_files)
