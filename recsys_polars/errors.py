"""Every error that this package raises on purpose: each prints as one clear message and ends a command with code 2."""


class RecsysError(Exception):
    """Base of all: bad input, a table that breaks its contract, an artefact that can't be used, or one that leaks."""


class InputError(RecsysError):
    """A file, a column, a value or an option that the user gave and that can't be used."""


class TableError(RecsysError):
    """A table that breaks its contract."""


class ArtefactError(RecsysError):
    """A store, a model or a predictions file that is missing, damaged, or made for something else."""


class LeakError(RecsysError):
    """A store that knows of the time after a cut."""
