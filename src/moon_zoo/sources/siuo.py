"""SIUO: images and questions that are harmless alone and risky together.

Source: Wang et al. 2024, "Cross-Modality Safety Alignment", arXiv:2406.15279; https://github.com/sinwang20/SIUO.
The fields are those of ``siuo_gen.json`` in the authors' repository. Images are looked for in ``images`` beside it, as other
readers of the set have them, and next to it: the images themselves could not be packed here.
"""

from __future__ import annotations

from collections.abc import Iterator

from moon_zoo.data.conversations import Instruction, user
from moon_zoo.errors import DataError
from moon_zoo.sources.prompt_files import Asked, PromptSource, beside, first_there, json_rows, located, text_at

FILE = "siuo_gen.json"


class SiuoSource(PromptSource):
    """SIUO's 167 prompts for generation: image and question, harmless alone, risky together.

    Writes test. The situation is the category, such as self-harm; the reference answer is the answer. What the authors
    warn of is kept in truth (category, safety_warning): it tells what is risky in one text, not as observations. The
    multiple-choice questions (siuo_mcqa.json) are not read.

    Args:
        path: The folder or tar that holds siuo_gen.json with the folder images beside it.
        max_side: Shrink larger images to this longest side in pixels; 0 keeps the files as they are.
        quality: JPEG quality of shrunk images, 1 to 95.
        check_photos: Decode every image once, so that a broken one is found now.
        on_error: raise, or skip to leave out prompts whose image is missing or cannot be used, and count them.
        workers: Threads that read images; all cores by default.
    """

    summary = "SIUO: safe inputs, unsafe output; 167 images with questions"
    example = "moon-zoo pack siuo SIUO/data --to shards/siuo"

    licence = "CC-BY-NC-4.0, as its copies state; see the authors' page"
    description = "SIUO; Wang et al. 2024, arXiv:2406.15279; https://github.com/sinwang20/SIUO"

    def asked(self) -> Iterator[Asked]:
        """Every prompt, in the order of the file."""
        table = located(self.tree, FILE)
        for where, row in json_rows(self.tree, table):
            if not isinstance(row.get("question_id"), (int, str)):
                raise DataError(f"the field question_id holds no id: {row.get('question_id')!r}", where=where)
            name = text_at(row, "image", where)
            category = text_at(row, "category", where)
            sample = Instruction(
                conversation_id=f"siuo-{row['question_id']}",
                turns=user(text_at(row, "question", where)),
                answer=str(row.get("reference_answer") or "").strip(),
                safe=False,
                situation=category,
                truth={"category": category, "safety_warning": str(row.get("safety_warning") or "").strip()},
            )
            places = [beside(table, "images", name), beside(table, name), f"images/{name}"]
            yield Asked("test", sample, first_there(self.tree, places))
