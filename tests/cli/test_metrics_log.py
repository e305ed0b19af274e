"""metrics.csv: one row per step, wider when a figure appears, cut when a run resumes."""

from __future__ import annotations

from pathlib import Path

from moon_zoo.cli.metrics_log import MetricsLog


def lines(folder: Path) -> list[str]:
    return (folder / "metrics.csv").read_text().splitlines()


def test_figures_of_one_step_share_a_row_and_new_ones_widen_the_table(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.log_metrics({"train/loss": 2.5, "epoch": 0}, step=0)
    log.log_metrics({"train/loss": 1.5, "epoch": 0}, step=1)
    log.log_metrics({"val/loss": 3.0, "epoch": 0}, step=1)
    log.finalize("success")
    assert lines(tmp_path) == ["step,train/loss,epoch,val/loss", "0,2.5,0,", "1,1.5,0,3.0"]


def test_resumed_run_takes_over_the_rows_before_its_first_step(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in range(4):
        log.log_metrics({"train/loss": float(step)}, step=step)
    log.finalize("failed")
    again = MetricsLog(tmp_path)
    again.log_metrics({"train/loss": 20.0}, step=2)
    again.finalize("success")
    assert lines(tmp_path) == ["step,train/loss", "0,0.0", "1,1.0", "2,20.0"]


def test_figures_of_other_verbs_leave_the_curves_of_a_run_alone(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,a\n0,1.0\n")
    log = MetricsLog(tmp_path, training=False)
    log.log_metrics({"test/a": 2.0}, step=0)
    log.finalize("success")
    assert lines(tmp_path) == ["step,a", "0,1.0"]


def test_nothing_logged_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,a\n0,1.0\n")
    MetricsLog(tmp_path).finalize("success")
    assert lines(tmp_path) == ["step,a", "0,1.0"]
