"""The card of a published checkpoint: what it is, what it was made of, how good it is, and where it ends.

Every figure comes with the command that gives it again. Whatever was not recorded is said to be so; nothing is left out in
silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moon_zoo.reports import summary


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One set of shards that a checkpoint learned from or was measured on.

    Args:
        role: What it was used for: ``train``, ``val``, ``test``, ``gallery``.
        kind: Kind of its samples.
        samples: How many.
        source: Where the data come from.
        licence: Their licence.
        fingerprint: Of the set's manifest.
        parents: Sets that it was made from.
        command: What made it.
    """

    role: str
    kind: str
    samples: int
    source: str
    licence: str
    fingerprint: str
    parents: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """All that a card says.

    Args:
        name: The checkpoint's name on the hub.
        summary: One line.
        about: What the model is, from its own README.
        class_path: Of the model.
        parameters: How many the weights have.
        dtype: What they are stored as.
        fingerprint: Of the model as it loads.
        modalities: What it can embed.
        licence: Of the weights; empty where the publisher states none.
        moon_zoo: The version that wrote it.
        command: The command that trained it; empty where it is not known.
        began_with: Weights of others that training began with; empty where it began with nothing.
        own_recipe: What to know about a recipe in that command that does not ship with the package.
        recipe: The recipe's settings that are no defaults, as YAML.
        chosen: Which of the run's checkpoints it is.
        data: The sets, training first.
        unread: Why a set's facts are missing, by role.
        figures: Measured on these very weights.
        measure: The command that measures them again; empty where nothing was measured.
        rounding: How far the figures are from those of the weights before they were rounded; empty where they were not.
        environment: What ``environment.json`` of the run says, None where it has none.
        limits: From the model's own README.
        files: Other files of the folder, with their sizes in bytes.
    """

    name: str
    summary: str
    about: str
    class_path: str
    parameters: int
    dtype: str
    fingerprint: str
    modalities: tuple[str, ...]
    licence: str
    moon_zoo: str
    command: str
    recipe: str
    chosen: str
    data: tuple[SplitFacts, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    measure: str = ""
    rounding: str = ""
    own_recipe: str = ""
    began_with: tuple[str, ...] = ()
    environment: Mapping[str, Any] | None = None
    limits: str = ""
    files: Mapping[str, int] = field(default_factory=dict)


def card(facts: CardFacts) -> str:
    """The card as Markdown, headings as every card has them."""
    sections = {
        "What it is": _what(facts),
        "Use it": _use(facts),
        "Data": _data(facts),
        "Recipe": _recipe(facts),
        "Results": _results(facts),
        "Environment": _environment(facts.environment),
        "Limits": _limits(facts),
        "Files": _files(facts),
    }
    parts = [f"# {facts.name}", facts.summary, *(f"## {title}\n\n{text}" for title, text in sections.items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(text: str, heading: str) -> str:
    """What stands under ``## heading`` of a Markdown text, without the heading; empty where there is none."""
    found = re.search(rf"^## {re.escape(heading)}[ \t]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found.group(1).strip() if found else ""


def _what(facts: CardFacts) -> str:
    licence = f"licence: {facts.licence}" if facts.licence else "licence: the publisher states none"
    rows = [
        f"- model: `{facts.class_path}`, {facts.parameters / 1e6:.2f} M parameters, stored as {facts.dtype}",
        f"- {licence}; the data's licences are under Data",
        f"- written by moon-zoo {facts.moon_zoo}; fingerprint of weights and inputs `{facts.fingerprint[:16]}`",
    ]
    return "\n\n".join(part for part in (facts.about, "\n".join(rows)) if part)


def _use(facts: CardFacts) -> str:
    lines = [f"moon-zoo download {facts.name}"]
    if facts.modalities:
        lines.append(f"moon-zoo embed {facts.name} shards/mine --to embeddings")
    else:
        lines.append(f"moon-zoo predict --ckpt_path {facts.name} --data.predict shards/mine")
    code = f'from moon_zoo import ZooModule\n\nmodel = ZooModule.from_pretrained("{facts.name}")  # on the CPU, for use'
    return (
        f"```bash\n{chr(10).join(lines)}\n```\n\n```python\n{code}\n```\n\n"
        "On another hub than the one that ships with moon-zoo: set `MOON_ZOO_HUB` to its folder or URL first."
    )


def _data(facts: CardFacts) -> str:
    blocks = []
    if facts.data:
        roles: dict[str, list[SplitFacts]] = {}
        for item in facts.data:
            roles.setdefault(item.fingerprint, []).append(item)
        rows = [
            [
                ", ".join(item.role for item in same),
                f"{same[0].samples:,}",
                same[0].kind,
                f"`{same[0].fingerprint[:16]}`",
            ]
            for same in roles.values()
        ]
        blocks.append(_table(["used for", "samples", "kind", "fingerprint"], rows))
    said = [
        *_by_roles(facts.data, lambda item: f"source: {item.source or 'not stated'}"),
        *_by_roles(facts.data, lambda item: f"licence: {item.licence or 'not stated'}"),
        *_by_roles(facts.data, lambda item: f"made from: {', '.join(item.parents)}" if item.parents else ""),
        *_by_roles(facts.data, lambda item: f"made by: `{item.command}`" if item.command else ""),
        *(f"- {role}: unknown when this was published: {reason}" for role, reason in facts.unread.items()),
    ]
    if said:
        blocks.append("\n".join(said))
    return "\n\n".join(blocks) or "Not recorded: the run's data could not be read when this was published."


def _by_roles(data: Sequence[SplitFacts], tell: Callable[[SplitFacts], str]) -> list[str]:
    """What is to be told of the sets, each thing once; which sets it is of only where it is not of all."""
    told: dict[str, list[str]] = {}
    for item in data:
        told.setdefault(tell(item), []).append(item.role)
    return [
        f"- {text}" + ("" if len(roles) == len(data) else f" ({', '.join(roles)})")
        for text, roles in told.items()
        if text
    ]


def _recipe(facts: CardFacts) -> str:
    how = f"```bash\n{facts.command}\n```" if facts.command else "The command was not recorded."
    blocks = [how, facts.own_recipe, facts.chosen]
    if facts.recipe:
        blocks += ["Every setting that is no default:", f"```yaml\n{facts.recipe.rstrip()}\n```"]
    return "\n\n".join(block for block in blocks if block)


def _results(facts: CardFacts) -> str:
    if not facts.figures:
        return "None: this checkpoint was published without being measured."
    grids, rest = summary.grids(facts.figures)
    if facts.measure:
        blocks = [
            "Measured on these very weights, on the CPU or GPU at hand, in float32 unless the command says otherwise:"
        ]
        blocks.append(f"```bash\n{facts.measure}\n```")
    else:
        blocks = ["As the run recorded them after training, with the settings above; they were not measured again."]
    for grid in grids:
        columns = [grid.columns[0], *(column.replace("\n", " ") for column in grid.columns[1:])]
        blocks.append(_table(columns, grid.rows))
    if grids:
        counts = _counts(facts.figures)
        said = summary.legend(grids)
        blocks.append(f"{said[0].upper()}{said[1:]}." + counts)
    rows = [row[:4] for row in summary.metric_rows(rest) if row[3]]
    if rows:
        blocks.append(_table(["figure", "value", "chance", "better"], rows))
    if facts.rounding:
        blocks.append(facts.rounding)
    return "\n\n".join(blocks)


def _counts(figures: Mapping[str, float]) -> str:
    """How many queries and documents the retrieval figures are of."""
    said = []
    for name in sorted(figures):
        task, _, measure = name.rpartition("/")
        if measure == "num_queries":
            documents = figures.get(f"{task}/num_documents")
            among = "" if documents is None else f" among {documents:,.0f}"
            said.append(f"{task.rpartition('/')[2].replace('_', ' ')} {figures[name]:,.0f}{among}")
    return f" Queries among documents: {'; '.join(said)}." if said else ""


def _environment(environment: Mapping[str, Any] | None) -> str:
    if not environment:
        return "Not recorded: the run has no environment.json (it was made by an earlier version of moon-zoo)."
    packages = environment.get("packages") or {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    gpus: Sequence[str] = environment.get("gpus") or ()
    machine = f"{environment.get('cpu', 'unknown processor')}, {environment.get('cores', '?')} cores used"
    lines = [
        f"- Python {environment.get('python', '?')}, {versions}",
        f"- {environment.get('platform', '?')} ({environment.get('machine', '?')}); {machine}",
        f"- {', '.join(gpus) if gpus else 'no GPU'}",
    ]
    return "\n".join(lines)


def _limits(facts: CardFacts) -> str:
    trained = [item for item in facts.data if item.role == "train"]
    lines = []
    if trained:
        sources = "; ".join(dict.fromkeys(gist(item.source) or "a source that is not stated" for item in trained))
        count = sum(item.samples for item in trained)
        lines.append(
            f"- It learned from {count:,} samples of {sources} and from {_else(facts)}; on other products expect less."
        )
    if _chosen_by(facts):
        lines.append(
            "- The figures are of the very set by which the checkpoint was chosen, so expect a little less elsewhere."
        )
    return "\n".join([*lines, facts.limits]) if lines else facts.limits or "None are stated."


def _else(facts: CardFacts) -> str:
    if not facts.began_with:
        return "nothing else"
    return f"whatever {', '.join(f'`{name}`' for name in facts.began_with)} had learned from, where training began"


def _chosen_by(facts: CardFacts) -> bool:
    """Whether the measured set is the validation set, under that name or another."""
    splits = {name.partition("/")[0] for name in facts.figures} & {"val", "test"}
    sets = {item.role: item.fingerprint for item in facts.data}
    return "val" in sets and any(sets.get(split) == sets["val"] for split in splits)


def gist(source: str) -> str:
    """The beginning of a long reference: a data set's name."""
    return re.split(r"[;:,]", source, maxsplit=1)[0].strip()


def _files(facts: CardFacts) -> str:
    rows = [[f"`{name}`", f"{size:,}"] for name, size in sorted(facts.files.items())]
    total = sum(facts.files.values())
    return _table(["file", "bytes"], [*rows, ["together, without this card", f"{total:,}"]])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
