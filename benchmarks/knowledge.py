"""A local store of knowledge: built from a dump, and asked for the knowledge behind follow-ups.

A million made-up pages by default: titles of one to four words, summaries of 25 words and 5 links each, words as frequent as
Zipf's law has them, so that a topic may stand in tens of thousands of titles. Building reads JSON lines and ends with the store
under its name; its peak memory is measured in a process of its own, for all pages and for a tenth of them. Asking is the whole
step after opening, with words alone (no language model): topic, pages, ranking, a graph of up to 31 concepts, and the choice.

    python benchmarks/run.py knowledge
    python benchmarks/knowledge.py --pages 20000 --rounds 1     # a try
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from _harness import OURS, Row, compare, in_own_process, peak_extra_bytes, warn_if_busy, write_rows

WORDS, SUMMARY, LINKS = 60_000, 25, 5
MOST_SECONDS, LEAST_PAGES = 0.05, 20_000
QUESTIONS = 300
CHUNK = 10_000


def words() -> np.ndarray:
    """Made-up words of two to four syllables."""
    random = np.random.default_rng(1)
    syllables = np.array([one + other for one in "bdfgklmnprstvz" for other in "aeiou"])
    found: dict[str, None] = {}
    while len(found) < WORDS:
        lengths = random.integers(2, 5, WORDS)
        found |= dict.fromkeys("".join(random.choice(syllables, length)) for length in lengths)
    return np.array(list(islice(found, WORDS)))


def pages(count: int) -> Iterator[dict[str, object]]:
    random = np.random.default_rng(0)
    known = words()
    for first in range(0, count, CHUNK):
        number = min(CHUNK, count - first)
        lengths = random.integers(1, 5, number)
        titles = known[zipf(random, (number, 4))]
        summaries = known[zipf(random, (number, SUMMARY))]
        links = random.integers(0, count, (number, LINKS))
        for row in range(number):
            yield {
                "key": str(first + row),
                "title": " ".join(titles[row, : lengths[row]]),
                "summary": " ".join(summaries[row]),
                "links": [str(one) for one in links[row].tolist()],
            }


def zipf(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Places of words, the first ones often: about one in the logarithm of all is the first."""
    return np.minimum((WORDS ** random.random(shape)).astype(np.int64) - 1, WORDS - 1)


def build(dump: Path, store: Path) -> None:
    from moon_zoo.knowledge.building import StoreWriter
    from moon_zoo.knowledge.dumps import add_dump

    with StoreWriter(store, name="made-up", overwrite=True) as writer:
        add_dump(writer, dump)


def seconds_each(store: Path) -> list[float]:
    """Seconds of every question, the first ones (which warm the file's cache) left out."""
    from moon_zoo.knowledge.finding import KnowledgeFinder
    from moon_zoo.knowledge.store import KnowledgeStore

    source = KnowledgeStore(store)
    finder = KnowledgeFinder(source)
    random = np.random.default_rng(2)
    known = words()
    found, without = [], 0
    for number in range(QUESTIONS + 20):
        some = [str(word) for word in known[zipf(random, (1, 8))[0]]]
        question = f"Why is the {some[0]} {some[1]} better than a {some[2]}?"
        answer = f"It is the {some[3]} of {some[4]}, which {some[5]} and the {some[6]} need for {some[7]}."
        began = time.perf_counter()
        one = finder.find(question, answer)
        if number >= 20:
            found.append(time.perf_counter() - began)
            without += one.selected.node is None
    if without > QUESTIONS // 4:
        raise RuntimeError(f"{without} of {QUESTIONS} questions found nothing: this measures too little")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder unless given")
    parser.add_argument("--peak", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak is not None:
        dump, store = options.peak
        build(dump.with_name("warm.jsonl"), store.with_name("warm.sqlite"))  # imports are no part of it
        print(json.dumps(peak_extra_bytes(lambda: build(dump, store)) / 1e6))
        return
    warn_if_busy()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        sizes = {"warm": 10, "tenth": options.pages // 10, "whole": options.pages}
        for name, count in sizes.items():
            with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(page) + "\n" for page in pages(count))
        rates, peaks, asked = [], {name: [] for name in ("tenth", "whole")}, []
        store = folder / "whole.sqlite"
        for number in range(options.rounds):
            began = time.perf_counter()
            build(folder / "whole.jsonl", store)
            rates.append(options.pages / (time.perf_counter() - began))
            print(f"round {number + 1}: {rates[-1]:,.0f} pages/s", flush=True)
            asked.append(seconds_each(store))
            said = {name: folder / f"{name}.jsonl" for name in peaks}
            for name, dump in said.items():
                peak = in_own_process(__file__, "--peak", str(dump), str(folder / "peak.sqlite"))
                peaks[name].append(float(json.loads(peak)))
    case = f"{options.pages:,} pages with {LINKS} links each"
    least, most = f"asked: {LEAST_PAGES:,} pages/s", f"asked: {1000 * MOST_SECONDS:g} ms"
    rows: list[Row] = compare(
        f"{case}: building from JSON lines",
        {OURS: rates, least: [LEAST_PAGES]},
        unit="pages/s",
        targets={least: ">= 1"},
    )
    rows += compare(
        f"{case}: peak extra memory of building",
        {OURS: peaks["whole"], f"{options.pages // 10:,} pages": peaks["tenth"]},
        unit="MB",
        targets={f"{options.pages // 10:,} pages": "<= 1.5"},
    )
    medians = [1000 * statistics.median(some) for some in asked]
    tails = [1000 * float(np.quantile(some, 0.95)) for some in asked]
    rows += compare(f"{case}: a question, median", {OURS: medians, most: [50]}, unit="ms", targets={most: "<= 1"})
    rows += compare(f"{case}: a question, 95 of 100", {OURS: tails, most: [50]}, unit="ms", targets={most: "<= 1"})
    write_rows("knowledge", rows)


if __name__ == "__main__":
    main()
