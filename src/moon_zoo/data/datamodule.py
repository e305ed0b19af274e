"""The one DataModule of the zoo: splits of shards to batches, in an exact order, resumable at any step.

Order and place (`moon_zoo.data.sampler`) are the same for any number of ranks and workers, so a checkpoint holds one
small state that every rank agrees on: ``{epoch, samples_seen, seed, fingerprint, window_shards}``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import lightning as L

from moon_zoo.data.cache import DEFAULT_CACHE_BYTES
from moon_zoo.data.dataset import ShardDataset, ShardLoader, shard_loader
from moon_zoo.data.impressions.block import Impressions
from moon_zoo.data.impressions.dataset import RowDataset
from moon_zoo.data.impressions.reading import is_table, open_shards
from moon_zoo.data.inputs import Inputs
from moon_zoo.data.kinds import refuse_rows
from moon_zoo.data.machine import usable_cores
from moon_zoo.data.manifest import Manifest
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.sampler import EpochSampler, Start
from moon_zoo.data.streaming import StreamedShards, is_streamed, streamed_loader
from moon_zoo.errors import DataError, UsageError

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "predict", "gallery")
_MOST_DEFAULT_WORKERS = 8


class ShardDataModule(L.LightningDataModule):
    """Shards of products, searches or impressions.

    Each split is a set of shards: its folder, its ``manifest.json``, or an fsspec URL of either. For a model that takes
    impressions and has learned already, it may be a table of raw rows (.csv, .tsv, .jsonl, .parquet). Tars without a
    manifest can be
    streamed: a path or URL of a tar, with braces for several (``shards/{000..031}.tar``); see `moon_zoo.data.streaming`
        for
    what streaming cannot do.

    Args:
        train: Shards to learn from.
        val: Shards to validate on.
        test: Shards to test on.
        predict: Shards to predict on.
        gallery: Shards of the items that queries of val and test are searched in; without it they are searched in their
            own split.
        batch_size: Samples per step on each rank.
        eval_batch_size: The same for everything but training; None takes twice ``batch_size``.
        num_workers: Processes that read and decode, per loader and rank; None takes a share of this machine's cores.
        seed: Of order and augmentation.
        window_shards: Shards that are shuffled with one another; more mixes better and touches more files at a time.
        on_error: What happens with a sample that cannot be read: ``raise``, or ``skip``, which counts it and goes on.
        cache_bytes: Room on the local disk for shards that are fetched from URLs.
        streamed_length: Samples per epoch of a streamed ``train``.
        history_log: For splits that are tables: a table of earlier events with the same columns, from whose clicks the rows'
            histories are derived by user and time.
    """

    writes_its_shards: ClassVar[bool] = False
    """Whether `prepare_data` writes the shards where they are missing, so that a check must not ask for them."""
    written_kind: str | None = None
    """Kind of the samples that it writes, for a check before they are there; None where it writes none."""

    def __init__(
        self,
        *,
        train: str | None = None,
        val: str | None = None,
        test: str | None = None,
        predict: str | None = None,
        gallery: str | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        seed: int = 0,
        window_shards: int = 4,
        on_error: Literal["raise", "skip"] = "raise",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        streamed_length: int | None = None,
        history_log: str | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
            ("window_shards", window_shards, 1),
            ("cache_bytes", cache_bytes, 1),
            ("streamed_length", streamed_length, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"{name} is {value}, but must be at least {least}", change=f"data.init_args.{name}")
        if on_error not in ("raise", "skip"):
            raise UsageError(f"on_error is {on_error!r}, but must be raise or skip", change="data.init_args.on_error")
        self.paths: dict[str, str | None] = {
            "train": train,
            "val": val,
            "test": test,
            "predict": predict,
            "gallery": gallery,
        }
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size if eval_batch_size is not None else 2 * batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.window_shards = window_shards
        self.on_error = on_error
        self.cache_bytes = cache_bytes
        self.streamed_length = streamed_length
        self.history_log = history_log
        self._inputs: Inputs | None = None
        self._shards: dict[str, Any] = {}
        self._datasets: dict[str, ShardDataset] = {}
        self._train_sampler: EpochSampler | None = None
        self._resume: Start | None = None

    # What is read -------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> Inputs:
        """What turns samples into tensors: the model's, or what was set here where there is no trainer."""
        inputs = self._known_inputs()
        if inputs is None:
            raise RuntimeError("no inputs: attach a trainer with a model, or set `datamodule.inputs`")
        return inputs

    @inputs.setter
    def inputs(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def shards(self, split: str) -> Any:
        """The shards of a split (`SPLITS`), for reading by position: `IndexedShards`, or `RowShards` and `TableRows` of
        impressions.

        Raises:
            DataError: The split has none, they cannot be read, or the model takes another kind.
        """
        if split not in self._shards:
            path = self._path(split)
            if is_streamed(path):
                raise DataError(
                    f"{path} is streamed, so its samples have no positions",
                    where=_option(split),
                    change=f"run moon-zoo inspect --index on its folder, and name that in {_option(split)}",
                )
            schema = getattr(self._known_inputs(), "schema", None)
            try:
                shards = open_shards(path, schema=schema, history_log=self.history_log, cache_bytes=self.cache_bytes)
            except DataError as error:
                if not is_table(path):
                    raise
                # What reads tables knows no options.
                change = _option(split) if error.change in (None, "path") else error.change
                where = error.where or path
                where = where if "data.init_args" in where else f"{where}  ({_option(split)})"
                raise DataError(error.what, where=where, change=change, suggestions=error.suggestions) from error
            self._check_kind(split, shards.manifest.kind)
            self._shards[split] = shards
        return self._shards[split]

    def vocabularies(self, split: str) -> dict[str, Any]:
        """Vocabularies of what a split's queries are searched in: the gallery's, or its own; empty for streamed shards."""
        searched = split if self.paths["gallery"] is None else "gallery"
        path = self.paths[searched]
        return {} if path is None or is_streamed(path) else self.shards(searched).manifest.vocabularies

    def train_batches(self) -> int:
        """Steps of a whole epoch of training on each rank, wherever a resumed one begins.

        Raises:
            DataError: Training is streamed without a length.
        """
        if is_streamed(self._path("train")):
            if self.streamed_length is None:
                raise DataError(
                    "an epoch of streamed shards has no known length", change="data.init_args.streamed_length"
                )
            samples = self.streamed_length
        else:
            samples = len(self.shards("train"))
        return samples // (self.batch_size * self._rank_and_world()[1])

    # Lightning's hooks --------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Open the manifests this stage reads; before training, let the inputs learn what they need."""
        wanted = {
            "fit": ("train", "val", "gallery"),
            "validate": ("val", "gallery"),
            "test": ("test", "gallery"),
            "predict": ("predict",),
        }[stage]
        for split in wanted:
            path = self.paths[split]
            if path is None or is_table(path):
                continue  # a table is read when its rows are wanted: its columns may come with a checkpoint still to be loaded
            if not is_streamed(path):
                self.shards(split)
            elif tuple(getattr(self._model(), "sample_kinds", ())) == (Impressions.kind,):
                refuse_rows(Impressions.kind, f"{_option(split)} = {path}")
        if stage == "fit":
            self._fit_inputs()

    def train_dataloader(self) -> Any:
        """Batches of training, from where a resumed run left off."""
        path = self._path("train")
        if is_streamed(path):
            if self.trainer is not None and self.trainer.fit_loop.epoch_loop.batch_progress.current.processed > 0:
                log.warning("%s is streamed: the epoch that was interrupted begins again with other samples", path)
            return self._streamed("train", training=True)
        shards = self.shards("train")
        rank, world = self._rank_and_world()
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        sampler = EpochSampler(
            shards.manifest.shard_sizes,
            batch_size=self.batch_size,
            rank=rank,
            world=world,
            training=True,
            seed=self.seed,
            window_shards=self.window_shards,
            start=self._resume if self._resume is not None else Start(epoch, 0),
        )
        if sampler.num_batches == 0:
            raise DataError(
                f"{len(shards)} samples do not fill one step of {self.batch_size} on {world} rank(s)",
                where=f"{_option('train')} = {path}",
                change="data.init_args.batch_size",
            )
        self._resume = None
        self._train_sampler = sampler
        return self._loader("train", sampler, training=True)

    def val_dataloader(self) -> Any:
        """Batches of validation; with a gallery, ``[queries, gallery]``."""
        return self._eval_loaders("val")

    def test_dataloader(self) -> Any:
        """Batches of the test; with a gallery, ``[queries, gallery]``."""
        return self._eval_loaders("test")

    def predict_dataloader(self) -> Any:
        """Batches to predict on."""
        return self._eval_loader("predict")

    def teardown(self, stage: str) -> None:
        """Report what was skipped, and close files."""
        for split, dataset in self._datasets.items():
            if dataset.skipped:
                log.warning(
                    "%d samples of %s could not be read and were skipped on this rank (data.init_args.on_error "
                    "is skip)",
                    dataset.skipped,
                    split,
                )
        self._datasets.clear()
        for shards in self._shards.values():
            shards.close()

    # Going on after a break ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where training stands, the same on every rank."""
        place = self._place()
        if place is None:
            return {}
        return {
            "epoch": place.epoch,
            "samples_seen": place.offset,
            "seed": self.seed,
            "fingerprint": self.shards("train").manifest.fingerprint,
            "window_shards": self.window_shards,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint stands.

        Raises:
            DataError: The checkpoint's order was of other shards, another seed or another window.
        """
        path = self.paths["train"]
        if not state_dict or not self._fitting() or path is None or is_streamed(path):
            return
        self._check_same_order(state_dict)
        self._resume = self._normal(Start(int(state_dict["epoch"]), int(state_dict["samples_seen"])))

    def align_progress(self, checkpoint: dict[str, Any]) -> None:
        """Translate Lightning's count of batches in the current epoch to this number of ranks and this batch size.

        Lightning counts batches, which mean other samples once ranks or batch size change. Its counter is set so that a
        whole epoch minus the counter is what is left to draw. Called before Lightning loads its loops.
        """
        state = checkpoint.get(type(self).__qualname__)
        loops = checkpoint.get("loops", {}).get("fit_loop")
        path = self.paths["train"]
        if not state or loops is None or not self._fitting() or path is None or is_streamed(path):
            return
        epochs = loops["epoch_progress"]["current"]
        if state["epoch"] < epochs["processed"]:
            # Stopped by max_steps in mid-epoch, which Lightning books as the epoch's end: what is resumed is its rest.
            epochs["processed"] = epochs["completed"] = state["epoch"]
            epochs["ready"] = epochs["started"] = state["epoch"] + 1
        progress = loops["epoch_loop.batch_progress"]
        current = progress["current"]
        batch = self.batch_size * self._rank_and_world()[1]
        samples = len(self.shards("train"))
        whole, left = samples // batch, (samples - state["samples_seen"]) // batch
        if state["epoch"] > epochs["processed"] or (state["samples_seen"] == 0 and current["processed"] > 0):
            left = 0  # the epoch is over; only its end is not booked yet
        shift = (whole - left) - current["processed"]
        if shift == 0:
            return
        # All counters move together: by how much `completed` lags tells Lightning in which hook the checkpoint was
        # made.
        for name in ("ready", "started", "processed", "completed"):
            current[name] += shift
        progress["is_last_batch"] = left == 0

    def _place(self) -> Start | None:
        """Where training stands: the epoch, and how many of its samples are done over all ranks."""
        sampler = self._train_sampler
        if sampler is None or sampler.begun is None or self.trainer is None:
            return self._resume
        loop = self.trainer.fit_loop
        counts = loop.epoch_loop.batch_progress.current
        # A checkpoint made in the middle of a step, by an exception: that batch was taken but not learned from.
        done = max(sampler.taken - max(counts.ready - counts.processed, 0), 0)
        begun = sampler.begun
        before = sampler.num_batches - sampler.batches_after(begun.offset)
        if before + done >= min(sampler.num_batches, self.trainer.num_training_batches):
            return Start(begun.epoch + 1, 0)
        return Start(begun.epoch, begun.offset + done * sampler.global_batch)

    def _normal(self, start: Start) -> Start:
        """The same place; what is left of an epoch but fills no step is dropped, as at the end of any epoch."""
        left = len(self.shards("train")) - start.offset
        return start if left >= self.batch_size * self._rank_and_world()[1] else Start(start.epoch + 1, 0)

    def _check_same_order(self, state: dict[str, Any]) -> None:
        shards = self.shards("train")
        alone = "or start a new run from the checkpoint's weights alone"
        if state["fingerprint"] != shards.manifest.fingerprint:
            raise DataError(
                "the checkpoint was trained on other shards, so its place in the epoch means nothing here: fingerprint "
                f"{state['fingerprint'][:12]} there, {shards.manifest.fingerprint[:12]} here",
                where=f"{_option('train')} = {self.paths['train']}",
                change=f"{_option('train')} to the shards of the run that is resumed, {alone}",
            )
        for name in ("seed", "window_shards"):
            if state[name] != getattr(self, name):
                raise DataError(
                    f"the checkpoint was trained with {name} {state[name]}, here it is {getattr(self, name)}: "
                    "the order of samples would be another, and some would come twice",
                    where=f"data.init_args.{name}",
                    change=f"data.init_args.{name} to {state[name]}, {alone}",
                )

    # Helpers ------------------------------------------------------------------------------------------------------

    def _loader(self, split: str, sampler: EpochSampler, training: bool) -> ShardLoader:
        shards = self.shards(split)
        dataset = (ShardDataset if isinstance(shards, IndexedShards) else RowDataset)(
            shards,
            self.inputs,
            training=training,
            seed=self.seed,
            on_error=self.on_error,
            option=f"{_option(split)} = {self.paths[split]}",
        )
        self._datasets[split] = dataset
        return shard_loader(
            dataset,
            sampler,
            num_workers=self._worker_count(),
            pin_memory=self._on_cuda(),
            # Evaluation is rare and its workers start in milliseconds; idle ones would hold memory all through
            # training.
            persistent=training,
        )

    def _eval_loader(self, split: str) -> Any:
        if is_streamed(self._path(split)):
            return self._streamed(split, training=False)
        rank, world = self._rank_and_world()
        sizes = self.shards(split).manifest.shard_sizes
        sampler = EpochSampler(sizes, batch_size=self.eval_batch_size, rank=rank, world=world)
        return self._loader(split, sampler, training=False)

    def _eval_loaders(self, split: str) -> Any:
        if self.paths[split] is None and split == "val":
            # Training without validation, which Lightning would call a likely mistake.
            warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")
            return []
        queries = self._eval_loader(split)
        return queries if self.paths["gallery"] is None else [queries, self._eval_loader("gallery")]

    def _streamed(self, split: str, training: bool) -> Any:
        rank, world = self._rank_and_world()
        shards = StreamedShards(self._path(split), option=_option(split), check_kind=self._kind_checker(split))
        return streamed_loader(
            shards,
            self.inputs,
            batch_size=self.batch_size if training else self.eval_batch_size,
            rank=rank,
            world=world,
            training=training,
            length=self.streamed_length if training else None,
            seed=self.seed,
            on_error=self.on_error,
            num_workers=self._worker_count(),
            pin_memory=self._on_cuda(),
        )

    def _fit_inputs(self) -> None:
        """Let the inputs learn from the training shards on one rank, and all ranks take what it learned."""
        path = self._path("train")
        inputs, trainer = self.inputs, self.trainer
        samples: Iterator[Any]
        if is_streamed(path):
            streamed = StreamedShards(path, option=_option("train"), check_kind=self._kind_checker("train"))
            samples, manifest = streamed.samples(), Manifest(kind="product", shards=[])
        else:
            shards = self.shards("train")
            samples, manifest = iter(shards), shards.manifest
        if trainer is None or trainer.world_size == 1:
            inputs.fit(samples, manifest)
            return
        error: Exception | None = None
        if trainer.global_rank == 0:
            try:
                inputs.fit(samples, manifest)
            except DataError as caught:
                error = caught  # told to all ranks: the others would wait for ever
        state, error = trainer.strategy.broadcast((None if error else inputs.state_dict(), error))
        if error is not None:
            raise error
        inputs.load_state_dict(state)

    def _path(self, split: str) -> str:
        if split not in self.paths:
            raise UsageError(f"unknown split {split!r}; splits are {', '.join(SPLITS)}")
        path = self.paths[split]
        if path is None:
            raise DataError(f"no shards are given for {split}", change=f"{_option(split)}, to a folder of shards")
        return path

    def _known_inputs(self) -> Any:
        return self._inputs if self._inputs is not None else getattr(self._model(), "inputs", None)

    def _model(self) -> Any:
        return None if self.trainer is None else self.trainer.lightning_module

    def _kind_checker(self, split: str) -> Any:
        model, kinds = type(self._model()).__name__, tuple(getattr(self._model(), "sample_kinds", ()))

        def check(kind: str) -> None:
            _check_kind(split, kind, model, kinds)

        return check

    def _check_kind(self, split: str, kind: str) -> None:
        self._kind_checker(split)(kind)

    def _rank_and_world(self) -> tuple[int, int]:
        # Ranks that share data (tensor parallel) count as one; the strategy knows.
        split = self.trainer.distributed_sampler_kwargs if self.trainer is not None else None
        return (0, 1) if split is None else (int(split["rank"]), int(split["num_replicas"]))

    def _fitting(self) -> bool:
        return self.trainer is None or self.trainer.state.fn == "fit"

    def _on_cuda(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _worker_count(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        cores = usable_cores()
        here = self.trainer.num_devices if self.trainer is not None else 1
        # Without an accelerator the model wants the cores as well: half for each.
        share = cores // here if self._on_cuda() else cores // here // 2
        return min(max(share, 1), _MOST_DEFAULT_WORKERS)


def _option(split: str) -> str:
    return f"data.init_args.{split}"


def _check_kind(split: str, kind: str, model: str, kinds: tuple[str, ...]) -> None:
    if kinds and kind not in kinds:
        raise DataError(
            f"{model} takes samples of kind {' or '.join(kinds)}, but these shards hold kind {kind}",
            where=_option(split),
            change=f"{_option(split)}, to shards of kind {' or '.join(kinds)}",
        )
