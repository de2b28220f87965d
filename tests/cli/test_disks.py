"""Disks that are full, files that may not grow and folders that may not be written: one message, and all as it was."""

import json
import shutil
import subprocess
import sys
import textwrap
from typing import Any

import pytest

PROGRAM = """
    import contextlib, errno, json, os, resource, shutil, subprocess, sys, tempfile
    from pathlib import Path
    from click.testing import CliRunner
    from recsys_polars.cli.main import main

    disk, log, items, whole, predictions, outside = map(Path, sys.argv[1:])
    store, out = disk / "store", disk / "p.parquet"
    BUILD = ("build-features", "--interactions", log, "--items", items, "--out", store)
    PRUNE = ("store", "prune", "--keep", 1, "--store", store)
    WRITERS = {
        "build": BUILD,
        "folds": ("train", "--model", "popularity", "--folds", 1, "--store", store),
        "catboost": ("train", "--model", "catboost", "--store", store),
        "two-tower": ("train", "--model", "two-tower", "--store", store),
        "rank": ("rank", "--model", "catboost", "--store", store, "--out", out),
    }

    def mount(size, folder=disk):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)

    def unmount(folder=disk):
        subprocess.run(["umount", "-l", folder], check=True)

    def files():
        names = {".lock", "filling"}
        return {str(p): p.read_bytes() for p in disk.rglob("*") if p.is_file() and p.name not in names}

    def laid_out():
        shutil.copytree(whole, store)
        shutil.copyfile(predictions, out)

    def fill(folder, leave):
        with contextlib.suppress(OSError), (folder / "filling").open("wb", buffering=0) as filling:
            while filling.write(bytes(1024)):
                pass
        size = (folder / "filling").stat().st_size
        os.truncate(folder / "filling", max(0, size - leave))

    def of(words):
        before = files()
        result = CliRunner().invoke(main, [str(word) for word in words])
        return {"code": result.exit_code, "message": result.stderr, "as it was": files() == before}

    told = {}
    for name, words in WRITERS.items():
        few = name == "two-tower"  # it takes a second
        for room in (0, 40, 2000) if few else (0, 8, 40, 80, 120, 2000):
            mount("4m")
            laid_out()
            fill(disk, room * 1024)
            told[f"full {name} {room}"] = of(words)
            unmount()
        for most in (1000, 10_000_000) if few else (0, 1000, 4000, 20_000, 10_000_000):
            mount("64m")
            laid_out()
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            told[f"limit {name} {most}"] = of(words)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            unmount()
        mount("64m")
        laid_out()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        told[f"read-only {name}"] = of(words)
        if name == "rank":
            told["read-only prune"] = of(PRUNE)
            for reader in (
                ("rank", "--model", "catboost", "--store", store, "--out", outside / "p.parquet"),
                ("evaluate", predictions, "--store", store),
                ("store", "verify", "--store", store),
                ("store", "list", "--store", store),
                ("audit-leaks", store),
            ):
                told[f"reader {reader[0]} {reader[1]}"] = of(reader)
        unmount()
        mount("64m")
        laid_out()
        mount("64k", outside)
        fill(outside, 0)
        tempfile.tempdir = os.environ["TMPDIR"] = str(outside)
        told[f"temp {name}"] = of(words)
        tempfile.tempdir = None
        del os.environ["TMPDIR"]
        unmount(outside)
        unmount()
    print(json.dumps(told))
"""
WRITERS = ("build", "folds", "catboost", "two-tower", "rank")


def _works(words: list[str]) -> bool:
    return subprocess.run([*words, "/mnt"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def told(world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each command came to, on disks mounted where nobody else sees them; skips without the right."""
    ways = [["unshare", "--user", "--map-root-user", "--mount"], ["unshare", "--mount"]]
    way = next((way for way in ways if shutil.which("unshare") and _works([*way, "mount", "-t", "tmpfs", "x"])), None)
    if way is None:
        pytest.skip("no right to mount a small disk")
    folders = [tmp_path_factory.mktemp(name) for name in ("disk", "outside")]
    words = [folders[0], world.log, world.items, world.store, world.predictions, folders[1]]
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), *map(str, words)]
    done = subprocess.run([*way, *program], capture_output=True, text=True, check=False, cwd=folders[1])
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def refused(one: dict[str, Any], *says: str) -> bool:
    lines, message = one["message"].splitlines(), one["message"].lower()
    one_line = len(lines) == 1 and lines[0].startswith("Error: ")
    return one["code"] == 2 and one["as it was"] and one_line and any(words in message for words in says)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(("kind", "says"), [("full", "no space left"), ("limit", "file too large")])
def test_without_room_at_whatever_moment_one_line_says_so_and_all_is_as_it_was(
    told: dict[str, dict[str, Any]], name: str, kind: str, says: str
) -> None:
    of_name = {job: one for job, one in told.items() if job.startswith(f"{kind} {name} ")}
    failed = {job: one for job, one in of_name.items() if one["code"] != 0}
    assert 0 < len(failed) < len(of_name), "there was room always, or never"
    assert [(job, one) for job, one in failed.items() if not refused(one, says)] == []


@pytest.mark.parametrize("name", [*WRITERS, "prune"])
def test_where_nothing_may_be_written_one_line_says_so(told: dict[str, dict[str, Any]], name: str) -> None:
    assert refused(told[f"read-only {name}"], "read-only file system"), told[f"read-only {name}"]


def test_a_store_that_may_not_be_written_can_be_read_verified_and_audited(told: dict[str, dict[str, Any]]) -> None:
    readers = {job: one for job, one in told.items() if job.startswith("reader ")}
    assert len(readers) == 5
    assert [(job, one) for job, one in readers.items() if one["code"] != 0 or not one["as it was"]] == []


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_folder_for_temporary_files_is_not_needed_or_told(told: dict[str, dict[str, Any]], name: str) -> None:
    one = told[f"temp {name}"]
    assert one["code"] == 0 or refused(one, "no space left"), one
