"""Stands in for the vendor on localhost: REST, replay, faults; knows nothing of the rest of the project."""
