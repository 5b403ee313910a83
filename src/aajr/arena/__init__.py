"""Any agent in any environment: attacks and suites, episodes, critics, records."""
