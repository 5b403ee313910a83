"""Intervals, paired tests and frontiers, computed from plain numbers."""
