"""The trained models in a store: where they lie, and whether they are of its generation."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recsys_polars.artefacts import MANIFEST, checked_file, current_generation, held_generation, staged
from recsys_polars.disk import fingerprint, write_text
from recsys_polars.errors import ArtefactError, InputError, ModelError
from recsys_polars.guards import refuse_link
from recsys_polars.models import NAMES, check_kind, is_own
from recsys_polars.store import Store


def publish_model(store: Store, kind: str, save: Callable[[Path], None], facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write a new generation of a model, which becomes the one trained last; return its manifest.

    Args:
        store: the store that it was trained on.
        kind: of the model.
        save: writes the model's files into an empty folder.
        facts: for the manifest: settings, figures of the training, seconds.

    Raises:
        ModelError: what `save` wrote can't be kept.
    """
    with staged(model_folder(store, kind)) as stage:
        save(stage.folder)
        for file in sorted(stage.folder.iterdir()):
            if file.is_symlink() or not file.is_file() or file.name == MANIFEST:
                raise ModelError(
                    f"model {kind}: expected save to write files, no {MANIFEST} among them, found {file.name}"
                )
            stage.add_file(file.name)
        stage.facts |= {"kind": kind, "store": store.identity, **facts}
    write_text(store.models_folder / "CURRENT", kind)
    store.models.pop(kind, None)
    return current_generation(model_folder(store, kind))[1]


def name_of_training(manifest: Mapping[str, Any]) -> str:
    """Return what a model is called among all that were trained, by its manifest."""
    return f"{manifest['store']} {manifest['kind']} {fingerprint(manifest['files'])}"


def model_folder(store: Store, kind: str) -> Path:
    """Return where a kind of model lies.

    Raises:
        InputError: no kind.
        ArtefactError: it is a symbolic link.
    """
    return refuse_link(store.models_folder / check_kind(kind))


def find_model(store: Store, kind: str | None) -> tuple[Path, Mapping[str, Any]]:
    """Return the folder of a trained model, the one trained last where `kind` is None, and its manifest.

    An open store finds the same model each time, which is not removed before the store is gone.

    Raises:
        InputError: an unknown kind, or None where a model of the user's own was trained last.
        ArtefactError: no such model, a damaged one, or one trained on another generation of the store.
    """
    kind = check_kind(kind or _trained_last(store))
    if kind not in store.models:
        folder = model_folder(store, kind)
        if not (folder / "CURRENT").is_file():
            raise ArtefactError(
                f"{folder}: expected a trained model, found none; run recsys-polars train --model {kind} first"
            )
        generation, manifest, held = held_generation(folder)
        _check(store, kind, folder / generation, manifest)
        store.models[kind] = (folder / generation, manifest, held)
    found: tuple[Path, Mapping[str, Any]] = store.models[kind][:2]
    return found


def _check(store: Store, kind: str, generation: Path, manifest: Mapping[str, Any]) -> None:
    folder = generation.parent
    missing = [key for key in ("kind", "store", "settings", "seconds") if key not in manifest]
    if missing or not isinstance(manifest["settings"], dict) or "recipe" not in manifest["settings"]:
        raise ArtefactError(
            f"{folder}: expected a model's manifest, found none of {', '.join(missing) or 'its settings'}"
        )
    if manifest.get("kind") != kind:
        raise ArtefactError(f"{folder}: expected a {kind} model, found {manifest.get('kind')!r}; train it again")
    if manifest["store"] != store.identity:
        raise ArtefactError(
            f"{folder}: expected a model of generation {store.identity} of the store, found one of "
            f"{manifest['store']}; run recsys-polars train --model {kind} again"
        )
    for name in manifest["files"]:
        checked_file(generation, name, manifest)


def _trained_last(store: Store) -> str:
    pointer = refuse_link(store.models_folder / "CURRENT")
    if not pointer.is_file():
        raise ArtefactError(
            f"{store.path}: expected a trained model, found none; run recsys-polars train --model KIND first"
        )
    kind = pointer.read_text(encoding="utf-8", errors="replace").strip()
    if is_own(kind):
        # Whoever makes the store writes this file: what it names may not be run before the user has named it too.
        raise InputError(
            f"{pointer}: the model trained last is {kind}, which is no part of recsys-polars; if it is yours to run, "
            f"ask for it by --model {kind}"
        )
    if kind not in NAMES:
        raise ArtefactError(
            f"{pointer}: expected a kind of model, found {kind[:50]!r}; run recsys-polars train --model KIND first"
        )
    return kind
