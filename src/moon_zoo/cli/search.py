"""`moon-zoo search`: find products by text, photo or both."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import is_terminal, print_json, print_table, say
from moon_zoo.errors import UsageError

if TYPE_CHECKING:
    from moon_zoo.search.catalogue import Catalogue
    from moon_zoo.search.queries import Query
    from moon_zoo.search.results import Answer

summary = "find products by text, photo or both"

EXAMPLES = """\
  moon-zoo search embeddings/shop --text "red shoe"
  moon-zoo search embeddings/shop --photo photo.jpg --html found.html
  moon-zoo search embeddings/shop --photo photo.jpg --text "in blue" --category shoes bags
  moon-zoo search embeddings/shop --queries queries.csv --output results.parquet
"""

FORMATS = {"html": (".html", ".htm"), "png": (".png",)}


def run(args: list[str]) -> int:
    """Search."""
    options = _parser().parse_strict(args)
    queries = _queries(options)
    _check_targets(options)
    catalogue = _open(options)
    answers = _ask(catalogue, queries, options)
    _write(answers, catalogue, options)
    if options.json:
        print_json(_document(answers, catalogue, options))
    elif options.output is None or is_terminal():
        _print(answers)
    for path, why in catalogue.photos.notes.items():
        _tell(options, f"no photos from {path}: {why}")
    return 0


def _parser() -> Arguments:
    parser = Arguments("search", "Find products by words, a photo or both in what moon-zoo embed wrote.", EXAMPLES)
    parser.add_argument("embeddings", metavar="EMBEDDINGS", help="the folder that moon-zoo embed wrote")
    asked = parser.add_argument_group("what is asked")
    asked.add_argument("--text", metavar="WORDS", help="words")
    asked.add_argument("--photo", metavar="FILE", help="a photo; together with --text both count")
    asked.add_argument(
        "--queries",
        metavar="FILE",
        help="a .csv, .jsonl or .parquet with the columns text, photo, id; photos lie below it",
    )
    asked.add_argument("--k", type=int, default=10, metavar="N", help="results per query (default: 10)")
    asked.add_argument(
        "--category",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="only items in these: a path (shoes/boot) or any part of one",
    )
    how = parser.add_argument_group("how it is searched")
    how.add_argument("--modality", metavar="NAME", help="whose vectors: product (default), photo or text")
    how.add_argument(
        "--index",
        default="auto",
        metavar="KIND",
        help="auto, flat (exact), ivf or hnsw; auto is flat up to 200,000 items, ivf beyond",
    )
    how.add_argument(
        "--recall",
        type=float,
        default=0.99,
        metavar="R",
        help="recall@10 against exact search that an ivf or hnsw index is set to, on a sample (default: 0.99)",
    )
    how.add_argument("--rebuild", action="store_true", help="build the index anew, even if one is kept")
    how.add_argument(
        "--model", metavar="CHECKPOINT", help="where the model is now; the one the embeddings name otherwise"
    )
    how.add_argument("--device", default="auto", metavar="NAME", help="where queries are embedded: auto, cpu, cuda")
    shown = parser.add_argument_group("what comes out")
    shown.add_argument("--html", type=Path, metavar="FILE", help="a page with photos, in one file")
    shown.add_argument("--png", type=Path, metavar="FILE", help="a picture of the results")
    shown.add_argument("--output", type=Path, metavar="FILE", help="a row per result, as .parquet, .csv or .jsonl")
    shown.add_argument("--json", action="store_true", help="print the results as JSON")
    shown.add_argument("--quiet", "-q", action="store_true", help="no word beside the results")
    return parser


def _queries(options: argparse.Namespace) -> list[Query]:
    """What is asked, found out before anything takes time."""
    if options.queries is not None and (options.text is not None or options.photo is not None):
        raise UsageError("--queries comes alone, without --text and --photo", change="the command; ask twice")
    if options.queries is None and options.text is None and options.photo is None:
        raise UsageError("nothing is asked", where="moon-zoo search", change="--text, --photo or --queries")
    if options.k < 1:
        raise UsageError(f"{options.k} results cannot be shown; at least 1", change="--k")
    from moon_zoo.search.queries import Query, read_queries

    if options.queries is not None:
        return read_queries(options.queries)
    query = Query(text=options.text, photo=None if options.photo is None else Path(options.photo))
    query.photo_bytes()  # so that a mistyped name costs no loading of a model
    return [query]


def _check_targets(options: argparse.Namespace) -> None:
    for name, suffixes in FORMATS.items():
        path = getattr(options, name)
        if path is not None and path.suffix.lower() not in suffixes:
            raise UsageError(f"{path} does not end in {suffixes[0]}", change=f"--{name}")
    if options.output is not None:
        from moon_zoo.search.results import check_output

        check_output(options.output)
    for name in ("html", "png", "output"):
        path = getattr(options, name)
        if path is not None and path.is_dir():
            raise UsageError(f"{path} is a folder", change=f"--{name}, to a file")


def _open(options: argparse.Namespace) -> Catalogue:
    from moon_zoo.cli.progress import Progress
    from moon_zoo.search.catalogue import Catalogue

    with contextlib.ExitStack() as stack:
        bars: list[Progress] = []

        def advance(count: int, total: int) -> None:
            if not bars:  # an index that is kept needs none
                bars.append(stack.enter_context(Progress("indexing", "vectors")))
            bars[0].advance(total, count)

        catalogue = Catalogue.open(
            options.embeddings,
            modality=options.modality,
            kind=options.index,
            recall=options.recall,
            model=options.model,
            device=options.device,
            rebuild=options.rebuild,
            say=lambda text: _tell(options, text),
            progress=None if options.quiet else advance,
        )
    recall = catalogue.index.recall
    _tell(options, f"searching {len(catalogue):,} items, index {catalogue.index.kind}, {recall}")
    if not recall.reached:
        _tell(options, "the recall asked for was not reached: --index flat is exact")
    return catalogue


def _ask(catalogue: Catalogue, queries: list[Query], options: argparse.Namespace) -> list[Answer]:
    from moon_zoo.cli.progress import Progress

    if options.category:
        catalogue.in_categories(options.category)  # an unknown one is told before the model is loaded
    if options.quiet or len(queries) == 1:
        return catalogue.answer(queries, options.k, options.category)
    _ = catalogue.encoder  # loads the model, which is no part of the rate that is shown
    with Progress("asking", "queries") as progress:
        return catalogue.answer(
            queries, options.k, options.category, lambda count, total: progress.advance(total, count)
        )


def _write(answers: list[Answer], catalogue: Catalogue, options: argparse.Namespace) -> None:
    heading = f"Search in {Path(options.embeddings).resolve().name}"
    if options.output is not None:
        from moon_zoo.search.results import write_results

        _tell(options, f"wrote {write_results(answers, options.output)}")
    if options.html is not None:
        from moon_zoo.search.page import draw_page

        page = draw_page(
            answers, options.html, photo_of=catalogue.photos.of, heading=heading, facts=_facts(catalogue, options)
        )
        _tell(options, f"wrote {page}")
    if options.png is not None:
        from moon_zoo.search.picture import draw_picture

        picture, notes = draw_picture(answers, options.png, photo_of=catalogue.photos.of, heading=heading)
        _tell(options, f"wrote {picture}")
        for note in notes:
            _tell(options, note)


def _facts(catalogue: Catalogue, options: argparse.Namespace) -> list[str]:
    """What the page says of the search; of paths only the end, since pages are handed around."""
    index, source = catalogue.index, catalogue.embeddings.model["source"]
    how = f"recall@10 {index.recall.lowest:.3g}" if index.recall.measured else "exact"
    facts = [f"{len(catalogue):,} items", f"index {index.kind}, {how}"]
    facts += [f"only in {', '.join(options.category)}"] if options.category else []
    return [*facts, f"model {'/'.join(Path(source).parts[-2:])} ({catalogue.embeddings.model['fingerprint'][:12]})"]


def _document(answers: list[Answer], catalogue: Catalogue, options: argparse.Namespace) -> dict[str, Any]:
    from moon_zoo.search.results import as_json

    return {
        "embeddings": str(options.embeddings),
        "model": catalogue.embeddings.model,
        "modality": catalogue.modality,
        "categories": options.category,
        "index": catalogue.index.about(),
        "queries": as_json(answers),
    }


def _print(answers: list[Answer]) -> None:
    several = len(answers) > 1
    rows = [
        ([answer.query.id] if several else [])
        + [str(result.rank), f"{result.score:.3f}", result.item_id, result.title, result.category]
        for answer in answers
        for result in answer.results
    ]
    columns = [*(["query"] if several else []), "rank", "score", "item_id", "title", "category"]
    title = f"{len(answers)} queries" if several else str(answers[0].query)
    print_table(title, columns, rows, right=(several, several + 1))


def _tell(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        say(text)
