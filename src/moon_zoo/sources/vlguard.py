"""VLGuard: safe and unsafe images with instructions, for fine-tuning (train) and for evaluation (test).

Source: Zong et al. 2024, "Safety Fine-Tuning at (Almost) No Cost: A Baseline for Vision Large Language Models",
arXiv:2402.02207; https://github.com/ys-zong/VLGuard. The fields are those of the authors' ``test.json``, the folders those
of their code; the images, which are given on request, could not be packed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moon_zoo.data.conversations import Instruction, user
from moon_zoo.errors import DataError
from moon_zoo.sources.prompt_files import Asked, PromptSource, beside, first_there, json_rows, locate, located, text_at

SPLITS = ("train", "test")
SUBSETS: dict[str, tuple[str, bool]] = {
    "safe_instruction": ("safe_image_safe_instruction", True),
    "unsafe_instruction": ("safe_image_unsafe_instruction", False),
    "instruction": ("unsafe_image", False),
}
"""Field of an instruction to the subset it belongs to, and whether it is benign."""


class VLGuardSource(PromptSource):
    """VLGuard: unsafe images, and safe images with a safe and an unsafe instruction each.

    Writes test, and train where train.json is there. The situation is the subset: unsafe_image,
    safe_image_unsafe_instruction, safe_image_safe_instruction. Responses are the answers; those to unsafe prompts decline.

    Args:
        path: The folder or tar that holds train.json and test.json, with the images of train.zip and test.zip unpacked
            into the folders train and test.
        max_side: Shrink larger images to this longest side in pixels; 0 keeps the files as they are.
        quality: JPEG quality of shrunk images, 1 to 95.
        check_photos: Decode every image once, so that a broken one is found now.
        on_error: raise, or skip to leave out prompts whose image is missing or cannot be used, and count them.
        workers: Threads that read images; all cores by default.
    """

    summary = "VLGuard: safe and unsafe images and instructions, three subsets"
    example = "moon-zoo pack vlguard VLGuard --max-side 448 --to shards/vlguard"

    licence = "MIT, as its data card states; given on request, for research only"
    description = "VLGuard; Zong et al. 2024, arXiv:2402.02207; https://github.com/ys-zong/VLGuard"

    def asked(self) -> Iterator[Asked]:
        """Every instruction of every image, split by split."""
        for split in SPLITS:
            table = locate(self.tree, f"{split}.json")
            if table is None and split == "train":
                continue
            table = table or located(self.tree, f"{split}.json")
            for where, row in json_rows(self.tree, table):
                name = text_at(row, "image", where)
                places = [beside(table, split, name), beside(table, "images", split, name), beside(table, name)]
                image = first_there(self.tree, places)
                for number, one in enumerate(_instructions(row, where)):
                    yield Asked(split, _sample(row, one, number, where), image)


def _instructions(row: dict[str, Any], where: str) -> list[dict[str, Any]]:
    given = row.get("instr-resp")
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise DataError(f"instr-resp holds no list of instructions: {given!r:.60}", where=where)
    return given


def _sample(row: dict[str, Any], one: dict[str, Any], number: int, where: str) -> Instruction:
    field = next((name for name in SUBSETS if name in one), None)
    if field is None:
        raise DataError(
            f"an instruction has none of the fields {', '.join(SUBSETS)} (found: {', '.join(one)})", where=where
        )
    if (field == "instruction") == bool(row.get("safe")):
        raise DataError(
            f"the image is said to be {'safe' if row.get('safe') else 'unsafe'}, but has {field}", where=where
        )
    subset, safe = SUBSETS[field]
    return Instruction(
        conversation_id=f"vlguard-{text_at(row, 'id', where)}-{number}",
        turns=user(text_at(one, field, where)),
        answer=str(one.get("response") or "").strip(),
        safe=safe,
        situation=subset,
        truth={
            name: str(row[name]) for name in ("harmful_category", "harmful_subcategory") if row.get(name) is not None
        },
    )
