"""The examination of agents under a whole suite, resumable at every trial."""
