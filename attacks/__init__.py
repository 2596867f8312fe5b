"""Attacks: each file is one method and sees nothing but an objective."""

if __name__ == "attacks":
    raise ImportError("import redteam.attacks, not attacks: the folder is part of the redteam package")
