"""Protocols: what one cell does with a batch of images and what its records amount to, for one kind of target."""
