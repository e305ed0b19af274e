"""Who looks: users with one to four interests, an age, a temper, and a past of any length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AGE_GROUPS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
_AGE_SHARES = (0.16, 0.27, 0.22, 0.16, 0.11, 0.08)
_INTEREST_SHARES = (0.50, 0.34, 0.12, 0.04)
MAX_INTERESTS = len(_INTEREST_SHARES)

_NEW_SHARE = 0.02  # of users first come after training: their id is out of vocabulary
_ACTIVITY_SPREAD = 0.6  # of the logarithm of a user's impressions
_NO_PAST = 0.03  # of users have clicked nothing before the log begins
_PAST_MEDIAN = 140.0  # impressions before the log; a quarter of them are clicks
_PAST_SPREAD = 0.85
_MAX_PAST = 1200


@dataclass(frozen=True, slots=True)
class Shoppers:
    """Users as arrays.

    Args:
        interests: Numbers of the items that each interest is like, int64 ``(users, MAX_INTERESTS)``.
        num_interests: How many of them count, int64 ``(users,)``, 1 to `MAX_INTERESTS`.
        ages: Codes of `AGE_GROUPS`.
        tempers: How readily the user clicks beyond what their age explains, in logits.
        past: Impressions before the log begins, of which only the clicks are kept.
    """

    interests: np.ndarray
    num_interests: np.ndarray
    ages: np.ndarray
    tempers: np.ndarray
    past: np.ndarray


def shoppers_of(rng: np.random.Generator, count: int, known_items: np.ndarray, temper_std: float) -> Shoppers:
    """Draw users.

    Args:
        rng: Where the draws come from.
        count: Number of users.
        known_items: Items that interests are like: those sold from the beginning.
        temper_std: Standard deviation of tempers.
    """
    past = np.minimum(np.exp(np.log(_PAST_MEDIAN) + _PAST_SPREAD * rng.standard_normal(count)), _MAX_PAST)
    past[rng.random(count) < _NO_PAST] = 0
    return Shoppers(
        interests=known_items[rng.integers(len(known_items), size=(count, MAX_INTERESTS))],
        num_interests=1 + pick(rng, _INTEREST_SHARES, count),
        ages=pick(rng, _AGE_SHARES, count),
        tempers=temper_std * rng.standard_normal(count),
        past=past.astype(np.int64),
    )


def rows_per_user(rng: np.random.Generator, num_users: int, rows: dict[str, int]) -> dict[str, np.ndarray]:
    """Deal impressions to users, some of whom see many and some few; a few first come after training.

    Args:
        rng: Where the draws come from.
        num_users: Number of users.
        rows: Impressions per split, ``train`` among them.

    Returns:
        Split to impressions per user, int64 ``(users,)``, adding up to ``rows``.
    """
    activity = np.exp(_ACTIVITY_SPREAD * rng.standard_normal(num_users))
    trained = activity * (rng.random(num_users) >= _NEW_SHARE)
    if not trained.any():
        trained = activity
    dealt = {}
    for split, count in rows.items():
        reached = np.cumsum(trained if split == "train" else activity)
        # The last is exactly 1 so that rounding cannot lose a row.
        dealt[split] = np.diff(np.round(reached / reached[-1] * count).astype(np.int64), prepend=0)
    return dealt


def pick(rng: np.random.Generator, shares: tuple[float, ...], count: int) -> np.ndarray:
    """Codes drawn by their shares, int64 ``(count,)``."""
    bounds = np.cumsum(shares)
    return np.searchsorted(bounds[:-1] / bounds[-1], rng.random(count), side="right")
