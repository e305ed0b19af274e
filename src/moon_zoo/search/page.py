"""Results as one HTML file that needs nothing else: photos inside as data URIs, no script, no link to anywhere.

Titles and words come from anyone's tables: everything is escaped, and the page's own security policy forbids what an
escape that was forgotten could do.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from moon_zoo.search.queries import Query
from moon_zoo.search.results import Answer, Result, whole_file
from moon_zoo.sources.photos import FORMATS, shrink

PHOTO_PIXELS = 320
"""Longest side: twice what is shown, for screens with two pixels to the point."""
QUALITY = 80

PhotoOf = Callable[[Result], bytes | None]
"""A result to its encoded photo, None where there is none."""

STYLE = """\
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1f2430; --faint: #6b7280; --line: #e2e5ec;
  --accent: #3b6fd4; --blank: #eceef3 }
@media (prefers-color-scheme: dark) { :root { --paper: #14161b; --card: #1d2027; --ink: #e8eaf0; --faint: #9aa1b0;
  --line: #2d323d; --accent: #7fa6f8; --blank: #262a33 } }
* { box-sizing: border-box }
body { margin: 0; padding: 1.5rem clamp(1rem, 4vw, 3rem) 3rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif }
header p, .faint { color: var(--faint) }
h1 { font-size: 1.15rem; margin: 0 } header p { margin: .2rem 0 0; font-size: .85rem }
nav { margin: .8rem 0 0; display: flex; flex-wrap: wrap; gap: .4rem }
nav a { color: var(--accent); border: 1px solid var(--line); border-radius: 999px; padding: .1rem .7rem;
  text-decoration: none; font-size: .85rem; background: var(--card) }
section { margin-top: 1.8rem; padding-top: 1.4rem; border-top: 1px solid var(--line) }
.query { display: flex; gap: 1rem; align-items: center; margin-bottom: 1.1rem }
.query img { width: 112px; height: 112px; object-fit: contain; background: #fff; border-radius: 10px;
  border: 2px solid var(--accent) }
.query h2 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere } .query p { margin: .2rem 0 0; font-size: .85rem }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(158px, 1fr)) }
li { background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow: hidden }
li img, .blank { width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff; display: block }
.blank { background: var(--blank); color: var(--faint); display: grid; place-items: center; font-size: .8rem }
.words { padding: .6rem .75rem .75rem } .words > div + div { margin-top: .25rem }
.score { display: flex; align-items: center; gap: .5rem; font-size: .8rem; color: var(--faint);
  font-variant-numeric: tabular-nums }
.score b { color: var(--accent) }
.bar { flex: 1; height: .4rem; border-radius: 999px; background: var(--blank) }
.bar i { display: block; height: 100%; border-radius: inherit; background: var(--accent) }
.title { font-weight: 600; overflow-wrap: anywhere }
.small { font-size: .78rem; color: var(--faint); overflow-wrap: anywhere }
.small code { font-family: ui-monospace, monospace }
@media print { body { background: none } li { break-inside: avoid } }"""


def draw_page(
    answers: Sequence[Answer], path: Path, *, photo_of: PhotoOf, heading: str = "Search", facts: Sequence[str] = ()
) -> Path:
    """Write the page; whole, or not at all.

    Args:
        answers: Queries and their results.
        path: The HTML file.
        photo_of: Where photos come from.
        heading: The page's first line.
        facts: What is to be known of the search: items, index, model, filters.

    Raises:
        DataError: The file cannot be written.
    """
    thumbnails = _Thumbnails(photo_of)
    title = f"{_titled(answers[0].query)} - {heading}" if len(answers) == 1 else heading
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}\n</style>\n</head>\n<body>",
        f"<header><h1>{escape(heading)}</h1>",
        f"<p>{escape(' · '.join(facts))}</p>" if facts else "",
        _navigation(answers),
        "</header>\n<main>",
        *(_section(answer, number, thumbnails) for number, answer in enumerate(answers, 1)),
        "</main>\n</body>\n</html>\n",
    ]
    with whole_file(path, "--html") as temporary:
        temporary.write_text("\n".join(part for part in parts if part), "utf-8", errors="replace")
    return path


def _navigation(answers: Sequence[Answer]) -> str:
    if len(answers) < 2:
        return ""
    links = (
        f'<a href="#q{number}" dir="auto">{escape(_titled(answer.query))}</a>'
        for number, answer in enumerate(answers, 1)
    )
    return f"<nav>{''.join(links)}</nav>"


def _section(answer: Answer, number: int, thumbnails: _Thumbnails) -> str:
    query, count = answer.query, len(answer.results)
    photo = thumbnails.encoded(query.photo_bytes())
    picture = f'<img src="{photo}" alt="the photo that was asked with">' if photo else ""
    found = f"{count} result{'' if count == 1 else 's'}" if count else "nothing was found"
    asked = "" if query.photo is None else " by photo" if query.text is None else " by words and photo"
    items = "\n".join(_item(result, thumbnails) for result in answer.results)
    return (
        f'<section id="q{number}">\n<div class="query">{picture}<div><h2 dir="auto">{escape(_titled(query))}</h2>'
        f'<p class="faint">{found}{asked}</p></div></div>\n<ol>\n{items}\n</ol>\n</section>'
    )


def _item(result: Result, thumbnails: _Thumbnails) -> str:
    photo = thumbnails.of(result)
    picture = (
        f'<img src="{photo}" alt="{escape(result.title or result.item_id)}" loading="lazy">'
        if photo
        else '<div class="blank">no photo</div>'
    )
    category = escape(result.category.replace("/", " / "))
    score = min(max(result.score, 0.0), 1.0)
    return (
        f'<li>{picture}<div class="words"><div class="score"><b>{result.rank}</b>'
        f'<span class="bar"><i style="width: {100 * score:.1f}%"></i></span>{result.score:.3f}</div>'
        f'<div class="title" dir="auto">{escape(result.title or "(no title)")}</div>'
        + (f'<div class="small" dir="auto">{category}</div>' if category else "")
        + f'<div class="small"><code>{escape(result.item_id)}</code></div></div></li>'
    )


def _titled(query: Query) -> str:
    return query.text or (query.photo.name if isinstance(query.photo, Path) else "a photo")


class _Thumbnails:
    """Photos as small data URIs; an item that several queries find is shrunk once."""

    def __init__(self, photo_of: PhotoOf) -> None:
        self._photo_of = photo_of
        self._made: dict[tuple[str, int, str], str | None] = {}

    def of(self, result: Result) -> str | None:
        place = (result.set, result.index, result.key)
        if place not in self._made:
            self._made[place] = self.encoded(self._photo_of(result))
        return self._made[place]

    @staticmethod
    def encoded(photo: bytes | None) -> str | None:
        """The data URI; None where there is no photo, or one that cannot be decoded."""
        if photo is None:
            return None
        try:
            with Image.open(io.BytesIO(photo), formats=FORMATS) as image:
                small = shrink(image, PHOTO_PIXELS, QUALITY)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return None
        return "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii")
