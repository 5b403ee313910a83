"""Studies: from trained policies to tables and figures, a room for each question."""
