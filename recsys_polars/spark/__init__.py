"""Spark as an engine: a session, statements of `sql/` run by it, files that only it can reach. Knows no step.

PySpark is imported where it is needed, never with the package.
"""
