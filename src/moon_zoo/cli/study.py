"""`moon-zoo study`: experiments over several checkpoints or settings, with a table, JSON and a plot."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from moon_zoo.cli.arguments import Arguments
from moon_zoo.errors import UsageError, did_you_mean

summary = "what embeddings buy in clicks; scaling laws: table, JSON and plot"

ABOUT = """\
usage: moon-zoo study exchange-rate --to DIR [options]
       moon-zoo study scaling --to DIR [options]
       moon-zoo study ablations --to DIR --config RECIPE --overlays NAME [NAME ...] [options]
       moon-zoo study followup --to DIR [--config RECIPE] [options]

An experiment of many ordinary commands, carried out one by one into a folder, with a table, study.json, study.csv and
pictures at the end. It may be stopped at any time: the same command goes on where it was.

  exchange-rate   what a point of recall buys in AUC: embeddings of several checkpoints, a click model on each
  scaling         how errors fall with training samples, negatives, history length or training rows
  ablations       what a recipe's parts are worth: the recipe, and the recipe with one thing changed at a time
  followup        what knowledge does for follow-up questions: with, without, shuffled, and baselines without training

examples:
  moon-zoo study exchange-rate --to studies/rate
  moon-zoo study scaling --to studies/scaling --dry-run
  moon-zoo study ablations --to studies/parts --config mim/cube --overlays no_content.yaml

moon-zoo study NAME --help tells more."""

EXCHANGE_ABOUT = """\
Measure what a gain in an embedding's metrics buys in clicks. Several embedding checkpoints (made here, or yours) are tested
for every intermediate metric; items are embedded with each; click models are trained on each with several seeds. For every
metric: slope with a bootstrap interval, Pearson and Spearman. Controls are trained alike: `none` takes no behaviours,
`shuffled` gives the items each other's embeddings.

Without --products and --impressions the built-in shop is used. On 2 cores that takes about 20 minutes."""

EXCHANGE_EXAMPLES = """\
  moon-zoo study exchange-rate --to studies/rate
  moon-zoo study exchange-rate --to studies/rate --dry-run      the commands, and how long they take
  moon-zoo study exchange-rate --to studies/quick --make steps --seeds 1 --controls none
  moon-zoo study exchange-rate --to studies/mine --checkpoints runs/a runs/b dual_flow/shop \\
      --products shards/mine --impressions shards/mine-clicks
"""

SCALING_ABOUT = """\
Fit errors to a + b x^-c, with intervals, over one axis or several: `samples` and `negatives` of the towers (1 - recall),
`history` (longest history) and `rows` (training rows) of the click model (1 - AUC, logloss).

Without --products and --impressions the built-in shop is used. On 2 cores the default takes about 20 minutes."""

SCALING_EXAMPLES = """\
  moon-zoo study scaling --to studies/scaling
  moon-zoo study scaling --to studies/history --over history --history 1,5,20,50,200 --seeds 3
  moon-zoo study scaling --to studies/rows --over rows --embeddings embeddings/mine --impressions shards/mine-clicks
"""

ABLATIONS_ABOUT = """\
Train a recipe, and the same recipe under each overlay, with several seeds each; test all of them. Tells the mean of every
figure over seeds with Student's 95 % interval, and of every overlay the paired difference to the base: runs of one seed see
the same samples in the same order, so their common luck cancels. A `+` or `-` marks a difference whose interval leaves out 0.

An overlay is a recipe of a few keys, which win over the recipe's. A training of several stages names a recipe per stage
(--config once for each): every stage starts from the weights of the one before. Stages that an overlay does not touch are
trained once. --beside adds whole recipes of other models, trained on their own."""

ABLATIONS_EXAMPLES = """\
  moon-zoo study ablations --to studies/parts --config dual_flow/quickstart --overlays no_photo.yaml no_augment.yaml
  moon-zoo study ablations --to studies/parts --config dual_flow/quickstart --overlays no_photo.yaml --dry-run
  moon-zoo study ablations --to studies/stages --config mim/pretraining --config mim/c_sft --overlays one_tower.yaml \\
      --from-stage 2 --beside dual_flow/search --seeds 5
  moon-zoo study ablations --to studies/late --config mim/c_sft --ckpt_path runs/mim/pretraining/1 --overlays no_queue.yaml
"""

FOLLOWUP_ABOUT = """\
Train a recipe of followup with its knowledge and without, with several seeds; ask with each on the recipe's `predict` set, and
once more with knowledge shuffled among samples, a control that must fall to the model without. Beside them: the question
copied, the follow-up of the nearest training question, and of a named backbone the model before any training. One table of all
figures with intervals; `+` or `-` marks where the full method is higher or lower by more than luck (paired bootstrap over
samples)."""

FOLLOWUP_EXAMPLES = """\
  moon-zoo study followup --to studies/followup
  moon-zoo study followup --to studies/followup --dry-run
  moon-zoo study followup --to studies/followupqg --config followup/followupqg --seeds 1
"""


def run(args: list[str]) -> int:
    """Run the verb."""
    if not args or args[0] in ("-h", "--help"):
        print(ABOUT)
        return 0
    if args[0] not in PARSERS:
        raise UsageError(
            f"unknown study {args[0]!r}" if not args[0].startswith("-") else f"{args[0]} comes after the study's name",
            where="moon-zoo study",
            suggestions=did_you_mean(args[0], PARSERS),
            change=f"the study, to {' or '.join(PARSERS)}",
        )
    options = PARSERS[args[0]]().parse_strict(args[1:])
    options.command = ["study", *args]
    from moon_zoo.cli import studying

    return studying.run(args[0], options)


def _exchange_parser() -> Arguments:
    parser = Arguments("study exchange-rate", EXCHANGE_ABOUT, EXCHANGE_EXAMPLES)
    _shared(parser, seeds=3)
    which = parser.add_argument_group("embedding checkpoints")
    which.add_argument(
        "--checkpoints",
        nargs="+",
        metavar="CKPT",
        default=[],
        help="yours: names, runs, checkpoint folders, .ckpt files",
    )
    which.add_argument(
        "--make",
        metavar="AXES",
        type=words_of("--make", ("steps", "negatives", "data", "modality", "nothing")),
        help="train towers that differ in steps, negatives, data, modality (all of them; nothing with --checkpoints)",
    )
    which.add_argument(
        "--steps",
        metavar="N,N,..",
        type=numbers("--steps"),
        default=[50, 100, 400],
        help="checkpoints of one run after so many steps (50,100,400); the last is that of all other towers",
    )
    which.add_argument(
        "--negatives",
        metavar="N,N,..",
        type=numbers("--negatives"),
        default=[7, 31],
        help="negatives per photo: the others of its batch (7,31)",
    )
    which.add_argument(
        "--fractions",
        metavar="F,F,..",
        type=fractions,
        default=[0.1],
        help="share of the training shards that a tower sees (0.1)",
    )
    which.add_argument(
        "--objectives",
        metavar="NAMES",
        type=words_of("--objectives", ("photo", "text", "product")),
        default=["photo", "text"],
        help="the one objective trained: photo, text, product (photo,text)",
    )
    clicks = parser.add_argument_group("click models")
    clicks.add_argument(
        "--controls",
        metavar="NAMES",
        type=words_of("--controls", ("none", "din", "shuffled", "nothing")),
        default=["none", "shuffled"],
        help="none, din, shuffled; or nothing (none,shuffled)",
    )
    clicks.add_argument(
        "--downstream", metavar="FIGURE", default="auc", help="what is to be bought: auc, gauc, cold/auc ... (auc)"
    )
    return parser


def _scaling_parser() -> Arguments:
    parser = Arguments("study scaling", SCALING_ABOUT, SCALING_EXAMPLES)
    _shared(parser, seeds=2)
    axes = parser.add_argument_group("sizes")
    axes.add_argument(
        "--over",
        metavar="AXES",
        type=words_of("--over", ("samples", "negatives", "history", "rows")),
        default=["samples", "negatives", "history"],
        help="samples, negatives, history, rows (samples,negatives,history)",
    )
    from moon_zoo.studies.sizes import AXES, DEFAULT_SIZES

    for axis, meaning in AXES.items():
        shown = ",".join(map(str, DEFAULT_SIZES[axis]))
        axes.add_argument(
            f"--{axis}",
            metavar="N,N,..",
            type=numbers(f"--{axis}"),
            default=list(DEFAULT_SIZES[axis]),
            help=f"{meaning} ({shown})",
        )
    axes.add_argument(
        "--embeddings", metavar="PATH", help="embeddings for history and rows; of a tower trained here when not given"
    )
    axes.add_argument("--steps", metavar="N", type=int, default=400, help="steps of that tower (400)")
    return parser


def _ablations_parser() -> Arguments:
    parser = Arguments("study ablations", ABLATIONS_ABOUT, ABLATIONS_EXAMPLES)
    _of_every_study(parser, seeds=3, of="variant")
    parser.add_argument(
        "--config",
        "-c",
        metavar="RECIPE",
        action="append",
        required=True,
        help="the base, by path or shipped name; again for a further stage of its training",
    )
    parser.add_argument("--overlays", metavar="RECIPE", nargs="+", default=[], help="what is changed, one at a time")
    parser.add_argument(
        "--from-stage", metavar="N", type=int, default=1, help="the first stage that overlays change (1)"
    )
    parser.add_argument(
        "--beside", metavar="RECIPE", nargs="+", default=[], help="whole recipes compared with the base as well"
    )
    parser.add_argument("--ckpt_path", metavar="CKPT", help="weights that base and overlays start from")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="a setting of every run; again for more"
    )
    parser.add_argument("--split", choices=("test", "val"), default="test", help="what is measured (test)")
    parser.add_argument(
        "--measures",
        metavar="FIGURE",
        nargs="+",
        default=[],
        help="figures of the table, such as photo_to_product/recall@1; study.csv has all",
    )
    return parser


def _followup_parser() -> Arguments:
    parser = Arguments("study followup", FOLLOWUP_ABOUT, FOLLOWUP_EXAMPLES)
    _of_every_study(parser, seeds=3, of="model")
    parser.add_argument(
        "--config",
        "-c",
        metavar="RECIPE",
        action="append",
        help="by path or shipped name, later ones win (followup/quickstart)",
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="a setting of every run; again for more"
    )
    parser.add_argument(
        "--bert-score",
        metavar="ENCODER",
        help="a column of BERTScore by this encoder of transformers: hub name or folder",
    )
    return parser


PARSERS: dict[str, Callable[[], Arguments]] = {
    "exchange-rate": _exchange_parser,
    "scaling": _scaling_parser,
    "ablations": _ablations_parser,
    "followup": _followup_parser,
}


def _of_every_study(parser: Arguments, *, seeds: int, of: str = "size or embedding") -> None:
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="the study's folder")
    parser.add_argument("--seeds", metavar="N", type=int, default=seeds, help=f"trainings of each {of} ({seeds})")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the commands that are left, with estimated times, and stop"
    )
    parser.add_argument("--overwrite", action="store_true", help="do steps again that DIR holds of other settings")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="results only")


def _shared(parser: Arguments, *, seeds: int) -> None:
    _of_every_study(parser, seeds=seeds)
    data = parser.add_argument_group("data")
    data.add_argument("--products", metavar="DIR", help="sets of products: train, val and test; all three are embedded")
    for split, meaning in (("train", "learned from"), ("val", "validated on"), ("test", "metrics are measured on")):
        data.add_argument(
            f"--{split}-items",
            metavar="SET",
            help=f"the set that is {meaning}" if split != "test" else f"the set that {meaning}",
        )
    data.add_argument("--items", metavar="SET", nargs="+", default=[], help="the sets that are embedded")
    data.add_argument("--impressions", metavar="DIR", help="sets of impressions: train, val and test")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--tower-recipe", metavar="RECIPE", default="dual_flow/quickstart", help="of towers (dual_flow/quickstart)"
    )
    models.add_argument(
        "--tower", metavar="KEY=VALUE", action="append", default=[], help="a setting of that recipe; again for more"
    )
    models.add_argument("--image-size", metavar="PX", type=int, default=48, help="side of the towers' photos (48)")
    models.add_argument("--batch-size", metavar="N", type=int, default=64, help="of towers (64)")
    models.add_argument("--recipe", metavar="RECIPE", default="mim/cube", help="of click models (mim/cube)")
    models.add_argument("--epochs", metavar="N", type=int, default=1, help="of click models (1)")
    models.add_argument(
        "--max-history", metavar="N", type=int, default=20, help="behaviours that click models read (20)"
    )
    models.add_argument(
        "--click", metavar="KEY=VALUE", action="append", default=[], help="a setting of that recipe; again for more"
    )
    models.add_argument(
        "--modality", default="product", help="which embeddings click models use: product, photo, text (product)"
    )


def numbers(option: str) -> Callable[[str], list[int]]:
    """A reader of whole numbers from 1, with commas, rising."""

    def read(text: str) -> list[int]:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isdigit() and int(part) > 0 for part in parts) or len(set(map(int, parts))) < len(parts):
            raise argparse.ArgumentTypeError(f"{text!r}: different whole numbers from 1 on, with commas, are expected")
        return sorted(map(int, parts))

    read.__name__ = option
    return read


def fractions(text: str) -> list[float]:
    """Shares above 0 and below 1, with commas."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < one < 1 for one in found):
        raise argparse.ArgumentTypeError(f"{text!r}: shares between 0 and 1, with commas, are expected")
    return sorted(set(found))


def words_of(option: str, known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """A reader of names with commas; `nothing`, where it is one of them, stands alone for an empty list."""

    def read(text: str) -> list[str]:
        found = [part.strip() for part in text.split(",")]
        for name in found:
            if name not in known:
                near = "".join(f" (did you mean {one}?)" for one in did_you_mean(name, known, limit=1))
                raise argparse.ArgumentTypeError(f"unknown {name!r}{near}; known: {', '.join(known)}")
        if "nothing" in found and len(found) > 1:
            raise argparse.ArgumentTypeError(f"{text!r}: nothing stands alone")
        return [name for name in dict.fromkeys(found) if name != "nothing"]

    read.__name__ = option
    return read
