"""Runs a plan: a ledger of immutable unit files, a worker process that computes them, a coordinator that watches it."""
