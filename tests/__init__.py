"""Tests of aajr: unit, contracts, parity with dense oracles, invariants."""
