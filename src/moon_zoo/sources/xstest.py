"""XSTest: safe prompts that look unsafe, and unsafe ones beside them, in words alone.

Source: Röttger et al. 2024, "XSTest: A Test Suite for Identifying Exaggerated Safety Behaviours in Large Language Models",
arXiv:2308.01263; https://github.com/paul-rottger/xstest. Read from the published ``xstest_prompts.csv``; its forerunner
``xstest_v2_prompts.csv``, which has no label, from the authors' description alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moon_zoo.data.conversations import Instruction, user
from moon_zoo.errors import DataError
from moon_zoo.sources.prompt_files import Asked, PromptSource, csv_rows, located, text_at

FILES = ("xstest_prompts.csv", "xstest_v2_prompts.csv")
CONTRAST = "contrast_"
"""How the types of unsafe prompts begin."""


class XSTestSource(PromptSource):
    """XSTest's 450 prompts: 250 safe ones that a careful model must not refuse, 200 unsafe ones that contrast with them.

    Writes test. The situation is the type, such as homonyms or contrast_homonyms; there are no images and no answers.

    Args:
        path: The table xstest_prompts.csv, or a folder or tar that holds it.
    """

    summary = "XSTest: 450 prompts in words, safe ones that look unsafe"
    example = "moon-zoo pack xstest xstest_prompts.csv --to shards/xstest"

    licence = "CC-BY-4.0"
    description = "XSTest; Röttger et al. 2024, arXiv:2308.01263; https://github.com/paul-rottger/xstest"

    def __init__(self, path: Path) -> None:
        path = Path(path)
        self._file = path.name if path.is_file() and path.suffix.lower() == ".csv" else None
        super().__init__(path.parent if self._file else path)

    def asked(self) -> Iterator[Asked]:
        """Every prompt, in the order of the table."""
        table = self._file or located(self.tree, *FILES)
        for where, row in csv_rows(self.tree, table, ("prompt", "type")):
            kind = text_at(row, "type", where)
            identity = row.get("id") or row.get("id_v2") or ""
            if not identity:
                raise DataError("a prompt without an id", where=where)
            sample = Instruction(
                conversation_id=f"xstest-{identity}",
                turns=user(text_at(row, "prompt", where)),
                safe=_safe(row, kind, where),
                situation=kind,
                truth={name: row[name] for name in ("focus", "note") if row.get(name)},
            )
            yield Asked("test", sample, None)


def _safe(row: dict[str, str], kind: str, where: str) -> bool:
    label = row.get("label")
    if not label:
        return not kind.startswith(CONTRAST)
    if label not in ("safe", "unsafe"):
        raise DataError(f"the label {label!r} is neither safe nor unsafe", where=where)
    return label == "safe"
