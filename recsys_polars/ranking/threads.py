"""Work that is done ahead by threads, and handed out in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def mapped(work: Callable[[Job], Result], jobs: Iterable[Job], *, n_threads: int) -> Iterator[Result]:
    """`map(work, jobs)` by `n_threads` threads, at most that many jobs ahead of the one that is handed out.

    Each thread runs torch's operations alone: several threads that share an operation wait for the slowest of them
    thousands of times a second, while whole jobs side by side don't wait at all. One thread is the caller's own.
    """
    if n_threads == 1:
        yield from map(work, jobs)
        return
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    ahead: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            ahead.append(pool.submit(work, job))
            if len(ahead) > n_threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # the number is a thread's own, but new threads begin with the one set last
