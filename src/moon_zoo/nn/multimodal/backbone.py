"""A generative multimodal language model as an encoder and a writer: what all families share.

A family's adapter builds transformers' own model and says how it turns photos into tokens and positions into rotations. Here
are the parts that we need otherwise than transformers has them: attention to both sides, pads anywhere, a token's field brought
to the experts of every layer, photos of one size.

Source: MOON, arXiv:2508.11999, sections 3.2 and 3.3; bidirectional attention as arXiv:2511.11305, section 3.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from moon_zoo.nn.multimodal.attention_kernel import attention_kernel
from moon_zoo.nn.multimodal.positions import rotary_positions
from moon_zoo.nn.multimodal.sequence import Sequence
from moon_zoo.nn.multimodal.special_tokens import SpecialTokens

Attention = Literal["bidirectional", "causal"]


class MultimodalLM(nn.Module):
    """A language model that reads photos and text in one sequence.

    Adapters call this constructor with transformers' model and implement `encode_photos` and `rotate`.

    Args:
        lm: transformers' model with its output layer.
        special: Ids of the special tokens.
        photo_size: Side of a photo in pixels.
        photo_side: Side of a photo in tokens.
    """

    def __init__(self, lm: Any, *, special: SpecialTokens, photo_size: int, photo_side: int) -> None:
        super().__init__()
        self.lm = lm
        self.special = special
        self.photo_size = photo_size
        self.photo_side = photo_side
        self.photo_tokens = photo_side * photo_side
        self.static_shapes: bool | None = None
        """Whether photos that are not there are encoded like others, so that shapes never change.

        None: on accelerators, and while a graph is compiled or exported.
        """

    # what an adapter says about its family

    @staticmethod
    def lm_class() -> Any:
        """transformers' class of the model with its output layer."""
        raise NotImplementedError

    @staticmethod
    def known_config(name: str) -> Any | None:
        """The configuration of a published model that is known without a network, else None."""
        return None

    @staticmethod
    def known_special(name: str) -> SpecialTokens | None:
        """The special tokens of a published model that are known without a network, else None."""
        return None

    @staticmethod
    def tiny_config(values: Mapping[str, Any], *, vocab_size: int, special: SpecialTokens, photo_size: int) -> Any:
        """A configuration from numbers, of the one family that is built so.

        Raises:
            RecipeError: Numbers that do not fit.
        """
        raise NotImplementedError

    @staticmethod
    def check(config: Any, photo_size: int) -> None:
        """Refuse numbers with which the model could not be built or run.

        Raises:
            RecipeError: Which they are.
        """
        raise NotImplementedError

    @property
    def visual(self) -> nn.Module:
        """The part that reads photos."""
        raise NotImplementedError

    @property
    def text_model(self) -> Any:
        """The part that reads the sequence: ``embed_tokens``, ``layers``, ``norm`` and ``config``."""
        raise NotImplementedError

    def encode_photos(self, photos: Tensor) -> Tensor:
        """Tokens of photos.

        Args:
            photos: uint8 ``(photos, 3, photo_size, photo_size)``.

        Returns:
            ``(photos, photo_tokens, hidden_size)``.
        """
        raise NotImplementedError

    def rotate(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions ``(3, batch, length)``, each ``(batch, length, head_dim)``."""
        raise NotImplementedError

    def save_photo_processor(self, folder: Path) -> None:
        """Write transformers' ``preprocessor_config.json``, by which it reads photos at this model's size."""
        raise NotImplementedError

    # what follows from it

    @property
    def config(self) -> Any:
        """transformers' configuration of the whole model."""
        return self.lm.config

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder's layers, each with ``.mlp``."""
        return cast(nn.ModuleList, self.text_model.layers)

    @property
    def hidden_size(self) -> int:
        """Length of a hidden state."""
        return int(self.text_model.config.hidden_size)

    @property
    def vocab_size(self) -> int:
        """Rows of the token table."""
        return int(self.text_model.config.vocab_size)

    @property
    def num_parameters(self) -> int:
        """Numbers in all weights, each counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, sequence: Sequence, attention: Attention = "bidirectional") -> Tensor:
        """Hidden states after the last layer and its norm.

        Args:
            sequence: The batch.
            attention: Whether a token sees all others or only those before it.

        Returns:
            ``(batch, length, hidden_size)``; on pads anything finite.
        """
        positions, _ = rotary_positions(self.image_places(sequence), sequence.mask, self.photo_side)
        return self.run_layers(self.embed(sequence), positions, sequence.mask, sequence.token_type, attention=attention)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, ``(..., hidden_size)`` to ``(..., vocab_size)``."""
        return self.lm.lm_head(hidden)

    def image_places(self, sequence: Sequence) -> Tensor:
        """Bool ``(batch, length)``: where a photo's hidden state stands."""
        return sequence.mask & (sequence.token_ids == self.special.image)

    def embed(self, sequence: Sequence) -> Tensor:
        """What enters the first layer: token embeddings, and photos in their places, ``(batch, length, hidden_size)``.

        The sequence's real photos, row by row, fill its image places, row by row.
        """
        embedded = self.text_model.embed_tokens(sequence.token_ids)
        static = wants_static_shapes(sequence) if self.static_shapes is None else self.static_shapes
        read = sequence.photo_states
        photos, order = _real_photos(
            sequence.photos if read is None else read, sequence.photo_mask, static=static or read is not None
        )
        if photos.shape[0] == 0:
            return embedded + _zero_of(self.visual) if torch.is_grad_enabled() else embedded
        encoded = (self.encode_photos(photos) if read is None else photos).to(embedded.dtype)
        places = self.image_places(sequence)
        count = (places.flatten().cumsum(dim=0) - 1).clamp(min=0).view_as(places)  # which image place of the batch
        photo, within = count // self.photo_tokens, count % self.photo_tokens
        if order is not None:
            photo = order[photo]
        at = (photo * self.photo_tokens + within).clamp(max=encoded.shape[0] * self.photo_tokens - 1)
        seen = encoded.flatten(0, 1).index_select(0, at.flatten()).view_as(embedded)
        return torch.where(places[..., None], seen, embedded)

    def photo_states(self, photos: Tensor, photo_mask: Tensor) -> Tensor:
        """What enters the layers of photos that several sequences show: read once, for `Sequence.photo_states`.

        Args:
            photos: uint8 ``(..., photos, 3, photo_size, photo_size)``.
            photo_mask: Bool ``(..., photos)``.

        Returns:
            ``(..., photos, photo_tokens, hidden_size)``; of photos that are not there anything finite.
        """
        shape = (*photo_mask.shape, self.photo_tokens, self.hidden_size)
        static = photos.device.type != "cpu" if self.static_shapes is None else self.static_shapes
        if static or torch.compiler.is_compiling():
            return self.encode_photos(photos.flatten(0, -4)).view(shape)
        places = _real_first(photo_mask)
        if len(places) == 0:
            return self.text_model.embed_tokens.weight.new_zeros(shape) + _zero_of(self.visual)
        encoded = self.encode_photos(photos.flatten(0, -4)[places])
        return encoded.new_zeros(photo_mask.numel(), *encoded.shape[1:]).index_copy(0, places, encoded).view(shape)

    def run_layers(
        self,
        hidden: Tensor,
        positions: Tensor,
        mask: Tensor,
        token_type: Tensor,
        *,
        attention: Attention | Tensor,
        cache: Any = None,
    ) -> Tensor:
        """Take embeddings through all layers and the final norm.

        Args:
            hidden: ``(batch, length, hidden_size)``.
            positions: ``(3, batch, length)``.
            mask: Bool ``(batch, past + length)``, True on real tokens.
            token_type: ``(batch, length)``.
            attention: As in `forward`; or who sees whom, bool ``(batch, 1, length, past + length)``, every token itself.
            cache: transformers' cache of keys and values of the past, which grows; None without.
        """
        rotations = self.rotate(hidden, positions)
        options = self._attention_options(mask, hidden, attention)
        if cache is not None:
            options[_cache_argument(type(self.layers[0]))] = cache
        for layer in self.layers:
            hidden = layer(hidden, position_embeddings=rotations, token_type=token_type, **options)
        return self.text_model.norm(hidden)

    def _attention_options(self, mask: Tensor, hidden: Tensor, attention: Attention | Tensor) -> dict[str, Any]:
        """How a layer's attention is told who sees whom, which its implementations want in different forms."""
        implementation = self.text_model.config._attn_implementation
        if implementation.startswith("flash"):
            if isinstance(attention, Tensor):
                raise ValueError(f"{implementation} sees all tokens or those before, and cannot be told otherwise")
            return {"attention_mask": mask, "is_causal": attention == "causal"}
        seen = attention if isinstance(attention, Tensor) else attention_mask(mask, attention, hidden.shape[1])
        if implementation == "eager":  # adds its mask
            lowest = torch.finfo(hidden.dtype).min
            return {"attention_mask": torch.zeros_like(seen, dtype=hidden.dtype).masked_fill(~seen, lowest)}
        return {"attention_mask": seen}

    def generate(self, sequence: Sequence, **options: Any) -> list[list[int]]:
        """Continue every sequence; see `moon_zoo.nn.multimodal.generation.generate`."""
        from moon_zoo.nn.multimodal.generation import generate

        return generate(self, sequence, **options)

    def write_config(self, folder: Path) -> dict[str, Any]:
        """Write ``config.json``, from which `build_backbone` builds this model again without its weights.

        Args:
            folder: Made if need be.

        Returns:
            The options that go with it.
        """
        # defaults written out, which may change with the library; without the folder it came from
        values = json.loads(self.config.to_json_string(use_diff=False))
        values.pop("_name_or_path", None)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
        dtype = str(self.lm.dtype).removeprefix("torch.")
        return {"attn_implementation": self.text_model.config._attn_implementation, "dtype": dtype}

    def save_plain(self, folder: Path, **options: Any) -> None:
        """Write a folder that transformers loads by itself; see `moon_zoo.nn.multimodal.plain.save_plain`."""
        from moon_zoo.nn.multimodal.plain import save_plain

        save_plain(self, folder, **options)

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Whether layers of photos and text are computed again in the backward pass instead of being kept."""
        verb = "enable" if enabled else "disable"
        # newer transformers says `activation`, and warns of `gradient`
        found = getattr(self.lm, f"activation_checkpointing_{verb}", None) or getattr(
            self.lm, f"gradient_checkpointing_{verb}"
        )
        found(*([{"use_reentrant": False}] if enabled else []))


def attention_mask(mask: Tensor, attention: Attention, queries: int | None = None) -> Tensor:
    """Who sees whom.

    Args:
        mask: Bool ``(batch, length)``, True on real tokens.
        attention: As in `MultimodalLM.forward`.
        queries: How many of the last tokens look; None: all.

    Returns:
        Bool ``(batch, 1, queries, length)``. Every token sees itself, pads too: a row that sees nothing would be NaN.

    Raises:
        ValueError: ``attention`` is neither.
    """
    if attention not in ("causal", "bidirectional"):
        raise ValueError(f"attention must be causal or bidirectional, not {attention!r}")
    length = mask.shape[1]
    queries = length if queries is None else queries
    keys = torch.arange(length, device=mask.device)
    looking = keys[length - queries :, None]
    seen = mask[:, None, :].expand(-1, queries, -1)
    if attention == "causal":
        seen = seen & (keys <= looking)
    return (seen | (keys == looking))[:, None]


def with_token_type(layer: nn.Module) -> None:
    """Let a decoder layer take ``token_type`` and hand it to its ``.mlp`` right before each use of it.

    transformers recomputes ``layer.forward`` under gradient checkpointing, with the arguments of that very forward; hooks
    stay outside. An attribute set from elsewhere would be that of the latest forward, wrong when two come before one
    backward.
    """
    kind = type(layer)

    class TypedLayer(kind):  # type: ignore[valid-type,misc]
        def forward(self, *args: Any, token_type: Tensor | None = None, **kwargs: Any) -> Any:
            if hasattr(self.mlp, "token_type"):
                self.mlp.token_type = token_type
            hidden = args[0] if args else kwargs["hidden_states"]
            with attention_kernel(hidden, hidden.shape[1]):
                return super().forward(*args, **kwargs)

    TypedLayer.__name__ = TypedLayer.__qualname__ = kind.__name__
    layer.__class__ = TypedLayer


def wants_static_shapes(sequence: Sequence) -> bool:
    """Whether dropping photos would wait for an accelerator, or leave a graph with a shape that depends on values."""
    return sequence.photos.device.type != "cpu" or torch.compiler.is_compiling()


def _real_first(there: Tensor) -> Tensor:
    """Places of the real photos in order, then of as many others as make their number even; none where none is real."""
    there = there.flatten()
    count = int(there.sum())
    places = there.to(torch.uint8).argsort(descending=True, stable=True)
    return places[: even(count, len(there)) if count else 0]


EVEN = 8
"""Rows, columns and photos are filled up to multiples of this where shapes follow what is there.

On a CPU oneDNN writes a kernel for every new shape of a product in bfloat16, which took a fifth of a training's time.
"""


def even(count: int, most: int) -> int:
    """A count rounded up to a multiple of `EVEN`, at least one of them, at most ``most``."""
    return min(max(EVEN, -(-count // EVEN) * EVEN), most)


def _real_photos(photos: Tensor, photo_mask: Tensor, *, static: bool) -> tuple[Tensor, Tensor | None]:
    """Photos in one row, and where among them the real ones are in order; None where the real ones come first."""
    photos, there = photos.flatten(0, 1), photo_mask.flatten()
    if not static:
        return photos[_real_first(there)], None
    numbers = torch.arange(there.shape[0], device=there.device)
    return photos, torch.where(there, numbers, numbers + there.shape[0]).argsort()


def _zero_of(module: nn.Module) -> Tensor:
    """Zero, with a gradient of zeros to every weight: all processes must have the same weights in their graphs."""
    weights: Iterable[nn.Parameter] = (weight for weight in module.parameters() if weight.requires_grad)
    return sum((weight.flatten()[0] * 0.0 for weight in weights), torch.zeros(()))


def _cache_argument(layer: type[nn.Module]) -> str:
    """What a layer calls the keys and values of the past: transformers renamed them in 5.24."""
    # of all it inherits from: that of `with_token_type` names none
    forwards = [vars(kind)["forward"] for kind in layer.__mro__ if "forward" in vars(kind)]
    return "cache" if any("cache" in inspect.signature(one).parameters for one in forwards) else "past_key_values"
