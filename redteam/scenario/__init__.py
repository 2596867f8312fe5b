"""A YAML file with positions -> a validated Scenario -> its cells and units."""
