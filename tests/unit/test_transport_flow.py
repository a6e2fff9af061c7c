"""What a flow holds of a stream that nobody reads fast enough."""

from __future__ import annotations

from intercede.answers import Counters
from intercede.steps import Command
from intercede.transports.flow import HIGH_WATER, Flow

WINDOW = 4 * 1024 * 1024
PIECE = b"x" * 32768
TOTAL = 1500


class Hoarder:
    """A pipe as AsyncSSH has it: while it is paused it holds back, and it opens its window when it hands over."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.sent = 0
        self.window = WINDOW
        self.held: list[bytes] = []
        self.most = 0
        self.paused = False

    def receive(self) -> None:
        """Take all that the other side may send now."""
        while self.sent < TOTAL and self.window >= len(PIECE):
            self.sent += 1
            self.window -= len(PIECE)
            self.held.append(PIECE)
            self.hand_over()
        self.most = max(self.most, len(self.held) * len(PIECE))

    def hand_over(self) -> None:
        while self.held and not self.paused:
            if self.window < WINDOW / 2:
                self.window = WINDOW
            self.flow.feed_stdout(self.held.pop(0))

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self.hand_over()

    def write(self, data: bytes) -> None: ...

    def write_eof(self) -> None: ...


async def test_a_slow_reader_bounds_what_is_held() -> None:
    flow = Flow(Command(("cat",)), Counters(), streamed=True)
    flow.pipe = pipe = Hoarder(flow)
    pipe.receive()
    assert pipe.paused
    taken = 0
    async for _ in flow.pieces():
        taken += 1
        pipe.receive()
        assert flow._held <= HIGH_WATER + 2 * WINDOW
        if taken == TOTAL:
            flow.end()
    assert pipe.sent == TOTAL
    assert pipe.most <= WINDOW
