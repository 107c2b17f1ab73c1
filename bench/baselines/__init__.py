"""The other side of each comparison, as real code; not edited when ours gets faster."""
