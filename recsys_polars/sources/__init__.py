"""Raw files of interactions and items -> parsed rows, each accepted or rejected by a rule that it breaks.

The way: `opening` tells a file's type and gives raw columns and lines (`parquet`, `json_lines`, `delimited`,
`headerless`), which `limits` measures; `detecting` finds the format, whose columns `formats` lists; `interactions` and
`items` make them ours.
"""

from recsys_polars.sources.files import find_files
from recsys_polars.sources.formats import FORMATS
from recsys_polars.sources.interactions import ParsedInteractions, read_interactions
from recsys_polars.sources.items import ParsedItems, read_items
from recsys_polars.sources.limits import check_parquet, check_text
from recsys_polars.sources.reading import ParsedFile, reading

__all__ = [
    "FORMATS",
    "ParsedFile",
    "ParsedInteractions",
    "ParsedItems",
    "check_parquet",
    "check_text",
    "find_files",
    "read_interactions",
    "read_items",
    "reading",
]
