"""Language models that read what others write: two tasks, attacks on the words, and a study."""
