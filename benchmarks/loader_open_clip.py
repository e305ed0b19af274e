"""open_clip's training loader over tars of photos; runs in the peers' environment and imports nothing of moon_zoo.

The pipeline is the one that comes with the package (`open_clip_train.data.get_wds_dataset`) with its own training
transform; only the crop's scale is set, to the one that moon_zoo is measured with. Captions go through a tokenizer
that costs nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from types import SimpleNamespace

import torch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", help="braced pattern of tars with KEY.jpg and KEY.txt")
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--scale", type=float, required=True, help="smallest share of the area a crop keeps")
    options = parser.parse_args()

    from open_clip import image_transform
    from open_clip_train.data import get_wds_dataset

    args = SimpleNamespace(
        train_data=options.shards,
        train_num_samples=options.samples,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        batch_size=options.batch_size,
        workers=options.workers,
        world_size=1,
        seed=0,
    )
    transform = image_transform(options.size, is_train=True, aug_cfg={"scale": (options.scale, 1.0)})
    nothing = torch.zeros(1, 1, dtype=torch.int64)
    loader = get_wds_dataset(args, transform, is_train=True, tokenizer=lambda text: nothing).dataloader
    for _ in loader:  # the first epoch starts the workers, which stay for the second
        pass
    began = time.perf_counter()
    counted = sum(len(images) for images, _ in loader)
    print(json.dumps({"samples_per_second": counted / (time.perf_counter() - began), "samples": counted}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
