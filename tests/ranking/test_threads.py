"""Work by threads: in order, and an end of it that is one."""

import threading

import pytest
import torch

from recsys_polars.ranking.threads import mapped


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(n_threads):
    assert list(mapped(lambda job: job * job, range(20), n_threads=n_threads)) == [job * job for job in range(20)]


def test_no_jobs_give_nothing():
    assert list(mapped(str, [], n_threads=2)) == []


def test_each_thread_runs_torch_alone_and_the_callers_threads_stay():
    before = torch.get_num_threads()
    assert set(mapped(lambda _: torch.get_num_threads(), range(6), n_threads=2)) == {1}
    found = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert (torch.get_num_threads(), found) == (before, [before])


def test_an_error_reaches_the_caller_after_the_results_before_it():
    def work(job):
        if job == 3:
            raise ValueError("job 3")
        return job

    results = mapped(work, range(50), n_threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="job 3"):
        next(results)


def test_who_stops_listening_stops_the_work():
    done, before = [], threading.active_count()
    results = mapped(done.append, range(1000), n_threads=2)
    next(results)
    results.close()
    assert len(done) < 10
    assert threading.active_count() == before
