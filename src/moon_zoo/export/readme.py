"""The README of an exported folder, written from its contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moon_zoo.export.example import program


def readme(contract: Mapping[str, Any], folder: str) -> str:
    """Markdown: what is here, what goes in and comes out, how close it is, and a program that uses it."""
    model = contract["model"]
    lines = [
        f"# {model['source'] or folder}, exported",
        "",
        f"Networks of `{model['class_path']}` that run without moon-zoo. `contract.json` says the same as this page, "
        "for programs.",
        f"Model fingerprint: `{model['fingerprint']}`.",
        "",
        "## Files",
        "",
        "| file | what | bytes | largest difference from the model | smallest cosine | rows compared |",
        "|---|---|---|---|---|---|",
    ]
    beside: dict[str, int] = {}
    for name, part in contract["parts"].items():
        for format_name, file in part["files"].items():
            what = f"ONNX, opset {file['opset']}" if format_name == "onnx" else "torch.export"
            measured = file["parity"]
            real = f", {measured['real_rows']:,} of real samples" if measured["real_rows"] else ""
            lines.append(
                f"| `{file['file']}` | {name}, {what} | {file['bytes']:,} | {measured['max_abs_difference']:.2g} | "
                f"{measured['min_cosine']:.7f} | {measured['rows']:,}{real} |"
            )
            beside |= {extra: weights["bytes"] for extra, weights in file.get("weights", {}).items()}
        beside |= {file: found["bytes"] for file, found in part["beside"].items()}
    lines += [f"| `{file}` | needed beside the networks | {size:,} | | | |" for file, size in beside.items()]
    sizes = sorted({size for part in contract["parts"].values() for size in _batch_sizes(part)})
    lines += [
        "",
        f"Compared at batches of {', '.join(map(str, sizes))} on the CPU; differences above {contract['tolerance']:g} would "
        "have been refused. A `.pt2` is torch's own archive: load those you made or whose maker you trust.",
    ]
    for name, part in contract["parts"].items():
        lines += ["", *_part(name, part)]
    for note in dict.fromkeys(part["note"] for part in contract["parts"].values() if part["note"]):
        lines += ["", note]
    text = program(contract)
    if text is not None:
        lines += ["", "## Use it", "", "From inside this folder:", "", "```python", text.rstrip("\n"), "```"]
    made = ", ".join(f"{name} {version}" for name, version in contract["made_with"].items())
    lines += ["", f"Made with {made}.", ""]
    return "\n".join(lines)


def _batch_sizes(part: Mapping[str, Any]) -> list[int]:
    return [size for file in part["files"].values() for size in file["parity"]["batch_sizes"]]


def _part(name: str, part: Mapping[str, Any]) -> list[str]:
    lines = [f"## {name}", ""]
    for item in part["inputs"]:
        lines.append(f"- in: `{item['name']}` {item['dtype']} {_dims(item['shape'])}")
        for key, value in item.items():
            if key not in ("name", "dtype", "shape", "kind"):
                lines.append(f"  - {key.replace('_', ' ')}: {_value(value)}")
    output = part["output"]
    lines.append(f"- out: `{output['name']}` {output['dtype']} {_dims(output['shape'])}")
    if part["batch"] is not None:
        lines.append(f"- every batch has exactly {part['batch']:,} rows")
    return lines


def _dims(shape: list[Any]) -> str:
    return f"({', '.join(map(str, shape))})"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(str, value)) if len(value) == 2 and value[0] == 0 else " x ".join(map(str, value))
    return str(value)
