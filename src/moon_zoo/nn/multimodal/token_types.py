"""Which field of a product a token comes from; travels beside the token ids as ``token_type`` ``(batch, length)``.

Source: the guided experts of MOON, arXiv:2508.11999, section 3.3: category tokens and attribute tokens have an expert each,
all others are routed freely. The numbers are ours.
"""

from __future__ import annotations

from typing import Final

PAD: Final = 0
"""Nothing: takes part in no attention, pooling or statistics."""
IMAGE: Final = 1
"""A photo's or crop's token, or one of its two brackets."""
TEXT: Final = 2
"""Title, query, prompt, answer: text without an expert of its own."""
CATEGORY: Final = 3
ATTRIBUTE: Final = 4
