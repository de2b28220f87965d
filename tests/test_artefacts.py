import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_polars.artefacts import FORMAT_VERSION, checked_file, current_generation, generations, read_manifest, staged
from recsys_polars.disk import sha256, write_text
from recsys_polars.errors import ArtefactError
from tests.forging import forge


def publish(path: Path, text: str = "hello") -> None:
    """Build a generation with one file."""
    with staged(path) as stage:
        (stage.folder / "a.txt").write_text(text, encoding="utf-8")
        stage.add_file("a.txt", rows=1)
        stage.facts["note"] = text


def fail_half_way(path: Path, error: type[BaseException]) -> None:
    with staged(path) as stage:
        (stage.folder / "a.txt").write_text("half", encoding="utf-8")
        raise error


def files_of(path: Path) -> dict[str, bytes]:
    """Every file but the lock, byte by byte."""
    files = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_what_was_built_can_be_read_with_its_checksums_and_facts(tmp_path) -> None:
    publish(tmp_path / "new" / "store")
    generation, manifest = current_generation(tmp_path / "new" / "store")
    file = tmp_path / "new" / "store" / generation / "a.txt"
    assert manifest == {
        "format_version": FORMAT_VERSION,
        "files": {"a.txt": {"sha256": sha256(file), "bytes": 5, "rows": 1}},
        "note": "hello",
    }


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_the_old_generation_byte_by_byte(tmp_path, error) -> None:
    publish(tmp_path)
    before = files_of(tmp_path)
    with pytest.raises(error):
        fail_half_way(tmp_path, error)
    assert files_of(tmp_path) == before


def test_a_first_build_that_fails_leaves_no_folder(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_half_way(tmp_path / "store", ZeroDivisionError)
    assert not (tmp_path / "store").exists()


def test_a_failed_first_build_in_an_empty_folder_leaves_nothing_to_read(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_half_way(tmp_path, ZeroDivisionError)
    assert files_of(tmp_path) == {}


def test_nothing_is_readable_before_the_block_ends(tmp_path) -> None:
    publish(tmp_path, "old")
    with staged(tmp_path) as stage:
        stage.facts["note"] = "new"
        assert current_generation(tmp_path)[1]["note"] == "old"
    assert current_generation(tmp_path)[1]["note"] == "new"


def test_the_last_two_generations_are_kept(tmp_path) -> None:
    for text in "abc":
        publish(tmp_path, text)
    assert generations(tmp_path) == ["000002", "000003"]
    assert current_generation(tmp_path)[0] == "000003"


def test_what_a_killed_build_left_behind_is_gone_after_the_next(tmp_path) -> None:
    (tmp_path / ".staging-000007").mkdir()
    (tmp_path / ".staging-000007" / "half.parquet").write_bytes(b"PAR1")
    publish(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", ".published", "000001", "CURRENT"]


def test_a_build_killed_before_it_moved_the_pointer_is_never_read_and_never_overwritten(tmp_path) -> None:
    publish(tmp_path, "old")
    pointer = (tmp_path / "CURRENT").read_text()
    publish(tmp_path, "orphan")
    for name in ("CURRENT", ".published"):
        write_text(tmp_path / name, pointer)
    assert current_generation(tmp_path)[1]["note"] == "old"
    publish(tmp_path, "new")
    assert current_generation(tmp_path)[0] == "000003"
    assert generations(tmp_path) == ["000001", "000003"]


KILLED = """
import sys, time
from pathlib import Path
from recsys_polars.artefacts import staged
with staged(Path(sys.argv[1])) as stage:
    (stage.folder / "a.txt").write_text("half")
    stage.add_file("a.txt")
    print("in the middle", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def build_in_the_middle(tmp_path):
    """Another process half through a build of a store that has one generation."""
    publish(tmp_path, "old")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in the middle\n"
        yield process
        process.kill()


def test_a_kill_in_the_middle_leaves_the_old_generation_and_the_next_build_works(tmp_path, build_in_the_middle) -> None:
    os.kill(build_in_the_middle.pid, signal.SIGKILL)
    build_in_the_middle.wait()
    assert current_generation(tmp_path)[1]["note"] == "old"
    assert (tmp_path / ".staging-000002").is_dir()
    publish(tmp_path, "new")
    assert files_of(tmp_path).keys() == {f"00000{n}/{name}" for n in "12" for name in ("a.txt", "manifest.json")} | {
        "CURRENT",
        ".published",
    }


def test_of_two_builds_at_once_the_second_is_refused_and_harms_nothing(tmp_path, build_in_the_middle) -> None:
    before = files_of(tmp_path)
    with pytest.raises(ArtefactError, match="another run is writing there; wait for it to end"):
        publish(tmp_path)
    assert files_of(tmp_path) == before


def test_a_build_inside_a_build_is_refused(tmp_path) -> None:
    with staged(tmp_path), pytest.raises(ArtefactError, match="another run is writing there"):
        publish(tmp_path)


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"expected a new or an empty folder, found notes\.txt$"):
        publish(tmp_path)
    assert files_of(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path) -> None:
    (tmp_path / "store").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"store: expected a folder, found a file$"):
        publish(tmp_path / "store")


@pytest.mark.parametrize(
    "names",
    [
        ("2022", "2023", "2024"),
        ("202201", "202202", "202203"),
        ("20220101", "20220102", "20220103"),
    ],
)
def test_folders_named_by_dates_are_no_generations(tmp_path, names) -> None:
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text("mine", encoding="utf-8")
    before = files_of(tmp_path)
    with pytest.raises(ArtefactError, match="expected a new or an empty folder"):
        publish(tmp_path)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("pointer", ["../x", "000001/../../x", "/etc", "", "-1", "1.0", ".staging-000002"])
def test_a_pointer_to_anything_but_a_generation_is_refused(tmp_path, pointer) -> None:
    publish(tmp_path)
    (tmp_path / "CURRENT").write_text(pointer, encoding="utf-8")
    with pytest.raises(ArtefactError, match="CURRENT: expected the number of a generation, found "):
        current_generation(tmp_path)


def test_a_pointer_that_is_no_text_is_refused(tmp_path) -> None:
    publish(tmp_path)
    (tmp_path / "CURRENT").write_bytes(b"\xff\xfe")
    with pytest.raises(ArtefactError):
        current_generation(tmp_path)


def test_a_folder_without_a_pointer_has_nothing_to_read(tmp_path) -> None:
    with pytest.raises(ArtefactError, match=r"expected the number of a generation, found no file; make"):
        current_generation(tmp_path)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, str(FORMAT_VERSION), None])
def test_another_format_version_is_refused_with_both_versions(tmp_path, version) -> None:
    publish(tmp_path)
    forge(tmp_path, lambda manifest: {**manifest, "format_version": version})
    with pytest.raises(ArtefactError, match=f"expected format version {FORMAT_VERSION}, found {version}; make it"):
        current_generation(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"files": {}}', b'{"format_version": 1}', b"\xff\xfe{}"]
)
def test_a_damaged_manifest_is_named(tmp_path, content) -> None:
    publish(tmp_path)
    (tmp_path / "000001" / "manifest.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"000001/manifest\.json: missing or damaged .*; make it again$"):
        current_generation(tmp_path)


@pytest.mark.parametrize("damage", [b"hullo", b"hell", b""])
def test_a_file_whose_bytes_are_not_those_of_the_manifest_is_named(tmp_path, damage) -> None:
    publish(tmp_path)
    generation, manifest = current_generation(tmp_path)
    file = tmp_path / generation / "a.txt"
    assert checked_file(file.parent, "a.txt", manifest) == file
    file.write_bytes(damage)
    with pytest.raises(ArtefactError, match=r"a\.txt: damaged, its bytes are not what the manifest says"):
        checked_file(file.parent, "a.txt", manifest)


@pytest.mark.parametrize("outside", ["../x", "/etc/passwd", "sub/../../x", "..", "", "a\0"])
def test_a_file_outside_of_the_generation_is_refused(tmp_path, outside) -> None:
    publish(tmp_path)
    entry = {"bytes": 0, "sha256": ""}
    forge(tmp_path, lambda manifest: {**manifest, "files": {outside: entry}})
    with pytest.raises(ArtefactError, match="expected names of files, found '"):
        current_generation(tmp_path)


def test_a_missing_generation_is_named(tmp_path) -> None:
    publish(tmp_path)
    pointer = (tmp_path / "CURRENT").read_text()
    (tmp_path / "CURRENT").write_text(pointer.replace("000001", "000009"), encoding="utf-8")
    with pytest.raises(
        ArtefactError, match="CURRENT: expected 000001, which was published last, found 000009; write it there"
    ):
        current_generation(tmp_path)


def test_what_stays_the_same_is_on_disk_once_and_is_whole_in_both_generations(tmp_path) -> None:
    publish(tmp_path, "same")
    old = tmp_path / "000001" / "a.txt"
    old.write_bytes(b"rot")
    publish(tmp_path, "same")
    assert old.samefile(tmp_path / "000002" / "a.txt")
    assert checked_file(old.parent, "a.txt", read_manifest(old.parent)) == old
    publish(tmp_path, "another")
    assert (tmp_path / "000002" / "a.txt").read_text() == "same"


def test_a_pointer_that_names_an_older_generation_than_was_published_is_refused(tmp_path) -> None:
    publish(tmp_path, "old")
    pointer = (tmp_path / "CURRENT").read_text()
    publish(tmp_path, "new")
    write_text(tmp_path / "CURRENT", pointer)
    with pytest.raises(ArtefactError, match="CURRENT: expected 000002, which was published last, found 000001"):
        current_generation(tmp_path)


def test_a_generation_that_lost_its_manifest_can_be_made_again(tmp_path) -> None:
    publish(tmp_path, "old")
    (tmp_path / "000001" / "manifest.json").unlink()
    with pytest.raises(ArtefactError, match="make it again"):
        current_generation(tmp_path)
    publish(tmp_path, "new")
    assert current_generation(tmp_path)[1]["note"] == "new"


def test_text_is_replaced_as_a_whole_and_nothing_stays_beside_it(tmp_path) -> None:
    for text in ("long old text", "néw"):
        write_text(tmp_path / "file", text)
    assert files_of(tmp_path) == {"file": "néw".encode()}
