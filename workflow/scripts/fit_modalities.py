"""Fit the closed-form readouts of behaviour and images on a session's reference windows."""

from neurohorizon.inputs.session_modalities import compute_modality_file
from workflow.command import run

if __name__ == "__main__":
    run(compute_modality_file)
