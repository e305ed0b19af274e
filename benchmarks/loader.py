"""Training samples per second: moon_zoo's loader, open_clip's, and the bare decoding of the same photos.

All three run one after the other, in turn, each in processes of its own: two workers, random resized crops (half to
all of the area) to 224 px. moon_zoo and open_clip read the same photos from tars, each in its own layout of members;
moon_zoo hands over uint8 photos, mirrored half of the time, to be normalised on the device, open_clip normalised
float32 ones. The limit is what two processes reach that hold the photos in memory and do nothing but decode and
resize them.

Also here: photos per second of `moon-zoo pack` on a folder of photos, and of the simulated shop.

Run `python benchmarks/loader.py --quick` for a check that takes a minute, `python benchmarks/run.py loader` for the
figures.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _harness import OURS, Row, compare, warn_if_busy, write_rows

HERE = Path(__file__).parent
PEER, LIMIT = "open_clip 3.3.0 (webdataset 0.2.86)", "bare decoding"
WORKERS = 2
SIZE = 224
BATCH = 64
SCALE = (0.5, 1.0)
DISTINCT = 128
"""Different photos per set; they recur under other keys. All are in memory anyway: the loader is measured, not the disk."""
PER_SHARD = 256


@dataclass(frozen=True, slots=True)
class Case:
    """One size of photos.

    Args:
        side: Of the photos, in pixels.
        samples: Photos in the set, an epoch.
        goal: Ratio to open_clip that the project has set itself.
    """

    side: int
    samples: int
    goal: float


CASES = (Case(350, 8192, 4.5), Case(800, 2560, 3.0))
QUICK_CASES = (Case(350, 1536, 4.5), Case(800, 1024, 3.0))
GOAL_OF_LIMIT = 0.8
PACK_GOAL, SHOP_GOAL = 400.0, 300.0
SHOP_PRODUCTS = 400


# The data -------------------------------------------------------------------------------------------------------------


def write_sets(folder: Path, case: Case) -> None:
    """The photos in three forms: files, our shards, and tars in the layout that open_clip reads."""
    import webdataset

    from _photos import make_photo
    from moon_zoo.data.kinds import Product
    from moon_zoo.data.writing import ShardWriter

    photos = [make_photo(case.side, seed) for seed in range(min(DISTINCT, case.samples))]
    (folder / "files").mkdir(parents=True)
    for number, photo in enumerate(photos):
        (folder / "files" / f"{number:06d}.jpg").write_bytes(photo)
    with ShardWriter(folder / "zoo", kind="product", max_samples=PER_SHARD) as writer:
        for number in range(case.samples):
            product = Product(str(number), title=f"photo {number}", photos=[photos[number % len(photos)]])
            writer.write(f"{number:06d}", product)
    (folder / "open_clip").mkdir()
    with webdataset.ShardWriter(str(folder / "open_clip" / "%06d.tar"), maxcount=PER_SHARD, verbose=0) as tars:
        for number in range(case.samples):
            photo = photos[number % len(photos)]
            tars.write({"__key__": f"{number:06d}", "jpg": photo, "txt": f"photo {number}"})


# One run of each, in a process of its own -----------------------------------------------------------------------------


class PhotoInputs:
    """The photo alone: what is measured is the loader, not a tokenizer."""

    def __init__(self, size: int) -> None:
        from moon_zoo.data.transforms import PhotoTransform

        self.transform = PhotoTransform(size, crop_scale=SCALE)

    def fit(self, samples: Any, manifest: Any) -> None:
        pass

    def sample(self, sample: Any, draw: Any) -> dict[str, Any]:
        return {"photo": self.transform(sample.photos[0], draw)}

    def batch(self, samples: Any) -> dict[str, Any]:
        from moon_zoo.data.inputs import stack

        return stack(samples)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def run_ours(folder: Path, case: Case) -> float:
    """Samples per second of `ShardDataModule`'s training loader."""
    from moon_zoo.data.datamodule import ShardDataModule

    data = ShardDataModule(train=str(folder / "zoo"), batch_size=BATCH, num_workers=WORKERS)
    data.inputs = PhotoInputs(SIZE)
    data.setup("fit")
    return second_epoch_rate(data.train_dataloader())


def second_epoch_rate(loader: Any) -> float:
    """Samples per second of the second epoch, from its first request to its last batch.

    The first epoch starts the workers, which stay. A clock that starts in mid-epoch would count batches that were decoded
    before it started and lay in the queue: of a short epoch that is half of all.
    """
    for _ in loader:
        pass
    began = time.perf_counter()
    counted = sum(len(batch["photo"]) for batch in loader)
    return counted / (time.perf_counter() - began)


def run_limit(folder: Path, case: Case) -> float:
    """Photos per second of `WORKERS` processes that only decode and resize; the better of two ways to do it."""
    return max(_in_processes(folder, case, decode) for decode in (_decode_ours, _decode_torchvision))


def _in_processes(folder: Path, case: Case, decode: Callable[[bytes, Any], Any]) -> float:
    context = multiprocessing.get_context("fork")
    results, start = context.Queue(), context.Barrier(WORKERS)
    arguments = (folder, case.samples // (2 * WORKERS), decode, results, start)
    processes = [context.Process(target=_decode_all, args=(*arguments, seed)) for seed in range(WORKERS)]
    for process in processes:
        process.start()
    rate = sum(results.get() for _ in processes)
    for process in processes:
        process.join()
    return rate


def _decode_all(
    folder: Path, count: int, decode: Callable[[bytes, Any], Any], results: Any, start: Any, seed: int
) -> None:
    import torch

    from moon_zoo.data.images import photo_size, random_box

    torch.set_num_threads(1)
    photos = [path.read_bytes() for path in sorted((folder / "files").iterdir())]
    boxes = [random_box(*photo_size(photo), torch.Generator().manual_seed(seed), scale=SCALE) for photo in photos]
    decode(photos[0], boxes[0])
    start.wait()
    began = time.perf_counter()
    for number in range(count):
        decode(photos[number % len(photos)], boxes[number % len(photos)])
    results.put(count / (time.perf_counter() - began))


def _decode_ours(photo: bytes, box: Any) -> Any:
    from moon_zoo.data.images import decode_photo

    return decode_photo(photo, SIZE, mode="squash", box=box)


def _decode_torchvision(photo: bytes, box: Any) -> Any:
    """The plain way: the whole photo at full size, the crop, torch's antialiased uint8 kernel."""
    import torch
    from torch.nn.functional import interpolate
    from torchvision.io import ImageReadMode, decode_jpeg

    pixels = decode_jpeg(torch.frombuffer(bytearray(photo), dtype=torch.uint8), mode=ImageReadMode.RGB)
    height, width = pixels.shape[1:]
    left, top, right, bottom = (round(edge * side) for edge, side in zip(box, (width, height) * 2))
    crop = pixels[None, :, top:bottom, left:right].contiguous(memory_format=torch.channels_last)
    return interpolate(crop, (SIZE, SIZE), mode="bilinear", antialias=True)


def run_peer(folder: Path, case: Case, python: str) -> float:
    """Samples per second of open_clip's loader, by the interpreter of the peers' environment."""
    last = -(-case.samples // PER_SHARD) - 1
    words = [python, HERE / "loader_open_clip.py", f"{folder}/open_clip/{{000000..{last:06d}}}.tar"]
    options = {"samples": case.samples, "batch-size": BATCH, "workers": WORKERS, "size": SIZE, "scale": SCALE[0]}
    words += [word for name, value in options.items() for word in (f"--{name}", value)]
    return float(_json_of([str(word) for word in words])["samples_per_second"])


def peer_python() -> str:
    """The interpreter of open_clip's environment, which is made and filled if it is not there."""
    requirements = HERE / "requirements-open_clip.txt"
    folder = HERE.parent / ".venv-bench-open_clip"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not (stamp.is_file() and stamp.read_text() == requirements.read_text()):
        print(f"setting up {folder.name} from {requirements.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", str(requirements)], check=True)
        stamp.write_text(requirements.read_text())
    return str(python)


def run_pack(folder: Path, case: Case) -> float:
    """Photos per second of `moon-zoo pack table` on a folder of photos, without resizing."""
    names = sorted(path.name for path in (folder / "files").iterdir())
    rows = "".join(f"{number},photo {number},{names[number % len(names)]}\n" for number in range(case.samples))
    (folder / "table.csv").write_text("item_id,title,photo\n" + rows)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        words = ["table", str(folder / "table.csv"), "--photo-root", str(folder / "files"), "--to", out + "/set"]
        return float(
            _json_of([sys.executable, "-m", "moon_zoo.cli.main", "pack", *words, "--json"])["photos_per_second"]
        )


def run_shop(folder: Path, products: int) -> float:
    """Photos per second of the simulated shop, drawn and written."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        words = ["shop", "--num-products", str(products), "--to", out + "/shop", "--json"]
        return float(_json_of([sys.executable, "-m", "moon_zoo.cli.main", "pack", *words])["photos_per_second"])


def _json_of(words: list[str]) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout[done.stdout.index("{") :])


def in_fresh_process(what: str, folder: Path, case: Case) -> float:
    """`run_ours` or `run_limit` in a new interpreter, so that no run inherits threads or caches of another."""
    words = [sys.executable, __file__, "--only", what, str(folder), str(case.side), str(case.samples)]
    return float(_json_of(words)["samples_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few photos, three rounds, no CSV: whether it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", help="interpreter that has open_clip; made on first use when not given")
    parser.add_argument("--only", nargs=4, metavar=("WHAT", "FOLDER", "SIDE", "SAMPLES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        what, folder, side, samples = options.only
        rate = {"ours": run_ours, "limit": run_limit}[what](Path(folder), Case(int(side), int(samples), 0))
        print(json.dumps({"samples_per_second": rate}))
        return
    warn_if_busy()
    cases, rounds = (QUICK_CASES, 3) if options.quick else (CASES, options.rounds)
    peer = options.peer_python or peer_python()
    rows = [row for case in cases for row in measure(case, rounds, peer)]
    rows += measure_writing(cases[0], rounds)
    if options.quick:
        for row in rows:
            print(f"{row.case}: {row.peer} {row.median} {row.unit} ({row.spread}) {row.ratio}")
    else:
        write_rows("loader", rows)


def measure(case: Case, rounds: int, peer_python: str) -> list[Row]:
    """One size of photos: ours beside open_clip and beside bare decoding."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sets(root, case)
        runs: dict[str, Callable[[], float]] = {
            OURS: partial(in_fresh_process, "ours", root, case),
            PEER: partial(run_peer, root, case, peer_python),
            LIMIT: partial(in_fresh_process, "limit", root, case),
        }
        return compare(
            f"{case.side} px photos to {SIZE} px, crops of {SCALE[0]:.0%} to {SCALE[1]:.0%}, {WORKERS} workers",
            rates_in_turns(runs, rounds),
            unit="samples/s",
            targets={PEER: f">= {case.goal}", LIMIT: f">= {GOAL_OF_LIMIT}"},
            packages=("torchvision", "pillow"),
        )


def measure_writing(case: Case, rounds: int) -> list[Row]:
    """Packing a folder of photos, and the simulated shop."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sets(root, case)
        runs = {"pack": partial(run_pack, root, case), "shop": partial(run_shop, root, SHOP_PRODUCTS)}
        rates = rates_in_turns(runs, rounds)
    cases = {"pack": (f"pack of {case.side} px photos, no resizing", PACK_GOAL), "shop": ("simulated shop", SHOP_GOAL)}
    return [
        row
        for name, (title, goal) in cases.items()
        for row in compare(title, {OURS: rates[name]}, unit="photos/s", targets={OURS: f">= {goal:.0f}"})
    ]


def rates_in_turns(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each run returns, taken in turns; another begins every round.

    The harness's `alternate` times calls; these time themselves, since starting a process is no part of the figure.
    """
    rates: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            rates[name].append(runs[name]())
    return rates


if __name__ == "__main__":
    main()
