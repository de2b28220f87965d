"""`--engine spark`: the tables, the lists and the messages of the local engine, also where a worker ends in between."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

EMBEDDED = Path(__file__).parents[2] / "data" / "movielens-small"
GOOD_ITEMS = "item_id,title,description,brand,category,price\n"


def hostile_log(folder: Path) -> list[object]:
    """Two files: ties, repeats, rejects, ids in need of care, a user whom only rejects know."""
    chance = random.Random(7)
    users = [
        "a",
        "B",
        "é",
        "e\u0301",
        "中",
        "🙂",
        "it's",
        "10",
        "9",
        "\U0010ffff",
        "\uffee",
        *(f"u{n}" for n in range(30)),
    ]
    lines = [
        f"{chance.choice(users)},i{chance.randrange(25):02},{chance.choice(['5', '4', '1', '0', '-0.0', '3.5'])},"
        f"2021-01-{chance.randrange(1, 29):02}\n"
        for _ in range(900)
    ]
    bad = ["only,i01,five,2021-01-01\n", ",i01,5,2021-01-02\n", "a,i01,5,1889-01-01\n", "a,,5,2021-01-01\n", "\n"]
    for number, part in enumerate((lines[:450] + bad, lines[450:] + bad[:2])):
        (folder / f"log-{number}.csv").write_text("user_id,item_id,rating,event_time\n" + "".join(part))
    (folder / "items.csv").write_text(
        GOOD_ITEMS
        + "".join(f"i{n % 28:02},Title {n % 9},words {n % 5},b{n % 3},,{'?' * (n > 36)}{n}.5\n" for n in range(40))
    )
    return ["--interactions", folder / "log-*.csv", "--items", folder / "items.csv"]


def same_tables(local: Path, other: Path) -> None:
    """Every table of two stores, row for row; vectors too, to the bit."""
    here, there = local / "000001", other / "000001"
    assert sorted(file.name for file in here.iterdir()) == sorted(file.name for file in there.iterdir())
    for file in sorted(here.glob("*.parquet")):
        assert_frame_equal(pl.read_parquet(file), pl.read_parquet(there / file.name), check_exact=True)
    for file in here.glob("*.safetensors"):
        assert file.read_bytes() == (there / file.name).read_bytes()


def same_store(run, manifest_of, folder: Path, args: list[object]) -> None:
    local, spark = folder / "local", folder / "spark"
    said = [
        run("build-features", *args, "--out", local),
        run("build-features", *args, "--out", spark, "--engine", "spark"),
    ]
    assert [result.exit_code for result in said] == [0, 0], said[1].output
    assert said[0].stdout == said[1].stdout, "the steps and the rejects"
    same_tables(local, spark)
    here, there = manifest_of(local), manifest_of(spark)
    assert there.pop("engine")["spark"]
    for facts in (here, there):
        facts.pop("sha256")
    assert here == there


@pytest.mark.parametrize(
    "options",
    [
        ["--split", "last-n", "--test-n", "2", "--min-user-interactions", "10", "--min-item-interactions", "12"],
        [
            "--test-fraction",
            "0",
            "--implicit",
            "--text",
            "none",
            "--valid-fraction",
            "0.3",
            "--time-format",
            "%Y-%d-%m",
        ],
    ],
)
def test_a_store_of_hostile_rows_is_the_local_one(spark, run, manifest_of, tmp_path, options) -> None:
    same_store(run, manifest_of, tmp_path, [*hostile_log(tmp_path), *options])


def test_a_store_of_real_rows_is_the_local_one(spark, run, manifest_of, tmp_path, real_set) -> None:
    files = ["--interactions", real_set, "--items", real_set] if real_set != EMBEDDED else []
    same_store(run, manifest_of, tmp_path, files)


@pytest.fixture(scope="module")
def with_auto(world, run, tmp_path_factory) -> Path:
    store = Path(shutil.copytree(world.store, tmp_path_factory.mktemp("auto") / "store"))
    assert run("train", "--model", "auto", "--store", store).exit_code == 0
    return store


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "popularity"],
        ["--model", "catboost", "--users", "all", "--candidates", "train"],
        ["--model", "mlp", "--users", "users.txt", "--candidates", "items.txt", "-k", "3"],
        ["--model", "two-tower", "--include-seen", "-k", "500"],
        ["--model", "catboost", "--candidates-from", "two-tower:12"],
        ["--model", "auto"],
    ],
)
def test_lists_are_those_of_the_local_engine(spark, run, with_auto, tmp_path, monkeypatch, options) -> None:
    monkeypatch.chdir(tmp_path)
    Path("users.txt").write_text("u001\nnobody\nu002\nu029\n")
    Path("items.txt").write_text("".join(f"i{n:03}\n" for n in range(0, 30, 2)))
    local = run("rank", "--store", with_auto, *options, "--out", "local.parquet")
    other = run("rank", "--store", with_auto, *options, "--out", "spark.parquet", "--engine", "spark")
    assert other.exit_code == 0, other.output
    assert_frame_equal(pl.read_parquet("local.parquet"), pl.read_parquet("spark.parquet"), check_exact=True)
    assert local.stderr.split(" in ")[0].replace("local", "spark") == other.stderr.split(" in ")[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "items.txt",
        "local.parquet",
        "spark.parquet",
        "users.txt",
    ]


@pytest.fixture
def each_step_loses_a_worker(spark, monkeypatch, tmp_path) -> Path:
    """Every step on workers has the first of them killed, once, when it has done a part of its work."""
    frame = type(spark.range(1))
    map_in_arrow, markers = frame.mapInArrow, tmp_path / "killed"
    markers.mkdir()

    def map_with_a_death(rows, work, schema):
        marker = markers / f"{len(list(markers.iterdir()))}-asked"
        marker.touch()

        def run(batches: Iterator[object]) -> Iterator[object]:
            for done in work(batches):
                yield done
                try:
                    marker.with_name(f"{marker.name}-done").open("x").close()
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)

        return map_in_arrow(rows, run, schema)

    monkeypatch.setattr(frame, "mapInArrow", map_with_a_death)
    return markers


def test_killed_workers_lose_and_double_no_row_of_a_store(run, manifest_of, tmp_path, each_step_loses_a_worker) -> None:
    same_store(run, manifest_of, tmp_path, hostile_log(tmp_path))
    assert (
        len(list(each_step_loses_a_worker.glob("*-done"))) == len(list(each_step_loses_a_worker.glob("*-asked"))) >= 3
    )


def test_killed_workers_lose_and_double_no_list(run, world, tmp_path, each_step_loses_a_worker) -> None:
    args = ["rank", "--store", world.store, "--model", "mlp", "--users", "all"]
    assert run(*args, "--out", tmp_path / "local.parquet").exit_code == 0
    result = run(*args, "--out", tmp_path / "spark.parquet", "--engine", "spark")
    assert result.exit_code == 0, result.output
    assert list(each_step_loses_a_worker.glob("*-done"))
    assert_frame_equal(
        pl.read_parquet(tmp_path / "local.parquet"), pl.read_parquet(tmp_path / "spark.parquet"), check_exact=True
    )


def test_places_may_be_uris_that_spark_alone_can_reach(spark, run, tmp_path) -> None:
    shelf = spark.shelf
    args = hostile_log(shelf)
    assert run("build-features", *args, "--out", tmp_path / "store").exit_code == 0
    uris = [str(arg).replace(str(shelf), "viewfs:///shelf") for arg in args]
    shutil.copytree(tmp_path / "store", shelf / "store")
    for _ in range(2):
        result = run("build-features", *uris, "--engine", "spark", "--out", "viewfs:///shelf/store")
        assert result.exit_code == 0, result.output
    for checksum in shelf.rglob(".*.crc"):  # Hadoop's, of a disk of this machine
        checksum.unlink()
    assert sorted(path.name for path in (shelf / "store").iterdir()) == [
        *(".lock", ".published", "000002", "000003", "CURRENT", "rejects", "timings.jsonl"),
    ]
    assert run("store", "verify", "--store", shelf / "store").exit_code == 0
    for file in ("labelled", "user_means", "item_features"):
        mine, theirs = (
            pl.read_parquet(f)
            for f in (tmp_path / "store" / "000001" / f"{file}.parquet", shelf / "store" / "000003" / f"{file}.parquet")
        )
        assert_frame_equal(mine, theirs, check_exact=True)
    rejects = pl.read_parquet(shelf / "store" / "000003" / "rejects-interactions.parquet")
    assert set(rejects["file"]) == {"viewfs:/shelf/log-0.csv", "viewfs:/shelf/log-1.csv"}
    inputs = json.loads((shelf / "store" / "000003" / "manifest.json").read_text())["inputs"]
    assert [entry["path"] for entry in inputs] == [f"viewfs:/shelf/{name}.csv" for name in ("log-0", "log-1", "items")]
    assert run("train", "--model", "popularity", "--store", shelf / "store").exit_code == 0
    assert run("rank", "--store", shelf / "store", "--out", tmp_path / "local.parquet").exit_code == 0
    result = run(
        "rank", "--engine", "spark", "--store", "viewfs:///shelf/store", "--out", "viewfs:///shelf/lists.parquet"
    )
    assert result.exit_code == 0, result.output
    assert_frame_equal(
        pl.read_parquet(tmp_path / "local.parquet"), pl.read_parquet(shelf / "lists.parquet"), check_exact=True
    )
    assert not list(shelf.glob("*.parts"))


def test_a_folder_of_someone_else_is_refused_and_left_alone(spark, run, tmp_path, world) -> None:
    lake = spark.shelf / "lake"
    for name in ("2022", "000007"):
        (lake / name).mkdir(parents=True)
        (lake / name / "mine.txt").write_text("mine")
    args = ["build-features", "--engine", "spark", "--interactions", world.log]
    assert "expected a new or an empty folder" in refused(run, *args, "--out", "viewfs:///shelf/lake")
    said = refused(run, "rank", "--engine", "spark", "--store", world.store, "--out", "viewfs:///shelf/lake")
    assert "found a folder" in said
    assert sorted(path.name for path in lake.rglob("*.*")) == ["mine.txt", "mine.txt"]


def test_names_are_those_that_the_user_gave_and_may_have_brackets(spark, run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("st[1]").mkdir()
    log = Path("log[1]{a}.csv")
    log.write_text("user_id,item_id,event_time\n" + "".join(f"u,i{n},2021-01-{n + 10}\n" for n in range(20)) + ",i,1\n")
    shutil.copy(log, spark.shelf / log.name)
    for place, engine, out in (
        (log.name, "local", "st[1]/local"),
        (log.name, "spark", "st[1]/spark"),
        (f"viewfs:///shelf/{log.name}", "spark", "st[1]/remote"),
    ):
        result = run("build-features", "--engine", engine, "--interactions", place, "--out", out)
        assert result.exit_code == 0, result.output
    rejects = [
        pl.read_parquet(f"st[1]/{out}/000001/rejects-interactions.parquet", glob=False) for out in ("local", "spark")
    ]
    assert_frame_equal(*rejects, check_exact=True)
    assert set(rejects[0]["file"]) == {log.name}
    assert pl.read_parquet("st[1]/remote/000001/labelled.parquet", glob=False).equals(
        pl.read_parquet("st[1]/local/000001/labelled.parquet", glob=False)
    )


def refused(run, *args: object) -> str:
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def test_what_a_worker_refuses_is_said_as_the_local_engine_says_it(spark, run, tmp_path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,rating,event_time\n" + "u,i,5,2021-01-01\n" * 2000 + 'u,"i" x,5,2021-01-01\n')
    said = [
        refused(run, "build-features", "--interactions", log, "--out", tmp_path / "store", "--engine", engine)
        for engine in ("local", "spark")
    ]
    assert said[0] == said[1]
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "rows",
    ["u,i,five,2021-01-01\n", "u,i,1,2021-01-01\nu,j,1,2021-02-01\n"],
    ids=["no usable row", "nothing liked"],
)
def test_a_log_of_nothing_to_learn_from_is_refused_alike(spark, run, tmp_path, rows) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,rating,event_time\n" + rows)
    said = [
        refused(run, "build-features", "--interactions", log, "--out", tmp_path / "store", "--engine", engine)
        for engine in ("local", "spark")
    ]
    assert said[0] == said[1]
    assert not (tmp_path / "store").exists()


def test_a_changed_byte_of_a_table_is_refused_before_spark_reads_it(spark, run, store, tmp_path) -> None:
    table = store / "000001" / "labelled.parquet"
    data = bytearray(table.read_bytes())
    data[100] ^= 1
    table.write_bytes(bytes(data))
    said = refused(run, "rank", "--engine", "spark", "--store", store, "--out", tmp_path / "lists.parquet")
    assert "labelled.parquet: damaged" in said


def test_approx_is_refused(spark, run, world, tmp_path) -> None:
    args = ["--model", "mlp", "--approx", "--store", world.store, "--out", tmp_path / "lists.parquet"]
    assert "--approx: expected --engine local" in refused(run, "rank", "--engine", "spark", *args)


def test_options_of_spark_without_spark_are_refused(run, tmp_path) -> None:
    assert "--spark-master: expected --engine spark" in refused(run, "build-features", "--spark-master", "local")
    assert "--spark-conf: expected --engine spark" in refused(run, "build-features", "--spark-conf", "a=b")
    assert "expected KEY=VALUE" in refused(run, "build-features", "--engine", "spark", "--spark-conf", "a")
    for uri in ("s3a://x/y", "file:///x"):
        assert "found a URI" in refused(run, "rank", "--store", uri, "--out", tmp_path / "p.parquet")


def test_a_missing_pyspark_is_said_in_one_line(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = refused(run, "build-features", "--engine", "spark", "--out", tmp_path / "store")
    assert said == "Error: --engine spark: expected PySpark, found none; pip install 'recsys-polars[spark]'\n"


def test_a_missing_java_is_said_in_one_line(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    said = refused(run, "build-features", "--engine", "spark", "--out", tmp_path / "store")
    assert said == "Error: --engine spark: expected Java 17 or newer, found none; install one, or set JAVA_HOME\n"


def test_the_local_engine_imports_no_pyspark(tmp_path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from recsys_polars.cli.main import main; "
        f"result = CliRunner().invoke(main, ['build-features', '--out', {str(tmp_path / 'store')!r}]); "
        "assert result.exit_code == 0, result.output; "
        "assert not {name for name in sys.modules if name.split('.')[0] in ('pyspark', 'py4j')}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
