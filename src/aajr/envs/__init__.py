"""Environments to train and attack in."""
