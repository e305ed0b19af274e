"""What DREAM's own figures mean, for tables and reports."""

from __future__ import annotations

from moon_zoo.metrics.catalogue import Direction, MetricInfo, register


def _info(
    name: str, unit: str, direction: Direction, meaning: str, low: float | None = None, high: float | None = None
) -> MetricInfo:
    return MetricInfo(f"preference/{name}", unit, direction, f"{meaning} Pairs that are learned from.", low, high)


register(
    _info("margin", "nats", "higher", "Mean of beta h: how much more the policy prefers the chosen answer."),
    _info(
        "accuracy", "fraction", "higher", "Share whose chosen answer gained more than the other; ties half.", 0.0, 1.0
    ),
    _info(
        "kl",
        "nats",
        "",
        "Mean log-probability that answers lost: KL(reference || policy) on the reference's own.",
    ),
    _info("chosen_reward", "nats", "higher", "Mean of beta log(policy / reference) of chosen answers."),
    _info("rejected_reward", "nats", "lower", "The same of rejected ones."),
    _info("chosen_log_probability", "nats", "higher", "Mean log-probability of chosen answers.", None, 0.0),
    _info("rejected_log_probability", "nats", "lower", "Mean log-probability of rejected answers.", None, 0.0),
    _info("chosen_tokens", "tokens", "", "Mean length of chosen answers.", 0.0),
    _info("rejected_tokens", "tokens", "", "Mean length of rejected answers.", 0.0),
    MetricInfo(
        "preference/dropped", "fraction", "", "Share of pairs left out as one answer is far longer, or empty.", 0.0, 1.0
    ),
    MetricInfo("preference/pairs", "pairs", "", "Pairs that are learned from.", 0.0),
    MetricInfo(
        "observation/loss",
        "nats",
        "lower",
        "Mean cross entropy of the tokens of observations, the beginning given.",
        0.0,
    ),
    MetricInfo(
        "observation/token_accuracy", "fraction", "higher", "Share of those tokens that are the likeliest.", 0.0, 1.0
    ),
    MetricInfo("observation/tokens", "tokens", "", "Tokens of observations in a batch, all ranks together.", 0.0),
)
