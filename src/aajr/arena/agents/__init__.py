"""Agents: policies of any library as the arena attacks them."""
