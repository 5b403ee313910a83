"""Intervals, paired tests and frontiers: numbers in, numbers out."""
