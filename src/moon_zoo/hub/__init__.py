"""Hubs: places that checkpoints are fetched from and published to. Files only; nothing here knows of models or torch."""
