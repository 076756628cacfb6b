"""One run of a policy on a robot, from the checks to torque-off. The ticks themselves are loop.py.

Torque-off is attempted on every servo at every exit: the end of the time, a signal, a fault, a
refusal, and any exception.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from ..hardware.bus import Bus
from ..hardware.errors import RetortError
from .bundle import Bundle
from .check import check_robot
from .command import CommandSource, constant
from .contract import Mismatch, compare
from .gate import tilt
from .loop import Loop
from .machine import Event, State
from .realtime import quiet_gc, realtime
from .recorder import FlightRecorder
from .result import Outcome, Progress, RunResult
from .stop import StopFlag, stop_on_signals
from .timing import Slots, Timings
from .writer import ReadableBus, Writer


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run."""

    seconds: float | None = None  # of authority; None: until somebody stops it
    realtime: bool = True  # ask for priority and locked memory; not in virtual time
    priority: int = 50  # SCHED_FIFO
    handle_signals: bool = True  # SIGINT, SIGTERM, SIGHUP: damped stop; a second one: cut
    progress: Callable[[Progress], None] | None = None  # inside the loop: must return at once


def run(
    bundle: Bundle,
    bus: Bus,
    options: RunOptions | None = None,
    command_source: CommandSource | None = None,
    recorder: FlightRecorder | None = None,
    stop_flag: StopFlag | None = None,
) -> RunResult:
    """Check, ramp, run and stop.

    Args:
        bundle: from ``load_bundle``.
        bus: opened; it stays open.
        options: how.
        command_source: what the policy should follow; ``command.resting`` if none is given.
        recorder: keeps the flight; closed here. Its ``tap`` is for the bus's driver.
        stop_flag: to stop it from elsewhere.

    Returns:
        How it ended. Errors of port and devices are the outcome ``error``; any other exception
        propagates after torque has been switched off.
    """
    options = options or RunOptions()
    run_ = _Run(
        bundle,
        bus,
        options,
        command_source or constant(bundle.contract),
        recorder,
        stop_flag or StopFlag(),
    )
    with contextlib.ExitStack() as stack:
        if options.handle_signals:
            stack.enter_context(stop_on_signals(run_.flag))
        try:
            if options.realtime:
                run_.refused_grants = stack.enter_context(realtime(options.priority))
            stack.enter_context(quiet_gc())
            run_.go()
        except RetortError as error:
            run_.fail(str(error))
        except BaseException as error:
            run_.fail(f"{type(error).__name__}: {error}")
            raise
        finally:
            run_.torque_off = run_.writer.torque_off()
            result = run_.result()
            if recorder is not None:
                try:
                    recorder.close(result)
                except RetortError as error:
                    result = dataclasses.replace(result, sentence=f"{result.sentence}; {error}")
    return result


class _Run:
    """The state of one call of ``run``."""

    def __init__(
        self,
        bundle: Bundle,
        bus: Bus,
        options: RunOptions,
        commands: CommandSource,
        recorder: FlightRecorder | None,
        flag: StopFlag,
    ) -> None:
        self.writer = Writer(bus)
        self.flag = flag
        self.outcome: Outcome | None = None  # set where the loop's own end does not say it
        self.refused_grants: tuple[str, ...] = ()
        self.torque_off: dict[str, bool] = {}
        self._bundle, self._options, self._recorder = bundle, options, recorder
        self._bus: ReadableBus = bus
        self.loop = Loop(bundle, bus, self.writer, commands)
        self._mismatches: tuple[Mismatch, ...] = ()
        self._timings = Timings()
        self._ticks = 0
        self._overruns = 0
        self._run_seconds = 0.0
        self._asked_to_stop = False

    def go(self) -> None:
        """Everything but torque-off."""
        clock = self._bus.clock
        self.loop.begin()
        self._mismatches = self._check()
        if self._recorder is not None:
            self._recorder.note(realtime=self.refused_grants)
        if self._mismatches:
            sentence = "; ".join(str(mismatch) for mismatch in self._mismatches)
            self.outcome = "refused"
            self.loop.handle(Event.REFUSED, sentence, clock.now())
            return
        self._obey(clock.now())
        if self.loop.finished:
            return
        if self._recorder is not None:
            self._recorder.begin()
        began = clock.now()
        slots = Slots(began + self._bus.robot.period, self._bus.robot.period)
        self.loop.arm(began)
        reported, worst = began, 0.0
        while not self.loop.finished:
            tick = self.loop.tick(slots.wait(clock), slots.overruns)
            self._ticks, self._overruns = self._ticks + 1, slots.overruns
            if self._recorder is not None:
                self._recorder.tick(tick)
            if tick.state is State.RUN:
                self._timings.add(tick.lateness, tick.read_time, tick.compute_time, tick.write_time)
            now = clock.now()
            self._obey(now)
            worst = max(worst, tick.lateness)
            if self._options.progress is not None and now - reported >= 1.0:
                self._options.progress(
                    Progress(
                        self.loop.state,
                        now - began,
                        self._ticks,
                        slots.overruns,
                        worst,
                        tilt(tick.memory.orientation),
                    )
                )
                reported, worst = now, 0.0
            if self.loop.paused:
                slots.realign(clock)

    def fail(self, sentence: str) -> None:
        """The run ended by an exception."""
        self.outcome, self.loop.sentence = "error", sentence

    def result(self) -> RunResult:
        """How it ended, after torque-off."""
        loop, spread = self.loop, self._timings.spread
        outcome: Outcome = self.outcome or "refused"
        if loop.fault is not None and outcome != "error":
            outcome = "fault"
        return RunResult(
            outcome=outcome,
            sentence=loop.sentence,
            fault=loop.fault,
            mismatches=self._mismatches,
            ticks=self._ticks,
            run_ticks=self._timings.count,
            run_seconds=self._run_seconds,
            overruns=self._overruns,
            lateness=spread("lateness"),
            read=spread("read"),
            compute=spread("compute"),
            write=spread("write"),
            counters=dict(self._bus.counters),
            torque_off=self.torque_off,
            energised=self.writer.energised,
            realtime=self.refused_grants,
        )

    def _check(self) -> tuple[Mismatch, ...]:
        """Compare with the file, then with what the servos say, then write and compare gains."""
        contract, robot = self._bundle.contract, self._bus.robot
        if mismatches := compare(contract, robot):
            return mismatches
        reports = self._bus.identify()
        if mismatches := check_robot(contract, robot, reports):
            return mismatches
        if any(report.torque for report in reports):
            self.writer.energised = True  # left on by a run that was killed
            self.writer.torque_off()
        self.writer.prepare()
        reports = self._bus.identify()
        if self._recorder is not None:
            self._recorder.note(devices=[dataclasses.asdict(report) for report in reports])
        return check_robot(contract, robot, reports, prepared=True)

    def _obey(self, now: float) -> None:
        """Take over what the time and other people ask for."""
        loop, since = self.loop, self.loop.authority_since
        if loop.finished:
            return
        if loop.state is State.RUN and since is not None:
            self._run_seconds = now - since
        if self.flag.requests > 1:
            self.outcome = self.outcome or "stopped"
            loop.handle(Event.CUT, f"cut by a second {self.flag.reason}", now)
        elif self.flag.requests == 1 and not self._asked_to_stop:
            self._asked_to_stop = True
            self.outcome = self.outcome or "stopped"
            loop.handle(Event.STOP, f"stopped by {self.flag.reason}", now)
        elif (
            loop.state is State.RUN
            and self._options.seconds is not None
            and self._run_seconds >= self._options.seconds - 1e-9
        ):
            self.outcome = "completed"
            loop.handle(Event.STOP, f"{self._options.seconds:g} s are over", now)
