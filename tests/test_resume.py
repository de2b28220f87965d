"""A ranking that is killed goes on where it stopped."""

import os
import signal
import time
from pathlib import Path

import pytest

from recsys_polars.errors import ArtefactError
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import rank as ranking
from recsys_polars.recipes.build import build_features
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.recipes.train import train
from tests.slow_ranking import rank_slowly


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    log = folder / "log.csv"
    pairs = ((u, n) for u in range(200) for n in range(9))
    rows = (f"u{u:03d},i{(u * 7 + n * 11) % 40:02d},{n % 5 + 1},{1_300_000_000 + n * 1000 + u}" for u, n in pairs)
    log.write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]))
    build_features(BuildSettings(interactions=str(log)), folder / "store")
    train(folder / "store", "popularity", FitSettings())
    return folder / "store"


def parts_in(out: Path) -> list[Path]:
    return sorted(out.with_name(f".{out.name}.parts").glob("*.parquet"))


def test_a_killed_ranking_takes_its_parts_over_and_ends_in_the_same_bytes(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 20)
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    ranking.rank(store, whole, ranking.RankSettings())
    process = rank_slowly(store, killed, users_at_once=20)
    while len(parts_in(killed)) < 3:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    taken_over = {part.name: part.stat().st_mtime_ns for part in parts_in(killed)}
    assert not killed.exists()
    assert len(taken_over) >= 3
    ranked = []
    part = ranking.ranked_part
    monkeypatch.setattr(ranking, "ranked_part", lambda number, *args: ranked.append(number) or part(number, *args))
    ranking.rank(store, killed, ranking.RankSettings())
    assert min(ranked) == len(taken_over)
    assert killed.read_bytes() == whole.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["killed.parquet", "whole.parquet"]


def test_another_job_does_not_take_the_parts_over(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 20)
    part = ranking.ranked_part

    def interrupted(number, *args):
        if number == 2:
            raise KeyboardInterrupt
        return part(number, *args)

    monkeypatch.setattr(ranking, "ranked_part", interrupted)
    out, other = tmp_path / "p.parquet", tmp_path / "other.parquet"
    with pytest.raises(KeyboardInterrupt):
        ranking.rank(store, out, ranking.RankSettings())
    assert len(parts_in(out)) == 2
    monkeypatch.setattr(ranking, "ranked_part", part)
    ranking.rank(store, out, ranking.RankSettings(k=3))
    ranking.rank(store, other, ranking.RankSettings(k=3))
    assert out.read_bytes() == other.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other.parquet", "p.parquet"]


def test_a_part_of_which_a_byte_changed_is_ranked_again(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 20)
    whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    ranking.rank(store, whole, ranking.RankSettings())
    part, ranked = ranking.ranked_part, []

    def interrupted(number, *args):
        if number == 2:
            raise KeyboardInterrupt
        return part(number, *args)

    monkeypatch.setattr(ranking, "ranked_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ranking.rank(store, out, ranking.RankSettings())
    first, _ = parts_in(out)
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    monkeypatch.setattr(ranking, "ranked_part", lambda number, *args: ranked.append(number) or part(number, *args))
    ranking.rank(store, out, ranking.RankSettings())
    assert (0 in ranked, 1 in ranked) == (True, False)
    assert out.read_bytes() == whole.read_bytes()


def test_two_rankings_to_one_file_are_one_too_many(store, tmp_path) -> None:
    out = tmp_path / "p.parquet"
    process = rank_slowly(store, out, users_at_once=20)
    while not parts_in(out):
        assert process.poll() is None, "ended before the other began"
        time.sleep(0.01)
    with pytest.raises(ArtefactError, match="another run is writing there"):
        ranking.rank(store, out, ranking.RankSettings())
    assert process.wait() == 0
    assert out.is_file()
