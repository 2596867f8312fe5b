"""Small reference models, trained by the project's own recipes, and their cards."""
