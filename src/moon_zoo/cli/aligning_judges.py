"""Options of the judge that the stages of `moon-zoo align` share, and what they make of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moon_zoo.safety.judges.choosing import JudgeSettings


def add_judge_options(parser: Any, *, default: str | None) -> None:
    """Add the options of a judge to a parser or to a group of one.

    Args:
        parser: What they are added to.
        default: The judge where none is named; None where the set decides.
    """
    shown = "" if default is None else f" ({default})"
    parser.add_argument(
        "--judge", default=default, metavar="JUDGE", help=f"rules, words, itself, a checkpoint or a URL{shown}"
    )
    parser.add_argument("--judge-model", metavar="NAME", help="the judge's name on its server")
    parser.add_argument(
        "--verdict-from",
        choices=("json", "logprobs"),
        default="json",
        help="what a server's verdict is read from: a field of its answer, or log probabilities (json)",
    )
    parser.add_argument("--no-images", action="store_true", help="send a judge's server no images")
    parser.add_argument(
        "--on-unavailable",
        choices=("raise", "unparsed"),
        default="raise",
        help="when the judge's server is down (raise)",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=60.0, help="for a server's answer (60)")
    parser.add_argument("--concurrency", metavar="N", type=int, default=8, help="requests to a server at once (8)")
    parser.add_argument("--requests-per-second", metavar="X", type=float, help="at most; as many as go if not said")


def judge_settings(options: argparse.Namespace, ask: Sequence[str], judge: str | None = None) -> JudgeSettings:
    """What the options say.

    Args:
        options: Parsed, with ``prompts`` and ``batch_size``.
        ask: Which questions a model is asked.
        judge: Instead of ``options.judge``.

    Raises:
        UsageError: They contradict each other.
    """
    from moon_zoo.safety.judges.choosing import JudgeSettings

    return JudgeSettings(
        judge=options.judge if judge is None else judge,
        model=options.judge_model or "",
        ask=ask,
        prompts=options.prompts,
        batch_size=options.batch_size,
        verdict_from=options.verdict_from,
        images=not options.no_images,
        on_unavailable=options.on_unavailable,
        timeout_seconds=options.timeout,
        concurrency=options.concurrency,
        requests_per_second=options.requests_per_second,
    )
