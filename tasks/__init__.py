"""One thin task a step: retries, time limits and names around one call into marketlake."""
