"""List the sessions of a run: the amount of data of each, and the reason if one is excluded."""

from neurohorizon.analysis.session_list import write_session_list
from workflow.command import run

if __name__ == "__main__":
    run(write_session_list)
