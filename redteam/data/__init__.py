"""Corpora, and the forgeries that are made from them."""
