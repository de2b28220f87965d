"""Every error that this package raises on purpose: each prints as one clear message and ends a command with code 2."""


class RecsysError(Exception):
    """Base of all: bad input, a table that breaks its contract, an artefact that can't be used, or one that leaks.

    Example:
        >>> try:
        ...     rp.train("store", "svd")
        ... except rp.RecsysError as error:
        ...     print(type(error).__name__)
        InputError
    """


class InputError(RecsysError):
    """A file, a column, a value or an option that the user gave and that can't be used.

    Example:
        >>> rp.rank("store", "preds.parquet", k=0)
        Traceback (most recent call last):
        ...
        recsys_polars.errors.InputError: k: expected 1 or more, found 0
    """


class TableError(RecsysError):
    """A table that breaks its contract.

    Example:
        >>> twice = pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "x"], "rank": [1, 2]})
        >>> rp.metrics.per_user(twice, twice.head(1), k=2)
        Traceback (most recent call last):
        ...
        recsys_polars.errors.TableError: predictions: expected unique pairs, found 'a', 'x' 2 times (such pairs: 1)
    """


class ArtefactError(RecsysError):
    """A store, a model or a predictions file that is missing, damaged, or made for something else.

    Example:
        >>> rp.open_store("nowhere")
        Traceback (most recent call last):
        ...
        recsys_polars.errors.ArtefactError: nowhere: expected a feature store, found none; build one with ...
    """


class ModelError(RecsysError):
    """A model of the user's own that fails at work, or doesn't do what a model does; ends a command with code 1.

    Example:
        >>> class Broken:
        ...     validates = False
        ...     fit = scorer = save = load = lambda *_, **__: 1 / 0
        >>> import __main__; __main__.Broken = Broken; Broken.__module__ = "__main__"
        >>> rp.train("store", Broken)
        Traceback (most recent call last):
        ...
        recsys_polars.errors.ModelError: model __main__:Broken: ZeroDivisionError: division by zero
    """


class LeakError(RecsysError):
    """A store that knows of the time after a cut."""
