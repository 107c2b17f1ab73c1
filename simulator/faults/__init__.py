"""Faults by script: rules that pick requests, and what they do to the answers."""
