"""`moon-zoo align`: DREAM's rounds with one command, and each of their stages as a command of its own."""

from __future__ import annotations

from pathlib import Path

from moon_zoo.cli.arguments import Arguments
from moon_zoo.errors import UsageError

summary = "teach an assistant by its own judged answers; evaluate it"

STAGES = {
    "evaluate": "how an assistant deals with risks, as figures with their intervals",
    "sample": "several answers to every prompt of a set",
    "judge": "a verdict on every answer",
    "pairs": "the best and the worst answer to each prompt",
    "promote": "a round's policy, or the one before it where it is worse",
}
"""Words after ``align`` that are commands of their own; `moon-zoo align` carries them out one after another."""

ABOUT = """\
Fine-tune an assistant, then let it learn from its own answers, round by round: it answers every prompt several times, a judge
tells how good each answer is, the best and the worst make a pair, and it learns to prefer the best. Every stage's result is
kept in the run's folder as a set of shards or a checkpoint: killed anywhere, the same command goes on, with the same pairs.

What is done is in the key `align` of a recipe; `moon-zoo show` prints one, `moon-zoo copy` makes it yours.

stages, each a command with a help of its own:
"""

EXAMPLES = """\
  moon-zoo align --config dream/quickstart                    the shop: fine-tuning and two rounds
  moon-zoo align --config dream/quickstart --dry-run          the commands that this is
  moon-zoo align --config dream/quickstart --rounds 1 --observe none --run runs/without_observations
  moon-zoo align evaluate runs/dream/quickstart/1/round-2/policy shards/xstest/test --judge words
"""


def run(args: list[str]) -> int:
    """Carry an alignment out, or one of its stages."""
    if args and args[0] == "evaluate":
        from moon_zoo.cli import aligning_evaluation

        return aligning_evaluation.run(args[1:])
    if args and args[0] in STAGES:
        from moon_zoo.cli import aligning_stages

        return int(getattr(aligning_stages, args[0])(args[1:]))
    if args and not args[0].startswith("-"):
        from moon_zoo.errors import did_you_mean

        raise UsageError(
            f"unknown stage {args[0]!r}",
            where="moon-zoo align",
            suggestions=did_you_mean(args[0], STAGES),
            change=f"the stage; known: {', '.join(STAGES)}",
        )
    parser = Arguments("align", ABOUT + "".join(f"  {name:<10}{about}\n" for name, about in STAGES.items()), EXAMPLES)
    parser.add_argument(
        "--config", "-c", metavar="RECIPE", required=True, help="path or shipped name of a recipe with the key align"
    )
    parser.add_argument("--run", metavar="DIR", type=Path, help="where everything lands; runs/<recipe> where not said")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument("--samples", type=int, metavar="N", help="answers to each prompt, instead of the recipe's")
    parser.add_argument("--observe", choices=("truth", "policy", "none"), help="which risks the judge knows of")
    parser.add_argument("--judge", metavar="JUDGE", help="rules, words, itself, a checkpoint or a server's URL")
    parser.add_argument("--judge-model", metavar="NAME", help="the judge's name on its server")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any key under align; again for more"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands that are left, and stop")
    parser.add_argument("--overwrite", action="store_true", help="do steps again that DIR holds of other settings")
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="results only")
    options = parser.parse_strict(args)
    from moon_zoo.cli import aligning

    return aligning.run(options, args)
