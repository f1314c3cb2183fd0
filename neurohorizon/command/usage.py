"""Wrong use of the command line."""


class UsageError(ValueError):
    """Arguments that cannot be used; the message gives what was found, what was expected and what to do."""
