"""Attacks on policies, statistics, and the comparison with its report."""
