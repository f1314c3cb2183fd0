"""List the sessions of a run: how much there is of each, and why some could not be used."""

from neurohorizon.analysis.session_list import write_session_list
from workflow.command import run

if __name__ == "__main__":
    run(write_session_list)
