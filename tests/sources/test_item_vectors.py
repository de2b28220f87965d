import numpy as np
import polars as pl
import pytest

from recsys_polars.errors import InputError
from recsys_polars.sources import read_items
from recsys_polars.sources.items import ParsedItems


def parsed(found: ParsedItems) -> pl.DataFrame:
    return pl.concat([file.rows.collect() for file in found.files])


def items(tmp_path, **columns: object) -> str:
    path = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": [1, 2], **columns}).write_parquet(path)
    return str(path)


def test_wide_columns_fold_in_the_order_of_their_numbers(tmp_path):
    wide = {f"clip_text_{n}": [n, -n] for n in (10, 2, 0, 1, *range(3, 10), 11)}
    found = read_items(items(tmp_path, **wide))
    assert found.vectors == {"clip_text": 12}
    assert found.left_out == []
    frame = parsed(found)
    assert frame.schema["clip_text"] == pl.Array(pl.Float32, 12)
    assert np.array_equal(frame["clip_text"].to_numpy(), np.outer([1, -1], np.arange(12)))


def test_wide_columns_of_a_csv_fold_too(write):
    found = read_items(write("x.csv", "item_id,v_1,v_0\na,2,1\nb,,3\nc,x,3\n"))
    # "x" makes v_1 a column of text, so there is no vector.
    assert found.left_out == ["v_1", "v_0"]
    found = read_items(write("y.csv", "item_id,v_1,v_0\na,2,1\nb,,3\n"))
    assert parsed(found).select("v", "rule", "found").rows() == [
        ([1.0, 2.0], None, None),
        (None, "v: not 2 finite numbers", "v_1: null"),
    ]


@pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.List(pl.Float32), pl.Array(pl.Float64, 2)])
def test_lists_and_arrays_keep_their_name(tmp_path, dtype):
    found = read_items(items(tmp_path, emb=pl.Series([[1.0, 2.0], [3.0, 4.0]], dtype=dtype)))
    assert found.vectors == {"emb": 2}
    assert parsed(found)["emb"].to_list() == [[1.0, 2.0], [3.0, 4.0]]
    assert parsed(found).schema["emb"] == pl.Array(pl.Float32, 2)


@pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.Array(pl.Float64, 2)])
def test_an_item_may_have_no_vector_at_all(tmp_path, dtype):
    path = items(tmp_path, emb=pl.Series([[1.0, 2.0], None], dtype=dtype))
    rows = parsed(read_items(path))
    assert rows["rule"].to_list() == [None, None]
    assert rows["emb"].is_null().to_list() == [False, True]


@pytest.mark.parametrize("bad", [[1.0, None], [1.0, float("nan")], [float("inf"), 1.0], [1.0, 1e300]])
@pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.Array(pl.Float64, 2)])
def test_a_vector_that_is_not_complete_and_finite_is_a_reject(tmp_path, bad, dtype):
    path = items(tmp_path, emb=pl.Series([[1.0, 2.0], bad], dtype=dtype))
    assert parsed(read_items(path))["rule"].to_list() == [None, "emb: not 2 finite numbers"]


def test_a_list_of_another_width_is_a_reject_and_shows_itself(tmp_path):
    lists = pl.Series([[1.0, 2.0]] * 19 + [[1.0]], dtype=pl.List(pl.Float64))
    pl.DataFrame({"item_id": range(20), "emb": lists}).write_parquet(tmp_path / "x.parquet")
    last = parsed(read_items(str(tmp_path / "x.parquet"))).row(-1, named=True)
    assert (last["rule"], last["found"]) == ("emb: not 2 finite numbers", "[1.0]")


def test_lists_of_ids_and_lists_of_any_width_are_no_vectors(tmp_path):
    found = read_items(items(tmp_path, also=[[1, 2], [3, 4]], prices=[[1.0], [1.0, 2.0]]))
    assert found.vectors == {}
    assert found.left_out == ["also", "prices"]


def test_one_numbered_column_or_text_is_no_vector(tmp_path):
    found = read_items(items(tmp_path, rank_0=[1, 2], size_1=[1, 2], size_2=[1, 2], name_0=["a"] * 2, name_1=["b"] * 2))
    assert found.vectors == {}
    assert found.left_out == ["rank_0", "size_1", "size_2", "name_0", "name_1"]


def test_a_gap_in_the_numbers_is_bad_input(tmp_path):
    path = items(tmp_path, v_0=[1, 2], v_1=[1, 2], v_3=[1, 2])
    with pytest.raises(InputError, match=r"v: expected columns without a gap, found no v_2"):
        read_items(path)


def test_files_must_agree_on_their_vectors(tmp_path):
    pl.DataFrame({"item_id": [1], "v_0": [1.0], "v_1": [1.0]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"item_id": [2]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"vectors: .*a\.parquet: v \(2\); .*b\.parquet: none"):
        read_items(str(tmp_path / "*.parquet"))
