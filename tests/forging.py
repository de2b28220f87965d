"""Manifests that were changed by someone who seals them as a build does: what is left to refuse is what they say."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recsys_polars.sealing import seal


def forge(path: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Change the manifest of the current generation at `path`."""
    generation = (path / "CURRENT").read_text().strip()
    file = path / generation / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["sha256"]
    file.write_text(seal(change(manifest)))
