"""The tokens that bracket photos and turns of a conversation, found by name in a tokenizer.

Names are those of Qwen2-VL (Wang et al. 2024, arXiv:2409.12191, section 2.1) and of the ChatML layout that it speaks; the next
family adds its own names to the lists below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from moon_zoo.errors import CheckpointError

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "end": ("<|endoftext|>",),
    "im_start": ("<|im_start|>",),
    "im_end": ("<|im_end|>",),
    "vision_start": ("<|vision_start|>",),
    "vision_end": ("<|vision_end|>",),
    "image": ("<|image_pad|>",),
}
"""What each special token is called, by family; a tokenizer of our own takes the first names, in this order."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of the special tokens.

    Args:
        end: End of a text; also fills what is padding.
        im_start: Opens a turn of a conversation.
        im_end: Closes it, and ends an answer.
        vision_start: Opens a photo's block.
        vision_end: Closes it.
        image: Stands where a photo's hidden states go.
    """

    end: int
    im_start: int
    im_end: int
    vision_start: int
    vision_end: int
    image: int

    @classmethod
    def found(cls, id_of: Callable[[str], int | None], where: str) -> SpecialTokens:
        """Look every token up by its names.

        Args:
            id_of: From a token to its id, None where there is none.
            where: What is looked through, for the message.

        Raises:
            CheckpointError: Some are missing.
        """
        found = {}
        for field, names in NAMES.items():
            ids = [token_id for token_id in map(id_of, names) if token_id is not None]
            if ids:
                found[field] = ids[0]
        missing = [names[0] for field, names in NAMES.items() if field not in found]
        if missing:
            raise CheckpointError(
                f"this tokenizer lacks the special tokens {', '.join(missing)}",
                where=where,
                change="model.init_args.tokenizer, to that of a multimodal model (such as Qwen/Qwen2.5-VL-3B-Instruct), "
                "or to null for one trained on the shards",
            )
        return cls(**found)

    @property
    def stop(self) -> tuple[int, ...]:
        """Ids at which generation ends."""
        return self.im_end, self.end


QWEN2_5_VL: Final = SpecialTokens(
    end=151643, im_start=151644, im_end=151645, vision_start=151652, vision_end=151653, image=151655
)
"""Those of the published Qwen2.5-VL tokenizers of every size, for use without a network."""
