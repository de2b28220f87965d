"""Models of the user's own, by MODULE:CLASS: trained, ranked and judged as any other; their faults are told."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result
from safetensors.numpy import load_file

import recsys_polars as rp
from recsys_polars.models import is_own
from recsys_polars.recipes.on_spark.blocks import Shared, check_job
from recsys_polars.recipes.sides import RankSettings

ROOT = Path(__file__).parents[2]
PURE_SVD = "examples.pure_svd:PureSvd"
Run = Callable[..., Result]
Write = Callable[..., str]

GOOD = """
import pathlib
import numpy as np
import torch
import recsys_polars as rp

class Mine:
    validates, rounds, facts = False, 0, {}

    @classmethod
    def fit(cls, known, settings, *, validate=None, rounds=None):
        return cls()

    def scorer(self, known, users, *, device="auto"):
        return rp.PerItemScorer(known.item_counts.astype(float), n_users=len(users), name="mine")

    def save(self, folder):
        (folder / "nothing.json").write_text("{}")

    @classmethod
    def load(cls, folder):
        return cls()
"""
SCORER = """
class Furthest:
    name, device, user_invariant, threads_share_blocks = "furthest", torch.device("cpu"), False, False
    user_bytes, block_users = 8, 4

    def __init__(self, users, items):
        self.users, self.items, self.n_users, self.n_items = users, items, len(users), len(items)

    def block(self, users):
        scores = torch.from_numpy(np.abs(self.users[users][:, None] - self.items[None]).astype(np.float32))
        return rp.UserBlock(lambda items: scores[:, items].clone(), torch.full((len(users),), BOUND))

    def exact(self, users, items):
        return np.abs(self.users[users] - self.items[items])
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; what is imported from it is forgotten."""
    folder, known = tmp_path / "here", set(sys.modules)
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def write(here: Path) -> Write:
    """Write a module with the model GOOD, some text replaced and some added, and return what names it."""

    def write_module(*changes: tuple[str, str], more: str = "", name: str = "mine_for_tests") -> str:
        text = GOOD + more
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (here / f"{name}.py").write_text(text)
        return f"{name}:Mine"

    return write_module


def lists(file: Path) -> list[tuple[Any, ...]]:
    return pl.read_parquet(file).rows()


def fails(result: Result, *words: str) -> None:
    """A fault of the model: code 1 and one message with these words."""
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert [word for word in words if word not in result.stderr] == []


# The whole way


def test_a_model_of_ones_own_is_trained_ranked_and_judged(
    run: Run, accept: Callable[..., str], write: Write, store: Path, tmp_path: Path
) -> None:
    kind, ours, theirs = write(), tmp_path / "p.parquet", tmp_path / "q.parquet"
    assert run("train", "--model", kind, "--store", store).stderr.startswith(f"{store / 'models' / kind}: trained in ")
    assert f"{kind}, top 10 of 20 items" in run("rank", "--model", kind, "--store", store, "--out", ours).stderr
    accept("rank", "--model", "popularity", "--store", store, "--out", theirs)
    assert lists(ours) == lists(theirs)
    table = accept("evaluate", ours, theirs, "--store", store)
    assert [line.split()[0] for line in table.splitlines()[2:4]] == [kind, "popularity"]
    assert float(table.splitlines()[2].split()[-1]) >= 0  # the seconds of the training, out of its manifest
    listed = accept("store", "list", "--store", store)
    assert f"{kind} " in listed
    accept("store", "verify", "--store", store)


def test_its_older_generations_are_pruned_and_a_new_build_makes_it_stale(
    run: Run, accept: Callable[..., str], refuse: Callable[..., str], write: Write, world: Any, store: Path
) -> None:
    kind = write()
    for _ in range(2):
        accept("train", "--model", kind, "--store", store)
    assert str(store / "models" / kind / "000001") in run("store", "prune", "--keep", "1", "--store", store).stdout
    run("build-features", "--interactions", world.log, "--out", store)
    refused = refuse("rank", "--model", kind, "--store", store, "--out", "p.parquet")
    assert f"run recsys-polars train --model {kind} again" in refused


def test_the_current_folder_is_looked_at_where_python_itself_does_not(write: Write, store: Path) -> None:
    program = [sys.executable, "-P", "-c", "from recsys_polars.cli.main import main; main()"]
    words = ["train", "--model", write(), "--store", str(store)]
    environment = {"PYTHONPATH": str(Path(rp.__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_no_file_of_the_current_folder_passes_for_a_library(
    refuse: Callable[..., str], write: Write, store: Path
) -> None:
    message = refuse("train", "--model", write(name="colorsys"), "--store", store)
    assert f"expected a class Mine in colorsys ({sys.modules['colorsys'].__file__}), found none" in message


def test_one_model_proposes_and_another_orders(
    run: Run, accept: Callable[..., str], write: Write, store: Path, tmp_path: Path
) -> None:
    accept("train", "--model", write(), "--store", store)
    rank = ("rank", "--store", store, "--model", "two-tower", "-k", "3", "--candidates-from")
    accept(*rank, f"{write()}:5", "--out", tmp_path / "p.parquet")
    accept(*rank, "popularity:5", "--out", tmp_path / "q.parquet")
    assert lists(tmp_path / "p.parquet") == lists(tmp_path / "q.parquet")


def test_folds_measure_it_as_they_measure_popularity(run: Run, write: Write, store: Path) -> None:
    ours, theirs = (run("train", "--model", kind, "--store", store, "--folds", "2") for kind in (write(), "popularity"))
    assert ours.exit_code == theirs.exit_code == 0
    assert ours.stderr.split("; ")[1] == theirs.stderr.split("; ")[1] != ""


def test_the_rounds_of_pure_svd_are_chosen_and_its_lists_are_those_of_its_vectors(
    run: Run, store: Path, tmp_path: Path
) -> None:
    trained = run("train", "--model", PURE_SVD, "--store", store)
    assert trained.exit_code == 0
    assert "chosen by MAP@10" in trained.stderr
    assert run("rank", "--model", PURE_SVD, "--store", store, "--out", tmp_path / "p.parquet").exit_code == 0
    vectors = load_file(store / "models" / PURE_SVD / "000001" / "vectors.safetensors")["vectors"].astype(float)
    opened = rp.open_store(store)
    items = opened.scan("items").collect()["item_id"].to_list()
    before = rp.history(opened.scan("labelled"), opened.scan("repeats"), before="test").collect()
    predictions = pl.read_parquet(tmp_path / "p.parquet")
    for (user,), own in predictions.group_by("user_id"):
        had = before.filter(pl.col("user_id") == user)
        liked = [items.index(item) for item in had.filter(pl.col("label") == 1)["item_id"]]
        scores = vectors @ vectors[liked].sum(axis=0)
        best = sorted((score for item, score in zip(items, scores, strict=True) if item not in set(had["item_id"])))
        np.testing.assert_allclose(own.sort("rank")["score"], best[::-1][:10], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(own["score"], scores[[items.index(i) for i in own["item_id"]]], rtol=1e-4, atol=1e-6)


def test_pure_svd_finds_the_singular_vectors(store: Path) -> None:
    from examples.pure_svd import PureSvd

    known = rp.knowledge_before(rp.open_store(store), "test")
    likes = np.zeros((known.n_users, known.n_items))
    for user, item, label in zip(known.user_rows, known.item_rows, known.labels, strict=True):
        likes[user, item] = label == 1
    _, _, right = np.linalg.svd(likes)
    model = PureSvd.fit(known, rp.FitSettings(parameters={"width": 3}), rounds=400)
    users, items = np.divmod(np.arange(likes.size), known.n_items)
    scores = model.scorer(known, np.arange(known.n_users)).exact(users, items).reshape(likes.shape)
    np.testing.assert_allclose(scores, likes @ right[:3].T @ right[:3], atol=1e-4)


@pytest.mark.parametrize("bound", ["1e-3", "float('inf')"])
def test_a_scorer_of_ones_own_is_ranked_exactly_with_a_bound_and_without_one(
    accept: Callable[..., str], write: Write, store: Path, tmp_path: Path, bound: str
) -> None:
    counted = 'rp.PerItemScorer(known.item_counts.astype(float), n_users=len(users), name="mine")'
    kind = write((counted, "Furthest(users / 7, np.arange(known.n_items) / 3)"), ("BOUND", bound), more=SCORER)
    accept("train", "--model", kind, "--store", store)
    accept(
        "rank", "--model", kind, "--store", store, "--include-seen", "--users", "all", "--out", tmp_path / "p.parquet"
    )
    known = rp.knowledge_before(rp.open_store(store), "test")
    expected = []
    for user, user_id in enumerate(known.user_ids):
        scores = [np.float32(abs(user / 7 - item / 3)) for item in range(known.n_items)]
        for rank, item in enumerate(sorted(range(known.n_items), key=lambda item: (-scores[item], item))[:10], 1):
            expected.append((user_id, rank, known.item_ids[item], scores[item]))
    assert lists(tmp_path / "p.parquet") == expected


def test_what_the_page_on_models_of_ones_own_shows_runs(run: Run, world: Any, here: Path) -> None:
    page = (ROOT / "docs" / "own-model.md").read_text(encoding="utf-8")
    shutil.copytree(ROOT / "examples", here / "examples")
    shutil.copytree(world.store, here / "data" / "store")
    commands = [line.split() for line in re.findall(r"^bin/(.+)$", page, re.MULTILINE)]
    assert [words[0] for words in commands] == ["build-features", "train", "rank", "evaluate"]
    for words in commands[1:]:
        result = run(*words)
        assert result.exit_code == 0, result.output
    from_the_commands = lists(here / "preds.parquet")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert lists(here / "preds.parquet") != from_the_commands  # of another width


# A store's files get nothing imported


def test_a_store_alone_gets_no_module_imported(
    run: Run, refuse: Callable[..., str], write: Write, here: Path, store: Path, tmp_path: Path
) -> None:
    kind = write(("import pathlib", "import pathlib; pathlib.Path('imported').touch()"))
    assert run("train", "--model", kind, "--store", store).exit_code == 0
    assert run("rank", "--model", kind, "--store", store, "--out", tmp_path / "p.parquet").exit_code == 0
    (here / "imported").unlink()
    del sys.modules["mine_for_tests"]
    message = refuse("rank", "--store", store, "--out", tmp_path / "q.parquet")
    assert f"the model trained last is {kind}" in message
    assert f"--model {kind}" in message
    for words in (("evaluate", tmp_path / "p.parquet"), ("store", "list"), ("store", "verify"), ("store", "prune")):
        assert run(*words, "--store", store).exit_code == 0
    assert not (here / "imported").exists()
    with pytest.raises(rp.InputError, match="the model trained last is mine_for_tests:Mine"):
        rp.rank(store, tmp_path / "q.parquet")


def test_nothing_is_imported_for_a_model_that_was_not_trained(
    refuse: Callable[..., str], write: Write, here: Path, store: Path
) -> None:
    kind = write(("import pathlib", "import pathlib; pathlib.Path('imported').touch()"))
    message = refuse("rank", "--model", kind, "--store", store, "--out", "p.parquet")
    assert f"expected a trained model, found none; run recsys-polars train --model {kind} first" in message
    assert not (here / "imported").exists()


ODD = [
    "../out:Mine",
    "a/b:Mine",
    ".a:Mine",
    "a.:Mine",
    "a..b:Mine",
    "a:",
    ":Mine",
    "a:b:c",
    "a:Mine\n",
    "a:Mi\0ne",
    "é:Mine",
]
ODD += ["a:b.c", "a b:c", "a" * 300 + ":Mine", "CURRENT", "", "mlp.tuned.json", "1a:Mine"]


@pytest.mark.parametrize("name", ODD)
def test_what_could_lead_out_of_the_folder_of_models_is_no_name(
    refuse: Callable[..., str], store: Path, name: str, tmp_path: Path
) -> None:
    assert not is_own(name)
    if "\0" not in name:
        assert "nor MODULE:CLASS of your own" in refuse("train", "--model", name, "--store", store)
    (store / "models" / "CURRENT").write_text(name)
    message = refuse("rank", "--store", store, "--out", tmp_path / "p.parquet")
    assert "expected a kind of model" in message or name.strip() != name
    assert str(store / "models" / "CURRENT") in refuse("store", "verify", "--store", store)


# What is wrong with it


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.at_all:Mine", ["expected a module nowhere.at_all in the current folder, on PYTHONPATH or installed"]),
        ("mine_for_tests.deeper:Mine", ["expected a module mine_for_tests.deeper in the current folder"]),
        ("mine_for_tests:Other", ["expected a class Other in mine_for_tests (", "mine_for_tests.py), found Mine"]),
        ("mine_for_tests:np", ["expected a class np in mine_for_tests (", "found Mine\n"]),
        (
            "fractions:Fraction",
            ["expected a class with all that a model has", "found no validates, fit, scorer, save, load"],
        ),
    ],
)
def test_what_is_no_model_is_bad_usage(
    refuse: Callable[..., str], write: Write, store: Path, name: str, words: list[str]
) -> None:
    write()
    message = refuse("train", "--model", name, "--store", store)
    assert [word for word in [f"model {name}: ", *words] if word not in message] == []


@pytest.mark.parametrize("lacking", ["scorer", "load"])
def test_a_method_that_is_lacking_is_named(refuse: Callable[..., str], write: Write, store: Path, lacking: str) -> None:
    kind = write((f"def {lacking}(", f"def not_{lacking}("))
    assert refuse("train", "--model", kind, "--store", store).endswith(f"found no {lacking}\n")


FAULTS = {
    "import": ("import pathlib", "import no_such_library"),
    "syntax": ("import pathlib", "import ("),
    "fit": ("        return cls()\n\n    def scorer", "        return 1 / 0\n\n    def scorer"),
    "save": ('write_text("{}")', "write_text(1 / 0)"),
    "facts": ("facts = False, 0, {}", "facts = False, 0, {'when': np.int64(3)}"),
    "no rounds": ("validates, rounds, facts = False, 0, {}", "validates = False"),
    "subfolder": ('(folder / "nothing.json").write_text("{}")', '(folder / "deeper").mkdir()'),
    "manifest": ("nothing.json", "manifest.json"),
    "link": ('(folder / "nothing.json").write_text("{}")', '(folder / "link").symlink_to(__file__)'),
}
WORDS = {
    "import": "ModuleNotFoundError: No module named 'no_such_library'",
    "syntax": "SyntaxError",
    "fit": "ZeroDivisionError: division by zero",
    "save": "ZeroDivisionError: division by zero",
    "facts": "TypeError: Object of type int64 is not JSON serializable",
    "no rounds": "AttributeError: 'Mine' object has no attribute 'rounds'",
    "subfolder": "expected save to write files, no manifest.json among them, found deeper",
    "manifest": "found manifest.json",
    "link": "found link",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_training_names_the_model_and_leaves_nothing(
    run: Run, write: Write, store: Path, fault: str
) -> None:
    kind, trained_last = write(FAULTS[fault]), (store / "models" / "CURRENT").read_text()
    fails(run("train", "--model", kind, "--store", store), f"model {kind}: ", WORDS[fault], "(--debug shows where)")
    assert (store / "models" / "CURRENT").read_text() == trained_last
    assert not (store / "models" / kind).exists()


FAULTS_AT_WORK = {
    "load": ("def load(cls, folder):\n        return cls()", "def load(cls, folder):\n        return 1 / 0"),
    "scorer": ("return rp.PerItemScorer(", "return 1 / rp.PerItemScorer("),
    "no scorer": ("return rp.PerItemScorer(", "return dict(scores="),
    "users": ("n_users=len(users)", "n_users=7"),
    "items": ("known.item_counts.astype(float)", "np.ones(3)"),
    "exact": ('name="mine")', 'name="mine") if known is None else Broken(len(users))'),
}
BROKEN = """
class Broken(rp.PerItemScorer):
    def __init__(self, n_users):
        super().__init__(np.ones(20), n_users=n_users)

    def exact(self, users, items):
        raise RuntimeError("no score today")
"""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("load", "ZeroDivisionError"),
        ("scorer", "TypeError: unsupported operand"),
        ("no scorer", "expected all that a scorer has (docs/own-model.md says how), found no name, n_users"),
        ("users", "users and 20 items, found 7 and 20"),
        ("items", " and 3 (--debug"),
        ("exact", "RuntimeError: no score today"),
    ],
)
def test_a_fault_in_ranking_names_the_model_and_writes_nothing(
    run: Run, write: Write, store: Path, tmp_path: Path, fault: str, words: str
) -> None:
    kind, out = write(), tmp_path / "p.parquet"
    assert run("train", "--model", kind, "--store", store).exit_code == 0
    del sys.modules["mine_for_tests"]
    write(FAULTS_AT_WORK[fault], more=BROKEN)
    fails(run("rank", "--model", kind, "--store", store, "--out", out), kind, words)
    assert list(tmp_path.glob("*p.parquet*")) == []


def test_debug_shows_where_it_failed(run: Run, write: Write, store: Path) -> None:
    result = run("train", "--model", write(FAULTS["fit"]), "--store", store, "--debug")
    assert result.exit_code == 1
    assert isinstance(result.exception, rp.ModelError)
    assert isinstance(result.exception.__cause__, ZeroDivisionError)


def test_what_the_model_refuses_on_purpose_is_bad_input(refuse: Callable[..., str], write: Write, store: Path) -> None:
    refusal = (
        "        return cls()\n\n    def scorer",
        "        raise rp.InputError('mine wants prices')\n\n    def scorer",
    )
    assert refuse("train", "--model", write(refusal), "--store", store) == "Error: mine wants prices\n"


@pytest.mark.parametrize("words", [("--history", "loo"), ("--loss", "bpr"), ("--recipe", "notebook"), ("--seeds", "2")])
def test_options_that_have_no_effect_on_it_are_refused(
    refuse: Callable[..., str], write: Write, store: Path, words: tuple[str, str]
) -> None:
    kind = write()
    message = refuse("train", "--model", kind, "--store", store, *words)
    assert message.startswith(f"Error: {words[0]}")
    assert kind in message


@pytest.mark.parametrize("kind", ["mine:Mine", "two-tower"])
def test_the_workers_of_spark_have_no_such_module(kind: str) -> None:
    settings = RankSettings(kind=kind, candidates_from="mine:Mine:5")
    with pytest.raises(rp.InputError, match=f"--engine spark: expected models of the package, found {kind} and mine:M"):
        check_job(None, Shared(kind, True, settings), None, None, None)  # type: ignore[arg-type]


def test_nothing_of_the_current_folder_can_be_imported_for_who_names_no_model_of_theirs(
    run: Run, write: Write, here: Path, store: Path
) -> None:
    assert run("train", "--model", "popularity", "--store", store).exit_code == 0
    assert str(here) not in sys.path
    assert run("train", "--model", write(), "--store", store).exit_code == 0
    assert sys.path[-1] == str(here)
