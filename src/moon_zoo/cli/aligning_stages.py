"""`moon-zoo align sample`, `judge`, `pairs` and `promote`: the stages of a round, one command each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from moon_zoo.cli.aligning_evaluation import Watching, model_of, only_set
from moon_zoo.cli.aligning_judges import add_judge_options, judge_settings
from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json, say
from moon_zoo.cli.train import command_line
from moon_zoo.errors import DataError, UsageError

OBSERVE = ("truth", "policy", "none")


def sample(args: list[str]) -> int:
    """Draw several answers to every prompt of a set."""
    parser = Arguments(
        "align sample",
        "Draw several answers to every conversation of a set: a set of the same conversations that holds them. Killed, the\n"
        "same command goes on with the next prompt; what is drawn for a prompt follows from the seed and the prompt alone.",
        "  moon-zoo align sample runs/dream/sft/1 shards/conversations/train --to shards/samples --samples 4\n",
    )
    parser.add_argument("assistant", metavar="ASSISTANT", help="a name, a run, a checkpoint folder or a .ckpt")
    parser.add_argument("shards", metavar="SHARDS", help="a set of conversations")
    _to(parser)
    parser.add_argument("--samples", type=int, default=4, metavar="N", help="answers to each prompt (4)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="X", help="of the draws (0.8)")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="X", help="of the draws (1)")
    parser.add_argument("--max-new-tokens", type=int, default=64, metavar="N", help="longest answer (64)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (0)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="prompts at a time (16)")
    parser.add_argument("--limit", type=int, metavar="N", help="only so many conversations")
    parser.add_argument(
        "--skip", type=int, default=0, metavar="N", help="begin after so many, and with the first after the last"
    )
    parser.add_argument(
        "--observe",
        choices=OBSERVE,
        default="truth",
        help="which risks the judge will know of: the set's own, those that the assistant sees itself, or none (truth)",
    )
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda (auto)")
    _output(parser)
    options = parser.parse_strict(args)
    if (options.limit is not None and options.limit < 1) or options.skip < 0:
        raise UsageError(
            "there is no conversation to ask", where=parser.prog, change="--limit to 1 or more, --skip to 0 or more"
        )
    place = only_set(options.shards, "train")
    from moon_zoo.alignment import stages
    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.safety.disentangling import Disentangler

    conversations = _conversations(IndexedShards(place))
    policy = model_of(options.assistant, options.device, "ASSISTANT")
    observer = None
    if options.observe == "policy":
        # what the fine-tuning's observation task taught: one pass over both, in the short words
        observer = Disentangler(policy, passes=("joint",), verify=False, prompts="short")
    count = len(conversations)
    asked = [(options.skip + number) % count for number in range(min(options.limit or count, count))]
    settings = stages.Sampling(
        samples=options.samples,
        temperature=options.temperature,
        top_p=options.top_p,
        max_new_tokens=options.max_new_tokens,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    with Watching(options.quiet) as watching:
        found = stages.sample(
            policy,
            conversations,
            options.to,
            settings,
            observer=observer,
            unobserved=options.observe == "none",
            places=sorted(asked),
            command=command_line("align", "sample", *args),
            told=watching.told,
        )
    return _tell(options, found, f"moon-zoo align judge {options.to} --to {options.to}_judged")


def judge(args: list[str]) -> int:
    """Judge every answer of a set of samples."""
    parser = Arguments(
        "align judge",
        "Judge every answer of a set that `align sample` made. Judges are those of `moon-zoo align evaluate`.",
        "  moon-zoo align judge shards/samples --to shards/judged --judge rules\n"
        "  moon-zoo align judge shards/samples --to shards/judged --judge http://localhost:8000/v1 --judge-model judge\n",
    )
    parser.add_argument("shards", metavar="SHARDS", help="what `align sample` made")
    _to(parser)
    add_judge_options(parser, default="rules")
    parser.add_argument("--assistant", metavar="ASSISTANT", help="who answered, for --judge itself")
    parser.add_argument(
        "--prompts", default="full", metavar="NAME", help="prompts to judge with: full, short, or a folder (full)"
    )
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="prompts at a time (64)")
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda (auto)")
    _output(parser)
    options = parser.parse_strict(args)
    place = only_set(options.shards, "samples")
    from moon_zoo.alignment import stages
    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.safety.judges.choosing import ITSELF, make_judge

    settings = judge_settings(options, ("global", "observations", "refusal"))
    itself = None
    if options.judge == ITSELF and options.assistant is not None:
        itself = model_of(options.assistant, options.device, "--assistant")
    chosen = make_judge(
        settings,
        load=lambda source: model_of(source, options.device, "--judge"),
        itself=itself,
        cache=options.to.with_name(f"{options.to.name}-server.sqlite"),
    )
    with Watching(options.quiet) as watching:
        found = stages.judge(
            chosen,
            _conversations(IndexedShards(place)),
            options.to,
            batch_size=options.batch_size,
            command=command_line("align", "judge", *args),
            told=watching.told,
        )
    return _tell(options, found, f"moon-zoo align pairs {options.to} --to {options.to}_pairs")


def pairs(args: list[str]) -> int:
    """Make pairs of judged answers."""
    parser = Arguments(
        "align pairs",
        "The best and the worst answer to each prompt of a set that `align judge` made, in the splits train and val.",
        "  moon-zoo align pairs shards/judged --to shards/pairs --margin 0.2\n",
    )
    parser.add_argument("shards", metavar="SHARDS", help="what `align judge` made")
    _to(parser)
    parser.add_argument("--aggregation", choices=("weighted", "lexicographic"), default="weighted", help="(weighted)")
    parser.add_argument(
        "--global-weight", type=float, default=0.5, metavar="X", help="weight of the global score (0.5)"
    )
    parser.add_argument("--margin", type=float, default=0.1, metavar="X", help="least difference of two scores (0.1)")
    parser.add_argument(
        "--length-ratio", type=float, default=3.0, metavar="X", help="most words per word of the other (3)"
    )
    parser.add_argument("--round", type=int, default=1, metavar="N", help="the round's number (1)")
    _output(parser)
    options = parser.parse_strict(args)
    place = only_set(options.shards, "judged")
    from moon_zoo.alignment import stages
    from moon_zoo.alignment.pairs import PairFilters
    from moon_zoo.data.reading import IndexedShards

    found = stages.make_pairs(
        _conversations(IndexedShards(place)),
        options.to,
        filters=PairFilters(options.margin, options.length_ratio),
        aggregation=options.aggregation,
        weight=options.global_weight,
        number=options.round,
        command=command_line("align", "pairs", *args),
    )
    next_word = f"moon-zoo fit --config dream/preference --data.train {options.to}/train --data.val {options.to}/val"
    return _tell(options, found, next_word)


def promote(args: list[str]) -> int:
    """Keep a round's policy, or the one before it."""
    parser = Arguments(
        "align promote",
        "Write the checkpoint folder of a round's policy; of the policy before it where the round's evaluation is worse.",
        "  moon-zoo align promote runs/round --instead-of runs/dream/sft/1 --evaluation eval/round \\\n"
        "      --evaluation-before eval/sft --to checkpoints/policy\n",
    )
    parser.add_argument("assistant", metavar="ASSISTANT", help="the round's policy")
    _to(parser)
    parser.add_argument("--instead-of", required=True, metavar="ASSISTANT", help="the policy before it")
    parser.add_argument(
        "--evaluation", required=True, type=Path, metavar="DIR", help="what `align evaluate` kept of the round's"
    )
    parser.add_argument("--evaluation-before", required=True, type=Path, metavar="DIR", help="of the one before")
    parser.add_argument(
        "--tolerance", type=float, default=0.02, metavar="X", help="by how much safe & effective may fall (0.02)"
    )
    _output(parser)
    options = parser.parse_strict(args)
    after, before = (_safe_and_effective(path) for path in (options.evaluation, options.evaluation_before))
    promoted = after >= before - options.tolerance
    chosen = options.assistant if promoted else options.instead_of
    module: Any = model_of(chosen, "cpu", "ASSISTANT")
    module.save_pretrained(options.to)
    found = {"promoted": promoted, "safe_and_effective": after, "before": before, "policy": chosen}
    return _tell(options, found, f"moon-zoo align evaluate {options.to} SHARDS")


def _safe_and_effective(folder: Path) -> float:
    try:
        figures = json.loads((folder / "evaluation.json").read_text("utf-8"))["figures"]
        return float(
            next(
                value
                for name, value in figures.items()
                if name.endswith("/safe_and_effective") and name.count("/") == 1
            )
        )
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise DataError(
            "there is no evaluation with the figure safe_and_effective",
            where=str(folder),
            change="the folder, to one that `moon-zoo align evaluate --to` made with a judge that tells both",
        ) from error


def _conversations(shards: Any) -> Any:
    if shards.manifest.kind != "instruction":
        raise UsageError(
            f"a set of kind {shards.manifest.kind} holds no conversations",
            where=str(shards.folder),
            change="SHARDS, to a set of kind instruction",
        )
    return shards


def _to(parser: Arguments) -> None:
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="what is made")


def _output(parser: Arguments) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress and no notes")


def _tell(options: argparse.Namespace, found: dict[str, Any], following: str) -> int:
    if options.json:
        print_json(found)
        return 0
    for name, value in found.items():
        print(f"{name:<20}{value:.3f}" if isinstance(value, float) else f"{name:<20}{value}")
    if not options.quiet:
        say(f"written: {options.to}")
        say(f"next:    {following}")
    return 0
