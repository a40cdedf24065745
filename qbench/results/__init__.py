"""Records: storing them, reading them into frames, comparing them."""
