"""Attacks on any agent in any environment: suites, episodes, critics, records."""
