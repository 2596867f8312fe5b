"""Adapters: how a user's detector becomes a Target, with its preprocessing, output, polarity and threshold declared."""
