"""`moon-zoo embed`: embeddings of shards, to Parquet."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from moon_zoo.cli.progress import Progress
    from moon_zoo.search.embedding import Report, Settings

summary = "embeddings of shards, to Parquet"

ABOUT = """\
Write the embeddings of shards to a folder of Parquet files, for `moon-zoo search` and for whoever reads Parquet.

Each item gives a row per modality it has: product (photo and text together), photo (its first one), text. Shards of
searches give the items chosen in them, each once. Run the same command again after a break: it goes on where it was.
"""

EXAMPLES = """\
  moon-zoo embed runs/dual_flow/quickstart/1 shards/shop/items --to embeddings/shop
  moon-zoo embed dual_flow/grocery shards/grocery --to embeddings/grocery --modality product
  moon-zoo embed dual_flow/shop https://example.org/shards/items --to embeddings/items
  moon-zoo embed best.ckpt 'someones-tars/{000..031}.tar' --to embeddings/theirs --on-error skip
  moon-zoo embed dual_flow/shop shards/large --to embeddings/large --precision bf16 --dtype float16 --ray
  moon-zoo embed runs/moon/base/1 shards/large --to embeddings/small --dim 64
"""


def run(args: list[str]) -> int:
    """Embed shards."""
    options = _parser().parse_strict(args)
    shards = _sets(options.shards)  # before torch is imported: a mistyped path answers at once
    from moon_zoo.search.embedding import Settings

    settings = Settings(
        batch_size=options.batch_size,
        device=options.device,
        precision=options.precision,
        dtype=options.dtype,
        num_workers=options.num_workers,
        on_error=options.on_error,
        dim=options.dim,
    )
    from moon_zoo.cli.progress import Progress

    with nullcontext() if options.quiet else Progress("embedding", unit="items") as progress:
        report = _embed(options, shards, settings, progress)
    _print(report, options)
    return 0


def _parser() -> Arguments:
    parser = Arguments("embed", ABOUT, EXAMPLES)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a name, a run, a checkpoint folder, a .ckpt or a URL")
    parser.add_argument(
        "shards",
        metavar="SHARDS",
        nargs="+",
        help="sets of shards, or a folder of several; paths or URLs; tars without a manifest by name: 'a/{00..31}.tar'",
    )
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="the folder of embeddings")
    parser.add_argument(
        "--modality", metavar="NAME[,NAME]", help="product, photo, text; all that the model gives if not said"
    )
    parser.add_argument("--batch-size", metavar="N", type=int, default=64, help="items per step of the model (64)")
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1 (auto)")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="numbers the model computes in (32)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="numbers stored (float32)")
    parser.add_argument(
        "--num-workers", metavar="N", type=int, help="processes that read and decode; a share of the cores if not said"
    )
    parser.add_argument(
        "--on-error", choices=("raise", "skip"), default="raise", help="samples that cannot be read (raise)"
    )
    parser.add_argument(
        "--dim",
        metavar="N",
        type=int,
        help="the first N numbers of each vector, of unit length again: for models trained with prefixes (matryoshka)",
    )
    parser.add_argument("--ray", action="store_true", help="on all devices of a Ray cluster, or of this machine")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace embeddings of another model or of other sets in DIR"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress and no notes")
    return parser


def _sets(paths: list[str]) -> list[str]:
    """Every set at the given paths; a folder of sets gives all of them."""
    from moon_zoo.data.sets import find_sets

    return [found for path in paths for found in ([path] if _streamed(path) else find_sets(path).values())]


def _streamed(path: str) -> bool:
    # As in `moon_zoo.data.streaming`, which imports torch.
    return path.endswith(".tar") or "{" in path


def _embed(options: argparse.Namespace, shards: list[str], settings: Settings, progress: Progress | None) -> Report:
    def told(done: int, total: int | None) -> None:
        if progress is not None:
            progress.advance(total, done)

    modalities = _modalities(options.modality)
    if options.ray:
        from moon_zoo.search.ray_embedding import embed_with_ray

        return embed_with_ray(
            options.checkpoint,
            shards,
            options.to,
            modalities=modalities,
            settings=settings,
            overwrite=options.overwrite,
            told=told,
        )
    from moon_zoo.models import pretrained
    from moon_zoo.search.embedding import embed

    return embed(
        pretrained.load(options.checkpoint),
        shards,
        options.to,
        source=options.checkpoint,
        modalities=modalities,
        settings=settings,
        overwrite=options.overwrite,
        told=told,
    )


def _modalities(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"--modality {text!r} has an empty name", where="--modality", change="product,photo,text")
    return names


def _print(report: Report, options: argparse.Namespace) -> None:
    from moon_zoo.cli.pack import size

    if options.json:
        print_json(report.as_json())
    else:
        model = report.model
        dim = str(model["embedding_dim"]) + (f" of {model['full_dim']}" if "full_dim" in model else "")
        rows = [[modality, f"{count:,}", dim] for modality, count in report.vectors.items()]
        print_table(
            f"{report.folder}: {model['source']} ({model['fingerprint'][:12]})",
            ["modality", "vectors", "dim"],
            rows,
            right=(1, 2),
        )
    if options.quiet:
        return
    made = report.parts - report.parts_kept
    if made:
        rate = f"{report.items_per_second:,.0f} per second"
        say(f"embedded {report.items_new:,} items in {report.seconds:.1f} s on {report.device} ({rate})")
    kept = f"; {report.parts_kept} were there already" if report.parts_kept else ""
    say(f"{report.parts} part{'s' if report.parts != 1 else ''}, {size(report.bytes)}{kept}")
    if report.skipped:
        say(f"note: {report.skipped:,} samples could not be read and were skipped")
    if not options.json:
        say("next:")
        say(f"  moon-zoo search {shlex.quote(str(options.to))} --text 'red shoes'")
