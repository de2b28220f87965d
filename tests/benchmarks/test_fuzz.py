"""A small run of the fuzzer: `python -m benchmarks.fuzz` has more cases, and says how to repeat one."""

from benchmarks.fuzz.judging import KINDS, kind_of
from benchmarks.fuzz.pool import run_cases

SEED, N_CASES = 1, 50


def test_hostile_inputs_are_refused_with_one_message_or_counted_to_the_last_row(tmp_path):
    verdicts = run_cases(SEED, range(N_CASES), tmp_path / "fuzz", n_workers=2, told=lambda _: None)
    assert [verdict for verdict in verdicts if verdict.finding] == []
    assert len(verdicts) == N_CASES
    assert {0, 2} == {verdict.code for verdict in verdicts}


def test_a_hundred_cases_have_every_kind_by_its_weight():
    kinds = [kind_of(SEED, number) for number in range(100)]
    assert {kind: kinds.count(kind) for kind in KINDS} == {kind: weight for kind, (weight, _) in KINDS.items()}
