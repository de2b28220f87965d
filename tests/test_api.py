"""The public names: found where they are said to be, documented by examples that run, one with the command line."""

import ast
import doctest
import inspect
import re
import shutil
import subprocess
import sys
from dataclasses import MISSING, asdict, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import recsys_polars as rp
from recsys_polars import metrics
from recsys_polars.cli.main import COMMANDS
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import build, rank, train
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.recipes.sides import RankSettings

FIRST = ("build_features", "train", "rank")
"""Their examples leave a store, a model and predictions to those of all other names."""
NAMES = [*(name for name in rp.__all__ if name != "metrics"), *(f"metrics.{name}" for name in metrics.__all__)]


def run_example(name: str, names: dict[str, Any]) -> None:
    """Run the example in the docstring of a public name, which must have one."""
    documented: Any = rp
    for part in name.split("."):
        documented = getattr(documented, part)
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(documented) or "", names, name, None, None)
    assert example.examples, f"{name} has no example"
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append, clear_globs=False)
    assert not failed, "".join(said)
    names |= example.globs


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder in which the first examples ran, and the names that they defined."""
    folder, names = tmp_path_factory.mktemp("world"), dict[str, Any]()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in FIRST:
            run_example(name, names)
    return folder, names


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIRST])
def test_the_example_of_a_public_name_runs(
    name: str, world: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, names = world
    monkeypatch.chdir(shutil.copytree(folder, tmp_path / "world"))
    run_example(name, dict(names))


def test_importing_the_package_waits_for_no_library() -> None:
    code = "import sys, recsys_polars; print(sorted({'polars', 'numpy', 'torch', 'click'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_type_checkers_are_told_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(rp.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    told = [(node.module, name.name, name.asname) for node in imports for name in node.names]
    homes = {name: f"recsys_polars.{module}" for name, module in rp._HOMES.items()} | {"metrics": "recsys_polars"}
    assert sorted(told) == sorted((module, name, name) for name, module in homes.items())


def test_every_public_name_is_listed_and_is_what_its_home_has() -> None:
    assert set(rp.__all__) <= set(dir(rp))
    for name, module in rp._HOMES.items():
        assert getattr(rp, name) is getattr(import_module(f"recsys_polars.{module}"), name)
    with pytest.raises(AttributeError, match="has no attribute 'svd'"):
        rp.svd  # noqa: B018


def test_the_types_of_the_package_are_for_its_users_too() -> None:
    assert (Path(rp.__file__).parent / "py.typed").is_file()


# One option: the same on the command line, as a keyword, and among a recipe's settings

SETTINGS = {"build_features": BuildSettings, "train": FitSettings, "rank": RankSettings}
RECIPES = {"build_features": build, "train": train, "rank": rank}
COMMON = {"build_features": (), "train": ("store", "mlp"), "rank": ("store", "preds.parquet")}
NAMED_OTHERWISE = {"format_": "format", "memory": "memory_bytes", "kind": "model"}
"""A keyword by what the command line or a setting calls it."""
COMMAND_ALONE = {"debug", "patterns", "json_file", "engine", "spark_master", "spark_conf"}
PYTHON_ALONE = {"parameters", "progress"}
OTHER_DEFAULTS = {"memory_bytes": 2_000_000_000, "recipe": None}
"""Those of the command line: 2GB are 10^9 bytes there."""


def keyword_of(name: str) -> str:
    return NAMED_OTHERWISE.get(name, name)


@pytest.mark.parametrize("name", [*SETTINGS, "evaluate"])
def test_every_option_of_a_command_is_a_keyword_with_the_same_default(name: str) -> None:
    command = import_module(COMMANDS[name.replace("_", "-")]).command
    words = [word for param in command.params if param.required for word in (*param.opts[-1:], "mlp")]
    words = ["preds.parquet"] if name == "evaluate" else words
    required = {param.name for param in command.params if param.required}
    options = command.make_context(name, words).params
    keywords = inspect.signature(getattr(rp, name)).parameters
    assert {keyword_of(option) for option in options.keys() - COMMAND_ALONE} == keywords.keys() - PYTHON_ALONE
    for option in options.keys() - COMMAND_ALONE - required - {"store", "out"}:
        keyword = keyword_of(option)
        default = OTHER_DEFAULTS.get(keyword, keywords[keyword].default)
        assert options[option] == default or not (options[option] or default), option


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_a_recipe_is_a_keyword_with_the_same_default(name: str) -> None:
    keywords = inspect.signature(getattr(rp, name)).parameters
    for field in fields(SETTINGS[name]):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        assert keywords[keyword_of(field.name)].default == default, field.name


@pytest.mark.parametrize("name", SETTINGS)
def test_every_keyword_reaches_the_setting_of_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(RECIPES[name], name, lambda *args, **_: asked.extend(args))
    given = {field.name: field.name for field in fields(SETTINGS[name])}  # no two alike
    given |= {key: value for key, value in SPECIAL.items() if key in given}
    getattr(rp, name)(*COMMON[name], **{keyword_of(field): value for field, value in given.items()})
    assert [asdict(arg) for arg in asked if is_dataclass(arg)] == [given]


SPECIAL: dict[str, Any] = {
    "kind": "catboost",
    "columns": {"user_id": "customer"},
    "item_features": ("color",),
    "parameters": {"depth": 3},
}
"""Settings that aren't any text."""


@pytest.mark.parametrize("name", [*SETTINGS, "evaluate"])
def test_every_keyword_is_documented_in_its_order(name: str) -> None:
    section = (inspect.getdoc(getattr(rp, name)) or "").partition("Args:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^    (\w+): ", section, re.MULTILINE) == [*inspect.signature(getattr(rp, name)).parameters]
