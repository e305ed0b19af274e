"""Experiments over several checkpoints or settings: the exchange rate from embeddings to clicks, and scaling laws.

A study is a list of ordinary commands (`moon_zoo.studies.steps`), carried out one by one by a callable that it is given, and
a reading of what they measured. It knows commands as words and results as JSON: no torch, no model, no command line.
"""
