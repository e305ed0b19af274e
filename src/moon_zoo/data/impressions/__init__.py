"""Impressions: rows of what was shown to whom and whether it was clicked, kept and read as columns."""
