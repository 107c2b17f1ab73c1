"""Everything that marketlake knows how to do, in plain Python: no Prefect, no Great Expectations."""
