"""A market that never was: seeded, made when it is asked for, any date at random access."""

from simulator.synthetic.world import SyntheticWorld

__all__ = ["SyntheticWorld"]
