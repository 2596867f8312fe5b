"""`python -m redteam`."""

from redteam.cli import main

main()
