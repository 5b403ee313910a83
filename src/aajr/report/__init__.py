"""Tables, figures, wording, provenance and files of every report; it imports no torch or game."""
