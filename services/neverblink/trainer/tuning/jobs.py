"""The job that searches for a recipe: settings in, progress, result out. It prints nothing."""

import time
from collections.abc import Sequence
from pathlib import Path

from neverblink.job_life.progress import Progress
from neverblink.reports import pages
from neverblink.trainer.tuning.candidates import Candidate, Network
from neverblink.trainer.tuning.errors import TuneError
from neverblink.trainer.tuning.judging import Decision, decide, promise_of
from neverblink.trainer.tuning.material import gathered
from neverblink.trainer.tuning.report import write_tuning_report
from neverblink.trainer.tuning.results import FreshFigures, TriedRecipe, TuneResult
from neverblink.trainer.tuning.search import MINUTE, Clock, Search
from neverblink.trainer.tuning.settings import TuneJob
from neverblink.trainer.tuning.settings_file import write_settings
from neverblink.trainer.tuning.state import Trial
from neverblink.vision.backbones import known_backbones
from neverblink.vision.network_names import OWN_BANK

SETTINGS, REPORT = "settings.yaml", "report.html"


def run_tune(job: TuneJob, progress: Progress = lambda *_: None, *, clock: Clock = time.perf_counter) -> TuneResult:
    """Try recipes within the budget, and write the settings of the one to take, a report and what was tried.

    A run that was interrupted goes on where it was. Raises VisionError, TuneError among them.
    """
    report = pages.check_place(job.folder / REPORT).html
    began = clock()
    networks = _networks(job)
    material = gathered(job, progress)
    search = Search(job, material, networks, clock, began, progress)
    search.run()
    return _concluded(search, report)


def _networks(job: TuneJob) -> list[Network]:
    """Return the networks to try: those named, then what is installed beside the default. Raises TuneError."""
    found = []
    for text in job.network:
        name, _, weights = text.partition("=")
        if weights and not Path(weights).is_file():
            raise TuneError(f"--network {text}: there is no weights file {weights}")
        found.append(Network(name, weights or None))
    named = {job.model, *(one.model for one in found)}
    return found + [Network(one.name) for one in known_backbones() if one.packaged and one.name not in named]


def _concluded(search: Search, report: Path) -> TuneResult:
    """Decide, and write what comes of it."""
    job, material = search.job, search.material
    trials = search.tried("all")
    promise = promise_of(material.parts.good, job.false_reject)
    decision = decide([one.scores for one in trials], material.parts, promise, max_ms=job.max_ms)
    taken = trials[decision.chosen]
    settings_file = job.folder / SETTINGS
    settings = Candidate(taken.label, taken.changes).of(search.default)
    says = f"{taken.label}: found by `neverblink tune` in {search.state.spent_s / MINUTE:.0f} minutes"
    write_settings(settings_file, job, settings, says)
    notes = list(material.notes)
    if job.engine in OWN_BANK:
        notes.append(f"recipes were tried in fp32, times too: {job.engine} is checked by the fit itself")
    if job.robust:
        notes.append("recipes were tried with all pictures: what stands out is left out by the fit itself")
    result = TuneResult(
        chosen=taken.label,
        why=decision.why,
        changes=taken.changes,
        settings_file=settings_file,
        report=report,
        defects=material.source,
        defective=len(material.every.defects),
        good=material.parts.good,
        promise=promise,
        recipes=(*_judged(search, trials, decision), *_others(search, trials)),
        fresh=None if decision.fresh is None else FreshFigures.model_validate(decision.fresh, from_attributes=True),
        spent_s=search.state.spent_s,
        left=search.plan.left(search.done()),
        notes=tuple(notes),
    )
    write_tuning_report(result, job, material, (trials[0], taken), settings)
    return result


def _judged(search: Search, trials: Sequence[Trial], decision: Decision) -> list[TriedRecipe]:
    """Return the recipes that were judged by all pictures."""
    found = []
    for trial, judged in zip(trials, decision.judged, strict=True):
        figures = {name: getattr(judged, name) for name in type(judged).__slots__ if name != "mean"}
        found.append(
            TriedRecipe(
                label=trial.label, changes=trial.changes, tried_on="all", seconds=search.seconds(trial), **figures
            )
        )
    return found


def _others(search: Search, judged: Sequence[Trial]) -> list[TriedRecipe]:
    """Return the recipes that were left out after the screening, and those that failed."""
    known = {trial.candidate for trial in judged}
    done = search.done()
    found: dict[str, TriedRecipe] = {}
    for trial in search.state.trials:
        if trial.candidate in known:
            continue
        found[trial.candidate] = TriedRecipe(
            label=trial.label,
            changes=trial.changes,
            tried_on=trial.rung,
            gain=done[trial.key].gain,
            ms=None if trial.fault is not None else trial.ms,
            seconds=search.seconds(trial),
            fault=trial.fault,
        )
    return list(found.values())
