"""Hide-and-seek: the game, its training and its replays."""
