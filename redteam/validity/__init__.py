"""The verdict on the evaluation itself: red flags that can make a cell `invalid` or an `upper_bound`, each with the figures behind it."""
