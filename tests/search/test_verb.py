"""`moon-zoo search` as a person uses it: what it prints and writes, and what mistakes cost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from moon_zoo.cli.main import main
from tests.search.catalogues import Made, make, model, product


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("catalogue"), 20)


@pytest.fixture
def search(made: Made, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the verb on the embeddings: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asked.jpg").write_bytes(product(4).photos[0])
    (tmp_path / "queries.csv").write_text(f"id,text,photo\nq1,{product(3).title},\nq2,,asked.jpg\n")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["search", *words])
        return code, *capfd.readouterr()

    return run


def test_words_give_a_table(search, made: Made) -> None:
    code, out, err = search(str(made.embeddings), "--text", product(6).title, "--modality", "text", "--k", "3")
    lines = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["rank", "score", "item_id", "title", "category"]
    assert lines[1] == ["1", "1.000", "item-006", product(6).title, "clothing/shirt"]
    assert len(lines) == 4
    assert err == "searching 20 items, index flat, recall@10 1 (exact)\n"


def test_json_says_what_was_searched_and_how(search, made: Made) -> None:
    words = ("--text", "in red", "--photo", "asked.jpg", "--category", "boot", "--json", "--quiet", "--index", "ivf")
    code, out, err = search(str(made.embeddings), *words, "--recall", "0.9")
    said = json.loads(out)
    assert (code, err) == (0, "")
    assert said["model"]["source"] == str(made.checkpoint)
    assert said["index"]["kind"] == "ivf"
    assert said["index"]["recall"]["target"] == 0.9
    assert min(said["index"]["recall"]["measured"].values()) >= 0.9
    assert (said["modality"], said["categories"]) == ("product", ["boot"])
    (query,) = said["queries"]
    assert (query["text"], query["photo"]) == ("in red", "asked.jpg")
    assert {one["category"] for one in query["results"]} == {"shoes/boot"}
    assert query["results"][0].keys() == {
        "rank", "score", "item_id", "spu_id", "title", "category", "set", "index", "key"
    }  # fmt: skip


def test_a_table_of_queries_goes_into_files(search, made: Made, tmp_path: Path) -> None:
    words = ("--queries", "queries.csv", "--modality", "photo", "--k", "2")
    code, out, _ = search(str(made.embeddings), *words, "--output", "out/results.parquet")
    assert (code, out) == (0, "")  # they are in the file
    rows = pq.read_table(tmp_path / "out" / "results.parquet").to_pylist()
    assert [(row["query_id"], row["rank"]) for row in rows] == [("q1", 1), ("q1", 2), ("q2", 1), ("q2", 2)]
    assert (rows[2]["item_id"], rows[2]["query_photo"]) == ("item-004", "asked.jpg")
    for name in ("results.csv", "results.jsonl"):
        assert search(str(made.embeddings), *words, "--output", name)[0] == 0
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    for ours, theirs in ((rows, from_csv), (rows, from_lines)):
        assert [row["item_id"] for row in ours] == [row["item_id"] for row in theirs]
    assert from_lines[2]["score"] == pytest.approx(rows[2]["score"], abs=1e-6)
    code, out, _ = search(str(made.embeddings), *words)
    assert [line.split("\t")[:2] for line in out.splitlines()] == [
        ["query", "rank"], ["q1", "1"], ["q1", "2"], ["q2", "1"], ["q2", "2"]
    ]  # fmt: skip


def test_page_and_picture_are_written(search, made: Made, tmp_path: Path) -> None:
    code, _, err = search(str(made.embeddings), "--photo", "asked.jpg", "--html", "p.html", "--png", "p.png")
    assert code == 0
    assert "wrote p.html\nwrote p.png\n" in err
    page = (tmp_path / "p.html").read_text("utf-8")
    assert "Search in embeddings" in page
    assert "20 items · index flat, exact" in page
    assert str(made.root) not in page.replace(f"/{made.root.name}/", "/")  # pages are handed around: no paths of ours
    assert page.count("data:image/jpeg;base64,") >= 10
    assert Image.open(tmp_path / "p.png").width > 1000


def test_missing_shards_are_one_line_and_no_failure(search, made: Made, tmp_path: Path) -> None:
    moved = made.shards.rename(made.root / "moved")
    try:
        code, out, err = search(str(made.embeddings), "--text", "boot", "--html", "p.html", "--k", "5")
    finally:
        moved.rename(made.shards)
    assert code == 0
    assert len(out.splitlines()) == 6
    assert err.count("no photos from") == 1
    assert f"{made.shards} does not exist" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing is asked"),
        (["--text", " "], "a query needs words, a photo or both"),
        (["--text", "x", "--queries", "queries.csv"], "--queries comes alone"),
        (["--text", "x", "--k", "0"], "0 results cannot be shown"),
        (["--text", "x", "--index", "hsnw"], "did you mean: hnsw"),
        (["--text", "x", "--recall", "99"], "a recall of 99 cannot be reached"),
        (["--text", "x", "--modality", "fotos"], "did you mean: photo"),
        (["--text", "x", "--category", "boots"], "did you mean: boot"),
        (["--photo", "askd.jpg"], "did you mean: asked.jpg"),
        (["--photo", "queries.csv"], "the query photo queries.csv cannot be used"),
        (["--photo", "."], "cannot be read: Is a directory"),
        (["--queries", "querys.csv"], "did you mean: queries.csv"),
        (["--text", "x", "--html", "p.png"], "p.png does not end in .html"),
        (["--text", "x", "--png", "p.jpg"], "p.jpg does not end in .png"),
        (["--text", "x", "--output", "p.xlsx"], "results are written as .parquet, .csv, .jsonl"),
        (["--text", "x", "--model", "gone"], "cannot be loaded"),
        (["--text", "x", "--device", "gpu"], "the device 'gpu' cannot be used here"),
        (["--test", "x"], "did you mean: --text"),
    ],
)
def test_mistakes_are_one_message_and_code_2(search, made: Made, words: list[str], said: str) -> None:
    code, out, err = search(str(made.embeddings), *words)
    assert code == 2
    assert said in err
    assert err.splitlines()[0].startswith(("error: ", "searching"))
    assert out == ""
    assert "Traceback" not in err


def test_what_is_no_embeddings_is_told_apart(search, made: Made, tmp_path: Path) -> None:
    assert "does not exist" in search("nowhere", "--text", "x")[2]
    assert "holds no embeddings" in search(str(made.shards), "--text", "x")[2]


def test_a_model_that_did_not_make_the_vectors_is_refused(search, made: Made, tmp_path: Path) -> None:
    other = model(tmp_path / "other", made.shards, seed=3)
    code, _, err = search(str(made.embeddings), "--text", "x", "--model", str(other))
    assert code == 2
    assert f"the items were embedded by {made.checkpoint}" in err
    assert f"queries would be by {other}" in err
