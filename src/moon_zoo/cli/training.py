"""The part of `train` that needs torch: LightningCLI, the trainer's defaults, the run and its report."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from moon_zoo import recipe_yaml, recipes
from moon_zoo.cli import checkpoints, run_folder
from moon_zoo.cli.callbacks import KeepBest, ProgressBar, TextProgress, ValidateAtTheEnd, figures, logged
from moon_zoo.cli.checks import annotated, refused, require_devices, require_readable
from moon_zoo.cli.environment import write_environment
from moon_zoo.cli.interrupt import StopOnSignal, Stopped
from moon_zoo.cli.metrics_log import MetricsLog
from moon_zoo.cli.output import is_terminal, print_json, print_table, say
from moon_zoo.cli.predictions import WritePredictions
from moon_zoo.cli.train import EXIT_INTERRUPTED, Job, command_line
from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.machine import keep_freed_memory
from moon_zoo.errors import CheckpointError, RecipeError, ZooError
from moon_zoo.models import pretrained
from moon_zoo.models.base import GalleryRow, ZooModule
from moon_zoo.reports import summary

TRAINER_DEFAULTS: dict[str, Any] = {
    "enable_model_summary": False,  # one line says the model's size
    "log_every_n_steps": 10,
    "use_distributed_sampler": False,  # the data module splits samples among ranks itself, exactly
}
"""Where the zoo's Trainer differs from Lightning's; a recipe may say otherwise."""

NEEDLESS_WARNINGS = (
    ".*does not have many workers.*",
    ".*Your `IterableDataset` has `__len__` defined.*",  # streamed sets know theirs from their manifest
    ".*exists and is not empty.*",
    ".*is smaller than the logging interval.*",
    r".*module\(s\) in eval mode at the start of training.*",  # frozen parts, on purpose
    ".*was signaled to stop but.*",
    ".*Trainer already configured with model summary.*",
    ".*lightning.ai.*litlogger.*",
    ".*sync_dist=True.*on epoch level.*",  # our figures are computed from all ranks' rows already
    ".*callbacks used to create the checkpoint need to be provided.*",
    ".*The dirpath has changed from.*",  # a checkpoint of another run's folder
    ".*LeafSpec.*",
    ".*`isinstance\\(treespec.*",
    ".*resume training from a checkpoint that ended before the epoch ended.*",  # our loaders resume exactly
    ".*resuming from a checkpoint that ended before the epoch ended.*",
)
"""Lightning's remarks that a user of the zoo can do nothing about."""


class ZooCLI(LightningCLI):
    """LightningCLI fed with a merged recipe instead of the command line.

    Args:
        recipe: The recipe.
        callbacks: The run's own callbacks.
        logger: The run's own logger; the recipe's come beside it.
        trainer_options: Settings that count where the recipe has none, such as the run's folder.
        keep_best_in: Folder of the checkpoints.
    """

    def __init__(
        self,
        recipe: recipes.Recipe,
        callbacks: list[Callback],
        logger: MetricsLog,
        trainer_options: dict[str, Any],
        *,
        keep_best_in: Path,
    ) -> None:
        self.recipe = recipe
        self.keep_best_in = keep_best_in
        self.zoo_callbacks = callbacks
        self.zoo_logger = logger
        self.trainer_options = trainer_options
        super().__init__(
            ZooModule,
            ShardDataModule,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            parser_kwargs={"exit_on_error": False},
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=recipe.values,
            run=False,
            auto_configure_optimizers=False,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the recipe; LightningCLI's own would warn about the words in sys.argv."""
        from jsonargparse import ArgumentError

        try:
            self.config = parser.parse_object(args)
        except (ArgumentError, TypeError, ValueError, KeyError) as error:
            raise refused(error, self.recipe) from error

    def instantiate_classes(self) -> None:
        """Build data module, model and trainer; what their constructors refuse is a mistake in the recipe."""
        try:
            super().instantiate_classes()
        except (ValueError, MisconfigurationException) as error:
            raise refused(error, self.recipe) from error

    def instantiate_trainer(self, **_: Any) -> Trainer:
        """The recipe's trainer with the run's logger and callbacks."""
        config = dict(self.config_init["trainer"].items())
        theirs = config.get("logger")
        theirs = [] if theirs in (None, True, False) else theirs if isinstance(theirs, list) else [theirs]
        callbacks = config.get("callbacks") or []
        callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        options = {name: value for name, value in self.trainer_options.items() if config.get(name) is None}
        mode = "max" if summary.better(self.model.primary_metric) == "higher" else "min"
        # Also for test and predict: Lightning would else complain that a callback of the checkpoint is missing.
        self.keep = KeepBest(self.keep_best_in, self.model.primary_metric, mode)
        if config.get("enable_checkpointing") is not False:
            callbacks = [*callbacks, self.keep]
        return Trainer(
            **config | options | {"logger": [self.zoo_logger, *theirs], "callbacks": [*callbacks, *self.zoo_callbacks]}
        )

    def config_text(self) -> str:
        """The whole configuration, every default written out, as YAML that `moon-zoo` reads again."""
        # jsonargparse turns a text such as "1e3" into a number when it dumps; what the recipe says is kept as it is.
        whole = recipe_yaml.parse(self.parser.dump(self.config, skip_none=False), "config.yaml")
        given = {key: node for key, node in self.recipe.tree.value.items() if key != "seed_everything"}
        return recipe_yaml.dump(recipes.merge(whole, recipe_yaml.Node(given, self.recipe.tree.origin)).plain())


def run(job: Job) -> int:
    """Carry a job out."""
    _quieten()
    stop = StopOnSignal(job.folder.last)
    with stop:
        try:
            require_devices(job.recipe)
            if job.checkpoint is not None:
                require_readable(job.checkpoint)
            return _run(job, stop)
        except ZooError as error:
            _forget(job)
            raise annotated(error, job.recipe) from error
        except Stopped:
            return _stopped(job)
        except SystemExit:
            # Lightning's way to end after a KeyboardInterrupt
            raise KeyboardInterrupt from None


def _run(job: Job, stop: StopOnSignal) -> int:
    keep_freed_memory()
    fitting = job.verb == "fit"
    show = not job.options.quiet
    callbacks: list[Callback] = [ValidateAtTheEnd(), stop] if fitting else []
    writer = WritePredictions(job.folder.path, job.options.output) if job.verb == "predict" else None
    if writer is not None:
        callbacks.append(writer)
    bar = show and sys.stderr.isatty()
    if bar:
        callbacks.append(ProgressBar(leave=False, console_kwargs={"stderr": True}))
    elif show and fitting:
        callbacks.append(TextProgress())
    options = {"default_root_dir": str(job.folder.path), "enable_progress_bar": bar}
    log = MetricsLog(job.folder.path, training=fitting)
    cli = ZooCLI(job.recipe, callbacks, log, options, keep_best_in=job.folder.checkpoints)
    trainer, model, data = cli.trainer, cli.model, cli.datamodule
    if trainer.is_global_zero:
        _write_config(job, cli)
        if show:
            _announce(job, model)
    if job.checkpoint is not None and _gives_weights_alone(job):
        pretrained.load_into(model, job.checkpoint, allow_missing=getattr(job.options, "allow_missing", False))
        _carry_out(job, cli, None)
    else:
        _carry_out(job, cli, str(job.checkpoint) if job.checkpoint is not None else None)
    if not trainer.is_global_zero:
        return 0
    if writer is not None:
        return _tell_predictions(job, writer)
    final = (cli.keep.figures or figures(trainer)) if fitting else logged(trainer)
    gallery = cli.keep.gallery if fitting and cli.keep.gallery else model.gallery_rows()
    report = cli.keep.report if fitting and cli.keep.report else model.report_data()
    return _tell_figures(job, final, gallery, report, data)


def _gives_weights_alone(job: Job) -> bool:
    """Whether the checkpoint has no state of a training, or one of another model: its optimiser has fewer weights."""
    return job.checkpoint is not None and (
        checkpoints.is_model(job.checkpoint) or getattr(job.options, "allow_missing", False)
    )


def _carry_out(job: Job, cli: ZooCLI, checkpoint: str | None) -> None:
    arguments: dict[str, Any] = {"datamodule": cli.datamodule, "ckpt_path": checkpoint, "weights_only": True}
    if job.verb == "predict":
        arguments["return_predictions"] = False
    elif job.verb != "fit":
        arguments["verbose"] = False
    try:
        getattr(cli.trainer, job.verb)(cli.model, **arguments)
    except MisconfigurationException as error:
        raise RecipeError(_first_line(error), where=job.recipe.name, change="the recipe") from error
    except CheckpointError as error:
        if checkpoint is None or error.where != pretrained.UNNAMED:
            raise
        raise CheckpointError(error.what, where=checkpoint, change=error.change) from error
    except Exception as error:
        if checkpoint is not None and _is_about_loading(error):
            raise CheckpointError(
                f"{checkpoint} does not fit this recipe's model: {_first_line(error)}",
                change="--ckpt_path or --run; or the model's settings, to those it was trained with",
            ) from error
        raise


def _is_about_loading(error: Exception) -> bool:
    import pickle

    text = str(error)
    return isinstance(error, (pickle.UnpicklingError, EOFError)) or (
        isinstance(error, RuntimeError) and ("loading state_dict" in text or "PytorchStreamReader" in text)
    )


def _write_config(job: Job, cli: ZooCLI) -> None:
    if job.verb != "fit" and job.folder.config.exists():
        return
    job.folder.path.mkdir(parents=True, exist_ok=True)
    before = job.folder.commands() if getattr(job.options, "resume", False) else []
    made_by = "".join(f"# {command}\n" for command in [*before, command_line(job.verb, *job.words)])
    job.folder.config.write_text(made_by + cli.config_text(), "utf-8")
    if job.verb == "fit":
        write_environment(job.folder.environment)


def _announce(job: Job, model: ZooModule) -> None:
    size = sum(parameter.numel() for parameter in model.parameters())
    # a network that depends on the data is made when they are read
    about = f"{size / 1e6:.2f} M parameters" if size > 0 else "its size depends on the data"
    say(f"{type(model).__name__}: {about}")
    say(f"run: {job.folder.path}" + (f"   checkpoint: {job.checkpoint}" if job.checkpoint is not None else ""))
    if job.verb != "fit" and job.checkpoint is None:
        say("no checkpoint: the model is as the recipe starts it")
    if job.verb == "fit" and _gives_weights_alone(job):
        say("it starts with that checkpoint's weights and tokenizer, and with a new optimiser")


def _tell_figures(
    job: Job, final: dict[str, float], gallery: list[GalleryRow], report: dict[str, Any], data: Any
) -> int:
    summary.write_metrics(job.folder.metrics_json, final)
    from moon_zoo.reports.run_report import write_report

    pictures = write_report(job.folder.path, gallery, data.shards, report, curves=job.verb == "fit")
    if job.options.json:
        print_json(final)
        return 0
    print_figures(final)
    print(f"metrics: {job.folder.metrics_json}")
    for picture in pictures:
        print(f"report:  {picture}")
    print(f"next:    {_next_command(job)}")
    return 0


def print_figures(final: dict[str, float]) -> None:
    """The table of final figures, on stdout."""
    if not is_terminal():
        table = summary.metric_rows(final)
        print_table("", summary.ROW_COLUMNS[: len(table[0]) if table else 5], table)
        return
    if final.get("step"):
        print(f"\nthe best checkpoint, of epoch {int(final['epoch'])}, step {int(final['step']):,}")
    grids, rest = summary.grids(final)
    for grid in grids:
        print_table("", grid.columns, grid.rows, right=range(1, len(grid.columns)))
    if grids:
        print(summary.legend(grids))
    rows = [[*row[:3], {"higher": "↑", "lower": "↓"}.get(row[3], ""), row[4]] for row in summary.metric_rows(rest)]
    if rows:
        print_table("", ["figure", "value", "chance", "", "unit"], rows, right=(1, 2))


def _next_command(job: Job) -> str:
    verb = {"fit": "test", "validate": "test", "test": "plot"}[job.verb]
    return command_line("plot", job.folder.path) if verb == "plot" else command_line(verb, "--run", job.folder.path)


def _tell_predictions(job: Job, writer: WritePredictions) -> int:
    result = {"path": str(writer.path), "rows": writer.rows, "columns": writer.columns}
    if job.options.json:
        print_json(result)
    else:
        print(f"predictions: {writer.path}  ({writer.rows:,} rows: {', '.join(writer.columns)})")
    return 0


def _stopped(job: Job) -> int:
    if job.verb == "fit" and job.folder.last.exists():
        say(f"stopped; the checkpoint is {job.folder.last}")
        say(f"resume: {command_line('fit', '--run', job.folder.path, '--resume')}")
    else:
        _forget(job)
        say("stopped" + (" before there was anything to save" if job.verb == "fit" else ""))
    return EXIT_INTERRUPTED


def _forget(job: Job) -> None:
    """Free the folder of a run that never began, so that the mended command may use it."""
    made_here = job.verb == "fit" or job.options.run is None
    content = set(job.folder.path.iterdir()) if job.folder.path.is_dir() else set()
    if made_here and content <= {job.folder.config, job.folder.environment} and run_folder.is_main_process():
        for path in content:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # gone already, or `--run .`
            job.folder.path.rmdir()


def _quieten() -> None:
    """Silence what says nothing to a user; what is left of Lightning's warnings is worth reading."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", pattern)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
