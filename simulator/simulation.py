"""One running simulation: the world, the clock, the keys and the switches that REST and the stream share."""

import hashlib
from dataclasses import dataclass, field

import msgspec

from simulator.asks import OverLimit
from simulator.clock import SimulatedClock
from simulator.faults.script import FaultScript
from simulator.journal import Journal, PageChains
from simulator.plans import Account, History, RateLimiter
from simulator.revisions import BarHistory
from simulator.stream.switches import StreamSwitches
from simulator.view import View
from simulator.world import World


class Switches(msgspec.Struct):
    """What is not known about the vendor, so that a test can have it either way."""

    retry_after: bool = False
    over_limit: OverLimit = OverLimit.CLAMP
    history: History = History.ALL


@dataclass(slots=True)
class Simulation:
    """Everything that one process shows to all its clients."""

    world: World
    clock: SimulatedClock
    accounts: dict[str, Account]
    limiter: RateLimiter
    seed: int
    faults: FaultScript
    switches: Switches = field(default_factory=Switches)
    stream: StreamSwitches = field(default_factory=StreamSwitches)
    journal: Journal = field(default_factory=Journal)
    chains: PageChains = field(default_factory=PageChains)
    answered: int = 0
    history: BarHistory = field(init=False)

    def __post_init__(self) -> None:
        self.history = BarHistory(self.world)

    def view(self, account: Account) -> View:
        """The market as an account sees it now."""
        return View(self.world, self.history, account, self.clock.now_ns(), beyond_history=self.switches.history)

    def next_request_id(self) -> str:
        """Thirty-two hex digits that a second run with the same seed gives again."""
        self.answered += 1
        return hashlib.blake2b(f"{self.seed}:{self.answered}".encode(), digest_size=16).hexdigest()
