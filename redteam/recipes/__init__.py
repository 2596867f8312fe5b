"""Recipes: how each reference model of the zoo is trained and measured."""
