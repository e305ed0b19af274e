"""Acme's products on top of moon-zoo: a model with another loss and a colour head, two recipes, a source.

Kept empty on purpose: `moon-zoo list` reads names and docstrings from the files, and imports none of this.
"""
