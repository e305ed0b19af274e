"""Importers of real data sets into shards, one file each."""
