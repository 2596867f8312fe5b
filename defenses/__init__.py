"""Defenses: each file is one way to make a target or an image harder to attack."""

if __name__ == "defenses":
    raise ImportError("import redteam.defenses, not defenses: the folder is part of the redteam package")
