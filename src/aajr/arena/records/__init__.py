"""Records of evaluations, and the tables made of them."""
