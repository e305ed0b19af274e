"""Parts used by two models or more: losses, negatives, towers, heads; pure torch."""
