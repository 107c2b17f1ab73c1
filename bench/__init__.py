"""Benchmarks against what a competent user would write: both sides in turns in one run, equal output asserted first."""
