"""A search as it runs: what was tried, what is next, and one trial after another until the budget ends."""

from collections.abc import Callable, Sequence
from typing import Final

from neverblink.errors import NeverblinkError
from neverblink.job_life.progress import Progress
from neverblink.trainer.tuning.candidates import Network, effort, singles
from neverblink.trainer.tuning.errors import TuneError
from neverblink.trainer.tuning.judging import drawn, gains, promise_of
from neverblink.trainer.tuning.material import Material, parts_of
from neverblink.trainer.tuning.schedule import Done, Key, Plan, Rung, Step
from neverblink.trainer.tuning.settings import TuneJob
from neverblink.trainer.tuning.state import State, Trial, identity, plain
from neverblink.trainer.tuning.trials import Workbench, least_seconds

STATE: Final = "tried.json"
MINUTE: Final = 60

Clock = Callable[[], float]


class Search:
    """What is tried, and what came of it so far."""

    def __init__(
        self,
        job: TuneJob,
        material: Material,
        networks: Sequence[Network],
        clock: Clock,
        began: float,
        progress: Progress,
    ) -> None:
        self.job, self.material, self.default = job, material, job.default
        self._clock, self._mark, self._progress = clock, began, progress
        self._file = job.folder / STATE
        self.state = State.read(self._file, identity(material.every, self.default), replace=job.replace)
        self.singles = singles(self.default, material.facts, networks, job.fixed)
        self.plan = Plan(
            self.singles,
            bank=lambda one: one.bank(self.default),
            effort=lambda one: effort(one, self.default, material.facts),
            some=material.share,
            max_ms=job.max_ms,
        )
        tied = material.source == "synthetic"
        self._draws = {"all": drawn(material.parts)}
        if material.some is not None:
            self._draws["some"] = drawn(parts_of(material.some, tied=tied))

    @property
    def spent(self) -> float:
        """Return the seconds of all runs so far."""
        return self.state.spent_s + self._clock() - self._mark

    def run(self) -> None:
        """Try what the plan says, one trial after another."""
        with Workbench(self.default, clock=self._clock) as bench:
            self._check_budget()
            while (step := self._next()) is not None:
                self._try(bench, step)

    def _next(self) -> Step | None:
        return self.plan.next(self.done(), self.spent, self.job.budget_s, self._default_s())

    def done(self) -> dict[Key, Done]:
        """Return what came of each trial."""
        found: dict[Key, Done] = {}
        trials = self.state.by_key
        for rung, draws in self._draws.items():
            good = [one for one in trials.values() if one.rung == rung and one.fault is None]
            good.sort(key=lambda one: one.candidate != self.singles[0].key)
            if good:
                promise = promise_of(len(good[0].good), self.job.false_reject)
                for one, gain in zip(good, gains([one.scores for one in good], draws, promise), strict=True):
                    found[one.key] = Done(float(gain), one.ms)
        found |= {one.key: Done(None) for one in trials.values() if one.fault is not None}
        return found

    def _default_s(self) -> float | None:
        own = self.singles[0].bank(self.default)
        same = {one.key for one in self.singles if one.bank(self.default) == own}
        trials = [one for one in self.state.trials if one.rung == "all" and one.candidate in same]
        return sum(one.seconds for one in trials) if trials else None

    def _check_budget(self) -> None:
        """Raise TuneError where the budget does not hold the default recipe alone."""
        if Key(self.singles[0].key, "all") in self.state.by_key:
            return
        least = least_seconds(self.default, self.material.every, self._clock)
        left = self.job.budget_s - self.spent
        if least > left:
            minutes = int(4 * (least + self.spent) / MINUTE) + 1
            raise TuneError(
                f"a budget of {self.job.budget} is too short: the default recipe alone takes more than {least:.0f} s"
                f" here, and {max(0.0, left):.0f} s are left; give --budget {minutes}m or more"
            )

    def _try(self, bench: Workbench, step: Step) -> None:
        pictures = self.material.every if step.rung == "all" else self.material.some
        assert pictures is not None
        began = self._clock()
        fault: str | None = None
        scores = {}
        try:
            scores = bench.try_out(step.candidates, pictures, self._told(step, pictures.work))
        except NeverblinkError as error:
            if self.singles[0] in step.candidates:
                raise
            fault = str(error)
        now = self._clock()
        seconds = (now - began) / len(step.candidates)
        trials = []
        for one in step.candidates:
            made = scores.get(one.key)
            trials.append(
                Trial(
                    candidate=one.key,
                    label=one.label,
                    rung=step.rung,
                    good=() if made is None else plain(made.good),
                    bad=() if made is None else plain(made.bad),
                    ms=0.0 if made is None else made.ms,
                    seconds=seconds,
                    fault=fault,
                )
            )
        self.state = self.state.with_trials(trials, now - self._mark)
        self._mark = now
        self.state.write(self._file)

    def _told(self, step: Step, work: int) -> Progress:
        """Return what says how far a trial is: looking at the pictures is its first half, scoring them its second."""
        left = self.plan.left(self.done()) - len(step.candidates)
        labels = " and ".join(one.label for one in step.candidates)
        on = " on a third" if step.rung == "some" else ""
        minutes = f"{self.spent / MINUTE:.1f} of {self.job.budget_s / MINUTE:.3g} min"
        stage = f"{labels}{on}; {max(0, left)} left, {minutes}"
        halves = {"extracting features": 0, "scoring": work}

        def told(what: str, done: int, total: int) -> None:
            if what in halves and total:
                self._progress(stage, halves[what] + done * work // total, 2 * work)

        return told

    def tried(self, rung: Rung) -> list[Trial]:
        """Return the trials on a rung that came to something, the default's first."""
        found = [one for one in self.state.trials if one.rung == rung and one.fault is None]
        return sorted(found, key=lambda one: one.candidate != self.singles[0].key)

    def seconds(self, trial: Trial) -> float:
        """Return what the trials of one recipe took."""
        return sum(one.seconds for one in self.state.trials if one.candidate == trial.candidate)
