"""Ready-made scenarios, each run small by a test."""

if __name__ == "scenarios":
    raise ImportError("import redteam.scenarios, not scenarios: the folder is part of the redteam package")
