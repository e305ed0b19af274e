"""Where a run was made: versions, processor, accelerators. For the card of its checkpoint; names no host, user or folder."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from moon_zoo.data.machine import usable_cores

PACKAGES = ("moon-zoo", "torch", "lightning", "timm", "transformers")


def environment() -> dict[str, Any]:
    """Versions and hardware, as plain values.

    Returns:
        ``python``, ``packages`` (name to version), ``platform``, ``machine``, ``cpu``, ``cores`` (those this process may use)
        and ``gpus`` (names).
    """
    import torch

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",  # what follows names a build
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": usable_cores(),
        "gpus": gpus,
    }


def write_environment(path: Path) -> None:
    """Write `environment` as JSON."""
    path.write_text(json.dumps(environment(), indent=2) + "\n", "utf-8")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """The processor's name: Linux keeps it in a file of its own, elsewhere Python knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")
