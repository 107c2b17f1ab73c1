"""The one thread that reads the world: a question after the other, for REST and the stream alike.

A world never sees two questions at once, and a long one never holds up the event loop. What is asked is the caller's.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread

_Job = Callable[[], None]


class WorldThread:
    """Runs functions in their turn.

    It is a daemon, which a thread pool's threads are not: a process that is told to stop does not wait for an answer
    that a synthetic world still works on.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        Thread(target=self._work, name="world", daemon=True).start()

    async def run[T](self, question: Callable[[], T]) -> T:
        """What the function gives, or raises, once those before it are done."""
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(question())
            except Exception as error:  # noqa: BLE001 - raised again in the caller, who waits for it
                future.set_exception(error)

        self._jobs.put(job)
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        while True:
            self._jobs.get()()
