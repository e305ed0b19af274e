"""Metrics over whole sets, with bounded memory, exact for any number of processes."""
