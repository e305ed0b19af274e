"""Tests of moon_zoo.nn."""
