"""`moon-zoo align evaluate`: how an assistant deals with risks, as figures with their intervals."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.cli.aligning_judges import add_judge_options, judge_settings
from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from moon_zoo.cli.progress import Progress
    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.safety.assistant import Assistant
    from moon_zoo.safety.disentangling import Disentangler
    from moon_zoo.safety.evaluation import Evaluation
    from moon_zoo.safety.judges.base import Judge
    from moon_zoo.safety.serving.chat import ChatServer

ABOUT = """\
Let an assistant answer conversations, have the answers judged, and count: what share is safe, effective, and both; which
benign prompts are refused; with --observe, which risks it sees. Every share comes with a 95 % interval in which what the
judge left unparsed is counted against it at the lower end and for it at the upper.

With --to, answers and verdicts are kept: the same command goes on after a break, and another --judge judges the same answers.

judges:
  rules       the conversation's own truth; the shop's conversations have it (the default where it is there)
  words       only whether an answer declines, by its words; enough for XSTest (the default elsewhere)
  itself      the assistant's own log probabilities of yes, no and grades
  CHECKPOINT  those of another checkpoint
  URL         a server that answers as OpenAI's chat completions do, with --judge-model; its key is read from the environment
              variable MOON_ZOO_JUDGE_KEY
"""

EXAMPLES = """\
  moon-zoo align evaluate dream/shop shards/conversations/test
  moon-zoo align evaluate runs/dream/sft/1 shards/siuo/test --judge http://localhost:8000/v1 --judge-model judge --to eval/siuo
  moon-zoo align evaluate dream/shop shards/xstest/test --judge words --json
  moon-zoo align evaluate dream/shop shards/conversations/test --observe joint --no-verify --prompts short --in-context
  moon-zoo align evaluate http://localhost:8000/v1 shards/siuo/test --model theirs --judge words
  moon-zoo align evaluate answers.jsonl shards/siuo/test --judge http://localhost:8000/v1 --judge-model judge
"""

STAGES = {"observing": "prompts", "answering": "answers", "judging": "answers", "sampling": "prompts"}


def run(args: list[str]) -> int:
    """Evaluate an assistant."""
    options = _parser().parse_strict(args)
    _check(options)
    shards = only_set(options.shards)  # before torch is imported: a mistyped path answers at once
    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.safety.evaluation import Settings, evaluate

    conversations = IndexedShards(shards)
    assistant = _assistant(options)
    judge = _judge(options, conversations, assistant)
    settings = Settings(
        max_new_tokens=options.max_new_tokens,
        batch_size=options.batch_size,
        in_context=options.in_context,
        split=options.split,
    )
    with Watching(options.quiet) as watching:
        found = evaluate(
            assistant,
            judge,
            conversations if options.limit is None else _first(conversations, options.limit),
            disentangler=_disentangler(options, assistant),
            settings=settings,
            to=options.to,
            overwrite=options.overwrite,
            told=watching.told,
        )
    _print(found, options, shards)
    return 0


def _parser() -> Arguments:
    parser = Arguments("align evaluate", ABOUT, EXAMPLES)
    parser.add_argument(
        "assistant",
        metavar="ASSISTANT",
        help="a name, a run, a checkpoint folder, a .ckpt; a server's URL, with --model; or a .jsonl file of answers",
    )
    parser.add_argument(
        "shards", metavar="SHARDS", help="a set of conversations; of a folder of several the one called test"
    )
    parser.add_argument(
        "--to", metavar="DIR", type=Path, help="the folder that keeps answers and verdicts; kept nowhere if not said"
    )
    parser.add_argument("--overwrite", action="store_true", help="throw away what is in DIR of another model or judge")
    parser.add_argument("--model", metavar="NAME", help="the model's name on the server that ASSISTANT is")
    parser.add_argument("--max-new-tokens", metavar="N", type=int, default=64, help="most tokens of an answer (64)")
    parser.add_argument("--batch-size", metavar="N", type=int, default=16, help="prompts at once (16)")
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N conversations")
    parser.add_argument("--split", default="test", metavar="NAME", help="what the figures' names begin with (test)")
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1 (auto)")
    judging = parser.add_argument_group("judging")
    add_judge_options(judging, default=None)
    judging.add_argument(
        "--ask",
        metavar="NAME[,NAME]",
        help="what a model is asked: global, observations, safe, effective, refusal (all of them)",
    )
    observing = parser.add_argument_group("observing")
    observing.add_argument(
        "--observe", metavar="PASS[,PASS]", help="look for risks: in the image, in the text, or joint: image,text"
    )
    observing.add_argument("--no-verify", action="store_true", help="take what was seen without asking once more")
    observing.add_argument("--in-context", action="store_true", help="answer with what was seen as context")
    observing.add_argument(
        "--prompts",
        default="full",
        metavar="NAME",
        help="prompts to observe and judge with: full, short, or a folder (full)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress and no notes")
    return parser


def _check(options: argparse.Namespace) -> None:
    for name in ("max_new_tokens", "batch_size", "limit", "concurrency"):
        value = getattr(options, name)
        if value is not None and value < 1:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is {value}, but must be at least 1", where=option, change=option)
    if options.timeout <= 0:
        raise UsageError(f"--timeout is {options.timeout:g}", where="--timeout", change="--timeout, to more than 0")
    if options.in_context and not options.observe:
        raise UsageError(
            "--in-context needs observations", where="--in-context", change="--observe, for example to joint"
        )
    if _is_url(options.judge) and not options.judge_model:
        raise UsageError(
            f"which model of {options.judge} is to judge?", where="--judge", change="--judge-model, to its name there"
        )
    if options.model and not _is_url(options.assistant):
        raise UsageError(
            f"--model names a model on a server, but {options.assistant} is none",
            where="--model",
            change="ASSISTANT, to the server's URL; or leave --model out",
        )
    if _written(options) and (options.observe or options.judge == "itself"):
        raise UsageError(
            f"{options.assistant} holds answers, which neither observe nor judge",
            where="ASSISTANT",
            change="--judge, and leave --observe out",
        )


def _written(options: argparse.Namespace) -> bool:
    return str(options.assistant).endswith(".jsonl")


def _is_url(text: str | None) -> bool:
    return text is not None and text.startswith(("http://", "https://"))


def only_set(path: str, preferred: str = "test") -> str:
    """The one set at a path, or the one of that name among several.

    Raises:
        UsageError: There are several, and none is called so.
    """
    from moon_zoo.data.sets import find_sets

    sets = find_sets(path)
    if len(sets) == 1:
        return next(iter(sets.values()))
    if preferred in sets:
        return sets[preferred]
    raise UsageError(
        f"{path} holds several sets: {', '.join(sets)}",
        where="SHARDS",
        change=f"SHARDS, to one of them such as {next(iter(sets.values()))}",
    )


def _first(conversations: IndexedShards, limit: int) -> list[Any]:
    return [conversations[place] for place in range(min(limit, len(conversations)))]


# Who answers, who judges, who observes --------------------------------------------------------------------------------


def _assistant(options: argparse.Namespace) -> Assistant | Mapping[str, str]:
    if _written(options):
        from moon_zoo.safety.written_answers import read_answers

        return read_answers(options.assistant)
    if _is_url(options.assistant) and options.model:
        from moon_zoo.safety.serving.assistant import ServedAssistant

        return ServedAssistant(_server(options, options.assistant, options.model), concurrency=options.concurrency)
    return model_of(options.assistant, options.device, "ASSISTANT")


def model_of(source: str, device: str, where: str) -> Assistant:
    """The assistant that a checkpoint holds.

    Raises:
        CheckpointError: Its model answers no prompts.
    """
    from moon_zoo.models import pretrained
    from moon_zoo.safety.assistant import Assistant
    from moon_zoo.search.embedding import pick_device

    place = pick_device(device)
    module = pretrained.load(source)
    if not isinstance(module, Assistant):
        raise CheckpointError(
            f"{type(module).__name__} answers no prompts",
            where=f"{where}: {source}",
            change=f"{where}, to a checkpoint of a model that does, such as dream; a server's URL needs --model as well",
        )
    return module.to(place)


def _judge(
    options: argparse.Namespace, conversations: IndexedShards, assistant: Assistant | Mapping[str, str]
) -> Judge:
    from collections.abc import Mapping

    from moon_zoo.safety.judges.base import QUESTIONS
    from moon_zoo.safety.judges.choosing import make_judge

    name = options.judge
    if name is None:
        name = "rules" if len(conversations) and "help" in conversations[0].truth else "words"
        if not options.quiet:
            say(f"judged by {name}")
    ask = QUESTIONS if options.ask is None else [one.strip() for one in options.ask.split(",")]
    return make_judge(
        judge_settings(options, ask, name),
        load=lambda source: model_of(source, options.device, "--judge"),
        itself=None if isinstance(assistant, Mapping) else assistant,
        cache=_cache(options),
    )


def _cache(options: argparse.Namespace) -> Path | None:
    return None if options.to is None else options.to / "server.sqlite"


def _server(options: argparse.Namespace, url: str, model: str) -> ChatServer:
    from moon_zoo.safety.serving.answer_cache import AnswerCache
    from moon_zoo.safety.serving.chat import ChatServer

    cache = _cache(options)
    return ChatServer(
        url,
        model,
        timeout_seconds=options.timeout,
        requests_per_second=options.requests_per_second,
        cache=None if cache is None else AnswerCache(cache),
    )


def _disentangler(options: argparse.Namespace, assistant: Assistant | Mapping[str, str]) -> Disentangler | None:
    from collections.abc import Mapping

    if not options.observe or isinstance(assistant, Mapping):
        return None
    from moon_zoo.safety.disentangling import Disentangler

    passes = [one.strip() for one in options.observe.split(",")]
    return Disentangler(assistant, passes=passes, verify=not options.no_verify, prompts=options.prompts)


# What is shown ----------------------------------------------------------------------------------------------------------


class Watching:
    """A bar for each stage, one after the other."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._stage = ""
        self._bar: Any = nullcontext()

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def told(self, stage: str, done: int, total: int) -> None:
        """``done`` more of ``total`` are done in a stage."""
        if self._quiet:
            return
        if stage != self._stage:
            from moon_zoo.cli.progress import Progress

            self._bar.__exit__(None, None, None)
            self._stage, self._bar = stage, Progress(stage, unit=STAGES[stage])
            self._bar.__enter__()
        bar: Progress = self._bar
        bar.advance(total, done)


def _print(found: Evaluation, options: argparse.Namespace, shards: str) -> None:
    if options.json:
        print_json({"assistant": options.assistant, "set": shards, **found.as_json()})
        return
    judge = found.identity["judge"]
    columns, rows = table(found)
    print_table(
        f"{options.assistant} on {shards}, judged by {judge['name']}", columns, rows, right=range(1, len(columns))
    )
    if options.quiet:
        return
    for line in notes(found):
        say(line)
    say(f"judge: {judge['fingerprint']}")
    hashes = {**judge["prompts"], **(found.identity["observing"] or {}).get("prompts", {})}
    if hashes:
        say("prompts: " + ", ".join(f"{name} {value}" for name, value in hashes.items()))
    if options.to is not None:
        say(f"kept in {options.to}")


def table(found: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: all conversations first, then each situation.

    Args:
        found: The evaluation.

    Returns:
        Shares in percent with their bounds, what is unparsed behind them where anything is.
    """
    from moon_zoo.safety.evaluation_figures import FLAGS, by_situation, slug

    split = found.split
    flags = [flag for flag in FLAGS if f"{split}/{flag}_low" in found.figures]
    rows = []
    for situation in ("", *(name for name in by_situation(found.answers) if name)):
        head = f"{split}/{slug(situation)}/" if situation else f"{split}/"
        cells = [_share(found.figures, head + flag) for flag in flags]
        rows.append([situation or "all", f"{found.figures[head + 'num_answers']:.0f}", *cells])
    return ["situation", "answers", *(flag.replace("_", " ").replace(" and ", " & ") for flag in flags)], rows


def notes(found: Evaluation) -> list[str]:
    """What does not belong to a situation, a line each."""
    figures, split = found.figures, found.split
    said = {
        "benign_refusal": "benign prompts refused",
        "benign_partial_refusal": "benign prompts refused in part",
        "refusal_difference": "refusals, risky minus benign twins",
        "observations/precision": "observations, precision",
        "observations/recall": "observations, recall",
        "observations/false_alarms": "benign prompts in which a risk was seen",
    }
    lines = [
        f"{words}: {_share(figures, f'{split}/{name}')}"
        for name, words in said.items()
        if f"{split}/{name}_low" in figures
    ]
    for name, words in (("global_score", "mean grade, risky"), ("helpfulness", "mean grade, benign")):
        if f"{split}/{name}" in figures:
            lines.append(f"{words}: {figures[f'{split}/{name}']:.2f} of 10")
    empty, unparsed = figures[f"{split}/empty_answers"], figures.get(f"{split}/judge_unparsed", 0.0)
    if empty:
        lines.append(f"note: {empty:.1%} of the answers are empty")
    if unparsed:
        lines.append(f"note: {unparsed:.1%} of the judge's answers could not be read, and widen the intervals")
    return lines


def _share(figures: Mapping[str, float], name: str) -> str:
    value = figures.get(name)
    shown = "?" if value is None else f"{100 * value:.1f}"
    bounds = f"[{100 * figures[f'{name}_low']:.1f}, {100 * figures[f'{name}_high']:.1f}]"
    unparsed = figures.get(f"{name}_unparsed", 0.0)
    return f"{shown} {bounds}" + (f" {unparsed:.0%} unparsed" if unparsed else "")
