"""A pause of Python's garbage collection, while a thread of this process answers requests of h5py.

h5py holds a lock while it reads through a file object. A collection in the thread of a server can delete an object of
h5py, which waits for that lock, while the reader waits for the server: both stop until the reader's request times out.
"""

import gc


class PausedCollection:
    """Collection is off from the making of an object to its :meth:`end`."""

    def __init__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def end(self) -> None:
        """Collect again, if that was done before."""
        if self._was_on:
            gc.enable()
