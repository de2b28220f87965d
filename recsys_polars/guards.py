"""Who may write, who is still reading, and nothing through a symbolic link: what keeps runs from harming each other.

Locks are the system's own (flock), so that they end with the process, however it ends.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from recsys_polars.errors import ArtefactError

SCRATCH = "recsys-polars-scratch-"


class Removed(NamedTuple):
    """What was removed, and its bytes; 0 where a run that reads it kept it."""

    path: Path
    n_bytes: int


def refuse_link(path: Path) -> Path:
    """Return the path of something in a store, which is no symbolic link: those could lead anywhere.

    Raises:
        ArtefactError: it is one.
    """
    if path.is_symlink():
        raise ArtefactError(f"{path}: expected a file or a folder of its own, found a symbolic link; make it again")
    return path


@contextmanager
def locked(path: Path, *, for_the_sake_of: Path | None = None) -> Iterator[None]:
    """Keep other runs from writing in a folder, which is made where there is none.

    Args:
        path: the folder.
        for_the_sake_of: what is written by means of it, and named in the message; None: the folder itself.

    Raises:
        ArtefactError: another one is at work there, or its lock is a symbolic link.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = refuse_link(path / ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        if not (_is_free(descriptor) and _lies_at(descriptor, lock)):  # else the run before removed it on leaving
            raise ArtefactError(f"{for_the_sake_of or path}: another run is writing there; wait for it to end")
        yield
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Lock a file, unless someone else has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until nobody else is in such a block of the same folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Hold:
    """A file that nobody removes (see `unheld`) until this is gone."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where there is no such file."""
        # A pipe that somebody put there would wait for a writer.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):  # a file system without locks, where nobody can write either
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def __del__(self) -> None:
        """Let go."""
        with suppress(AttributeError):  # it was never opened
            os.close(self._descriptor)


def hold(path: Path) -> Hold | None:
    """Return a hold on a file; None where there is none."""
    try:
        return Hold(path)
    except OSError:
        return None


@contextmanager
def unheld(path: Path) -> Iterator[bool]:
    """Tell whether nobody holds a file, or a folder; nobody will until the block ends."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield _is_free(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder in `parent`, which goes when the block ends; what killed runs left there goes first."""
    clear_scratch(parent)
    with ExitStack() as stack:
        folder = None
        while folder is None:  # another run that clears up may have taken it for a left-over
            made = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
            with suppress(FileNotFoundError):
                is_mine = stack.enter_context(unheld(made))
                folder = made if is_mine and made.is_dir() else None
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def clear_scratch(parent: Path) -> list[Removed]:
    """Remove our scratch folders whose runs have ended; return them with their bytes."""
    cleared = []
    for folder in parent.glob(f"{SCRATCH}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with unheld(folder) as is_free:
                if is_free:
                    cleared.append(Removed(folder, remove(folder)))
    return cleared


def remove(path: Path) -> int:
    """Remove a file, a folder or a link, and nothing that links lead to; return the bytes."""
    n_bytes = bytes_of(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return n_bytes


def bytes_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())


def _lies_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False
