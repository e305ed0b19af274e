"""Tests of moon_zoo.metrics."""
