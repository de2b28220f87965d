"""The cases of paths that are no file: folders, broken links, pipes, devices, globs, names with signs in them."""

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.fuzz.inputs import Case, build, valid_log


def odd_places(rng: random.Random, folder: Path) -> Case:
    """Name what is no file: folders, broken links, pipes, devices, globs, names with signs in them."""
    good, out = valid_log(folder, rng), folder / "store"
    kinds: Mapping[str, Callable[[], object]] = {
        "empty file": lambda: _touch(folder / "x.csv"),
        "folder named x.csv": lambda: _folder(folder / "x.csv"),
        "folder with a folder named x.csv": lambda: _folder(folder / "in" / "x.csv").parent,
        "empty folder": lambda: _folder(folder / "in"),
        "broken link": lambda: _link(folder / "x.csv", "nowhere"),
        "link to itself": lambda: _link(folder / "x.csv", "x.csv"),
        "folder with broken links": lambda: _link(_folder(folder / "in") / "x.csv", "nowhere").parent,
        "pipe": lambda: _pipe(folder / "x.csv"),
        "pipe named .gz": lambda: _pipe(folder / "x.csv.gz"),
        "folder with a pipe": lambda: _pipe(_folder(folder / "in") / "x.csv").parent,
        "glob with a pipe": lambda: _pipe(folder / "x.csv").parent / "*.csv",
        "device": lambda: rng.choice(("/dev/null", "/dev/zero", "/dev/tty", "/proc/self/mem", "/proc/self/environ")),
        "no such": lambda: rng.choice((folder / "none.csv", folder / "none*.csv", folder / "none" / "*.csv")),
        "odd pattern": lambda: rng.choice(
            ("", " ", "\x00", "[", "**[", "~nobody/x", "x" * 5_000, "a\nb", "s3://x/y.csv", "\udcff")
        ),
        "odd name": lambda: good.rename(
            folder / rng.choice(("a b.csv", "[x].csv", "*.csv", "?.csv", "😀.csv", "a\nb.csv", "%s{0}.csv"))
        ),
        "name that is no UTF-8": lambda: good.rename(folder / os.fsdecode(b"\xff.csv")),
        "https://": lambda: good.rename(_folder(folder / "https:") / "x.csv").parent,
        "under a file": lambda: good / "x.csv",
        "two formats": lambda: valid_log(folder, rng, "amazon-2018 json").parent,
        "loop of folders": lambda: _link(_folder(folder / "in") / "up", "..").parent / "**" / "*.csv",
    }
    kind = rng.choice(tuple(kinds))
    place = kinds[kind]()
    if rng.random() < 0.3 and good.exists():
        return Case((build(good, out, "--items", place),), f"items: {kind}")
    return Case((build(place, out),), kind)


def _touch(path: Path) -> Path:
    path.touch()
    return path


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _link(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path
