"""A program for the README of an exported folder: onnxruntime, tokenizers and Pillow instead of the zoo.

It is put together from the kinds of inputs (`moon_zoo.models.contracts`); a part with an input of another kind has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KINDS = {"photo", "token_ids", "token_mask"}

HEAD = '''\
"""Embeddings with onnxruntime: pip install onnxruntime numpy{packages}"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
{imports}
HERE = Path({here})
PARTS = json.loads((HERE / "contract.json").read_text("utf-8"))["parts"]


@cache
def session(part):
    return onnxruntime.InferenceSession(HERE / PARTS[part]["files"]["onnx"]["file"])
'''

PHOTO = '''\

def read_photo(file):
    """A photo file as uint8 (3, height, width), the way the model was trained to see it."""
    image = ImageOps.exif_transpose(Image.open(file))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
{resize}
    return np.asarray(image).transpose(2, 0, 1)
'''

RESIZE = {
    "squash": """\
    image = image.resize(({width}, {height}), Image.Resampling.BILINEAR)""",
    "crop": """\
    scale = min(image.width / {width}, image.height / {height})
    width, height = round({width} * scale), round({height} * scale)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
    image = image.resize(({width}, {height}), Image.Resampling.BILINEAR)""",
    "letterbox": """\
    scale = min({width} / image.width, {height} / image.height)
    inner = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    inner = image.resize(inner, Image.Resampling.BILINEAR)
    image = Image.new("RGB", ({width}, {height}), "white")
    image.paste(inner, (({width} - inner.width) // 2, ({height} - inner.height) // 2))""",
}

TEXT = '''\

tokenizer = Tokenizer.from_file(str(HERE / "{tokenizer}"))


def read_text(text):
    """A text as ids and mask, ({max_tokens},) each."""
    ids = tokenizer.encode(text).ids if text else []
    if len(ids) > {max_tokens}:
        ids = [*ids[: {max_tokens} - 1], ids[-1]]
    token_ids = np.full({max_tokens}, {padding_id}, np.int64)
    token_ids[: len(ids)] = ids
    return token_ids, np.arange({max_tokens}) < len(ids)
'''

EMBED_PHOTOS = '''\

def embed_photos(files):
    """(len(files), dim)"""
    return session("{part}").run(None, {{"{photo}": np.stack([read_photo(file) for file in files])}})[0]
'''

EMBED_TEXTS = '''\

def embed_texts(texts):
    """(len(texts), dim)"""
    token_ids, token_mask = zip(*map(read_text, texts))
    return session("{part}").run(None, {{"{ids}": np.stack(token_ids), "{mask}": np.stack(token_mask)}})[0]
'''

USE = """\


if __name__ == "__main__":
    import sys

    print({call})
"""


def program(contract: Mapping[str, Any], here: str = ".") -> str | None:
    """Python text that embeds files and texts with a folder's ONNX networks; None where it would not know how.

    Args:
        contract: What `contract.json` holds.
        here: The folder, as the program finds it.
    """
    inputs = {
        name: {item["kind"]: item for item in part["inputs"] if "kind" in item}
        for name, part in contract["parts"].items()
        if "onnx" in part["files"] and part["batch"] is None
    }
    photo = next((name for name, kinds in inputs.items() if set(kinds) == {"photo"}), None)
    text = next((name for name, kinds in inputs.items() if set(kinds) == {"token_ids", "token_mask"}), None)
    if photo is None and text is None:
        return None
    imports, packages, body, call = [], "", [], ""
    if photo is not None:
        found = inputs[photo]["photo"]
        imports.append("from PIL import Image, ImageOps")
        packages += " pillow"
        height, width = found["size"]
        body += [PHOTO.format(resize=RESIZE[found["resize"]].format(width=width, height=height))]
        body += [EMBED_PHOTOS.format(part=photo, photo=found["name"])]
        call = "embed_photos(sys.argv[1:])"
    if text is not None:
        ids, mask = inputs[text]["token_ids"], inputs[text]["token_mask"]
        imports.append("from tokenizers import Tokenizer")
        packages += " tokenizers"
        body += [TEXT.format(**{key: ids[key] for key in ("tokenizer", "max_tokens", "padding_id")})]
        body += [EMBED_TEXTS.format(part=text, ids=ids["name"], mask=mask["name"])]
        call = call or "embed_texts(sys.argv[1:])"
    head = HEAD.format(packages=packages, imports="\n".join(imports) + "\n", here=json.dumps(here))
    return "\n".join([head, *body]) + USE.format(call=call)
