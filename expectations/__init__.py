"""What may pass: one Great Expectations suite a table, as Python values."""
