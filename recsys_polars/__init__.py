"""From raw interaction logs to ranked lists: a Polars feature store, rankers on it, exact top-k over the catalogue."""
