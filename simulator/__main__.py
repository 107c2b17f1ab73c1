"""``python -m simulator``: the simulate command on its own."""

from simulator.command import simulate

if __name__ == "__main__":
    simulate()
