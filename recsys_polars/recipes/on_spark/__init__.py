"""The recipes whose rows are Spark's: the same statements, models and files, on as many machines as there are.

The driver holds the catalogue, and writes the store and the predictions; what there is of each user stays on the
workers.
"""
