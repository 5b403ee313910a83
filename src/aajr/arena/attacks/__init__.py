"""Attacks on an agent: suites, critics, and attackers that learn."""
