"""Tables, figures, wording, provenance and files of every report; no torch, no game."""
