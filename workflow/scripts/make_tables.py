"""Make tables with the function that the first argument names, as module:name; the others are its arguments."""

from workflow.command import named_function, run

run(named_function())
