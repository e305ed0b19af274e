"""`moon-zoo predict --question ... --answer ...`: the next question, its steps told as they come."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json, say
from moon_zoo.data.wording import many
from moon_zoo.errors import UsageError

if TYPE_CHECKING:
    from moon_zoo.knowledge.finding import Found, KnowledgeFinder
    from moon_zoo.knowledge.recognition import Recognised
    from moon_zoo.knowledge.selection import Selected
    from moon_zoo.models.followup.asking import Asked

SHOWN = 6
"""Nodes of a graph that are told."""

ABOUT = """\
Ask the question that follows an answer, with knowledge from a local store: what the two are about, the concepts around it
with their scores, the one that was chosen, and the question. Steps are told as they come; the question alone is printed on
stdout."""

EXAMPLES = """\
  moon-zoo predict --ckpt_path followup/shop --store shop.sqlite \\
      --question "is the mug safe to heat?" --answer "yes, it is stoneware."
  moon-zoo predict --run runs/followup/quickstart/1 --question "..." --answer "..." --store wikipedia.sqlite --draw graph.html
  moon-zoo predict --ckpt_path followup/shop --question "..." --answer "..."      without knowledge
"""


def run(args: list[str]) -> int:
    """Ask one question."""
    options = _parser().parse_strict(args)
    if options.ckpt_path is None and options.run is None:
        raise UsageError(
            "no model is named", where="moon-zoo predict", change="--ckpt_path to a checkpoint, or --run to a run"
        )
    if options.draw is not None and options.store is None:
        raise UsageError("without a store there is no graph to draw", where="--draw", change="--store to one")
    from moon_zoo.models.base import ZooModule
    from moon_zoo.models.followup.module import Followup

    finder = _finder(options)
    model = ZooModule.from_pretrained(options.ckpt_path if options.ckpt_path is not None else options.run)
    if not isinstance(model, Followup):
        raise UsageError(
            f"{type(model).__name__} asks no questions",
            where="--ckpt_path" if options.ckpt_path is not None else "--run",
            change="it to a model of followup; `moon-zoo list models` tells what each does",
        )
    steps: list[Any] = []
    for step in model.ask_in_steps(options.question, options.answer, finder=finder, writing=_writing(model, options)):
        steps.append(step)
        if not options.quiet and not options.json:
            _tell(step)
    asked: Asked = steps[-1]
    if options.draw is not None and asked.found is not None:
        _draw(asked.found, options.draw, quiet=options.quiet or options.json)
    if options.json:
        print_json(_plain(asked))
    else:
        print(asked)
    return 0


def _parser() -> Arguments:
    parser = Arguments("predict", ABOUT, EXAMPLES)
    parser.add_argument("--question", required=True, metavar="TEXT", help="what was asked")
    parser.add_argument("--answer", default="", metavar="TEXT", help="what was answered")
    parser.add_argument("--ckpt_path", metavar="CKPT", help="a checkpoint: name, folder, .ckpt or URL")
    parser.add_argument("--run", metavar="DIR", help="a run's folder")
    parser.add_argument(
        "--store", metavar="FILE", type=Path, help="local knowledge; `moon-zoo pack knowledge` writes one"
    )
    parser.add_argument(
        "--mode",
        choices=("deterministic", "paper"),
        default="deterministic",
        help="how concepts are ranked: without chance, or by a seeded random walk (deterministic)",
    )
    parser.add_argument(
        "--beta", metavar="B", type=float, default=1.0, help="weight of closeness beside importance (1)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of walk and draws (0)")
    parser.add_argument(
        "--temperature", metavar="T", type=float, help="draw the question instead of taking the likeliest"
    )
    parser.add_argument("--draw", metavar="FILE", type=Path, help="the graph as a picture: .png or .html")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="the question only")
    return parser


def _finder(options: argparse.Namespace) -> KnowledgeFinder | None:
    if options.store is None:
        return None
    from moon_zoo.knowledge.finding import KnowledgeFinder
    from moon_zoo.knowledge.store import KnowledgeStore

    return KnowledgeFinder(KnowledgeStore(options.store), mode=options.mode, beta=options.beta, seed=options.seed)


def _writing(model: Any, options: argparse.Namespace) -> Any:
    from dataclasses import replace

    if options.temperature is None:
        return replace(model.writing, seed=options.seed)
    beams = 1 if options.temperature > 0 else model.writing.beams
    return replace(model.writing, temperature=options.temperature, beams=beams, seed=options.seed)


def _tell(step: Recognised | Selected | Found | Asked) -> None:
    from moon_zoo.knowledge.finding import Found
    from moon_zoo.knowledge.recognition import Recognised
    from moon_zoo.knowledge.selection import Selected

    if isinstance(step, Recognised):
        say(f"topic      {step.topic or '(none)'}")
        say(f"keywords   {', '.join(step.keywords) or '(none)'}")
        say(
            f"page       {step.page.title if step.page is not None else '(none)'}  of {many(len(step.candidates), 'page')}"
        )
    elif isinstance(step, Selected):
        _tell_graph(step)
    elif isinstance(step, Found):
        say(f"knowledge  {step.fused.text or '(none)'}")


def _tell_graph(selected: Selected) -> None:
    graph = selected.graph
    if graph is None:
        say("graph      (none)")
        return
    say(f"graph      {many(len(graph.nodes), 'node')}, {many(len(graph.links), 'link')}")
    ranked = sorted(graph.nodes[1:], key=lambda node: -selected.scores[node.key].total)
    for node in ranked[:SHOWN]:
        score = selected.scores[node.key]
        mark = "->" if selected.node is not None and node.key == selected.node.key else "  "
        why = next(iter(graph.reasons(node.key)), "")
        say(
            f"        {mark} {score.total:5.2f} = {score.importance:.2f} + closeness {score.similarity:.2f}  {node.title}"
            + (f"  ({why})" if why else "")
        )
    say(f"concept    {selected.node.title if selected.node is not None else '(none: the topic stands alone)'}")


def _draw(found: Found, path: Path, *, quiet: bool) -> None:
    from moon_zoo.knowledge.drawing import draw_graph

    if found.selected.graph is None:
        say(f"no page was found, so there is nothing to draw in {path}")
        return
    draw_graph(found.selected, path)
    if not quiet:
        say(f"graph in   {path}")


def _plain(asked: Asked) -> dict[str, Any]:
    found = asked.found
    plain: dict[str, Any] = {"follow_up": asked.follow_up, "knowledge": asked.knowledge, "concept": asked.concept}
    if found is None:
        return plain
    graph = found.selected.graph
    nodes = (
        []
        if graph is None
        else [
            {
                "key": node.key,
                "title": node.title,
                "level": node.level,
                "importance": found.selected.scores[node.key].importance,
                "similarity": found.selected.scores[node.key].similarity,
                "score": found.selected.scores[node.key].total,
            }
            for node in graph.nodes
        ]
    )
    return {**plain, "provenance": dict(found.fused.provenance), "nodes": nodes}
