"""The figures of a period in words: what a screen, a page and a table say alike, each with its sample."""

from dataclasses import dataclass
from math import ceil

from neverblink.records.questions.proof.answer import Counted, Proof
from neverblink.records.questions.proof.estimates import HELD_OUT, Estimate, Number
from neverblink.records.questions.proof.samples import Drawn


@dataclass(frozen=True, slots=True)
class FigureLine:
    """One figure: its name, itself or –, its interval, of what, and where parts are too few how many more it takes."""

    key: str
    name: str
    figure: str
    interval: str
    sample: str
    more: str | None = None


def figure_lines(proof: Proof) -> tuple[FigureLine, ...]:
    """Return the figures, those first that customers and the line feel."""
    found, lost, clean = proof.estimates, proof.estimates.escaped, proof.estimates.rejected_good
    return (
        _line("recall", "recall", found.recall, "{seen} of {sample} known bad parts rejected", ""),
        _line("escapes", "escapes", found.escapes, "{seen} bad of {sample} judged", _about(lost)),
        _line("precision", "precision", found.precision, "{seen} bad of {sample} judged", ""),
        _line("false_rejects", "false rejects", found.false_rejects, "{seen} good of {sample} judged",
              _about(clean)),
        _line("agreement", "people = machine", found.agreement, "{seen} of {sample} judged alike", ""),
        _counted("two_people", "two people alike", proof.two_people, "{count} of {sample} second looks",
                 "no second look was given"),
        _counted("first_pass", "first-pass yield", proof.first_pass, "{count} of {sample} parts passed", "no part"),
    )  # fmt: skip


def weight_lines(proof: Proof) -> tuple[str, ...]:
    """Return what the sample is and of how many each part stands."""
    found, held, judged = proof.estimates, proof.held_out, proof.judged_rejects
    passes, rejects = _stands(held, found.pass_weight, "passed"), _stands(judged, found.reject_weight, "rejected")
    lines = [
        f"Held out: {_many(held.drawn, 'passed part')}{_open(held)}{passes}.",
        f"Rejects: {_many(judged.drawn, 'part')} drawn to be judged{_open(judged)}{rejects}.",
    ]
    unsure = proof.unsure_passes
    if unsure.drawn:
        counts = "count as a pool of their own" if found.unsure_counted else "count only where held out"
        lines.append(
            f"Unsure passes: {whole(unsure.drawn)}, {whole(unsure.answered)} answered, {whole(unsure.defective)} bad;"
            f" they {counts}."
        )
    return tuple(lines)


def left_out_lines(proof: Proof) -> tuple[str, ...]:
    """Return what is not in the figures."""
    apart = (
        f"Not in it: {_many(proof.unscored, 'part')} without a score; reference parts;"
        f" {_many(proof.beyond, 'part')} judged but not drawn."
    )
    truth = "Truth is what people said of the pictures; what has no answer is taken to be as what has."
    if proof.bypass_s is None:
        bypass = "Time in bypass: not known, the PLC did not say all the time."
    else:
        bypass = f"Time in bypass: {_duration(proof.bypass_s)}; what passed then nobody inspected."
    held = (f"Time on hold: {_duration(proof.hold_s)}.",) if proof.hold_s else ()
    return (truth, apart, bypass, *held)


def reference_line(proof: Proof) -> str:
    """Return what became of reference parts, which weigh nothing in the figures: nobody drew them from the line."""
    came = sum(one.came for one in proof.references)
    if not came:
        return "Reference parts: none came."
    passed, unscored = (sum(getattr(one, name) for one in proof.references) for name in ("passed", "unscored"))
    return (
        f"Reference parts (weight 0): {_many(len(proof.references), 'part')} came {whole(came)} times;"
        f" {whole(came - passed - unscored)} rejected, {whole(passed)} passed, {whole(unscored)} without a score."
    )


def whole(count: float) -> str:
    """Return a number with its thousands apart."""
    return f"{count:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(value: float, low: float, high: float) -> str:
    """Return a share with as many places as its interval is worth; none is rounded to a perfect one."""
    places = _places(low, high)
    text = f"{100 * value:.{places}f}"
    if float(text) == 100 and value < 1:
        text = f"{100 - 10.0**-places:.{places}f}"
    return f"{text} %"


def between(low: float, high: float) -> str:
    """Return an interval of shares, rounded outwards to as many places as it is worth."""
    unit = 10 ** _places(low, high)
    down, up = int(100 * low * unit + 1e-9) / unit, min(100.0, ceil(100 * high * unit - 1e-9) / unit)
    return f"{down:.{_places(low, high)}f} – {up:.{_places(low, high)}f} %"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if not seconds:
        return "none"
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min" if minutes else "under 1 min"


def _places(low: float, high: float) -> int:
    wide = 100 * (high - low)
    return next((places for places, least in ((0, 10), (1, 1), (2, 0.1)) if wide >= least), 3)


def _line(key: str, name: str, found: Estimate, sample: str, about: str) -> FigureLine:
    says = sample.format(seen=whole(found.seen), sample=whole(found.sample)) + (
        about if found.value is not None else ""
    )
    interval = between(found.low, found.high)
    if found.value is None:
        return FigureLine(key, name, "–", interval, says, _needed(found))
    return FigureLine(key, name, percent(found.value, found.low, found.high), interval, says)


def _needed(found: Estimate) -> str:
    points = 100 * found.within
    exact = f"for ±{points:g} point" + ("" if points == 1 else "s")
    if found.more is None:
        return f"too few: nothing of the kind was seen, so how many {exact} cannot be said"
    if not found.sample and found.unit != HELD_OUT:
        return f"none yet: about {_many(found.more, found.unit.removesuffix('s'))} {exact}"
    line = f", {whole(found.line_parts)} parts of the line" if found.line_parts and found.unit == HELD_OUT else ""
    return f"too few: about {whole(found.more)} more {found.unit} {exact}{line}"


def _counted(key: str, name: str, found: Counted, sample: str, none: str) -> FigureLine:
    if found.low is None or found.high is None:
        return FigureLine(key, name, "–", "", none)
    says = sample.format(count=whole(found.count), sample=whole(found.sample))
    return FigureLine(
        key, name, percent(found.count / found.sample, found.low, found.high), between(found.low, found.high), says
    )


def _about(number: Number) -> str:
    if number.value is None or number.low is None or number.high is None:
        return ""
    return f"; about {whole(number.value)} ({whole(int(number.low))} – {whole(ceil(number.high))}) in all"


def _many(count: int, noun: str) -> str:
    return f"{whole(count)} {noun}" if count == 1 else f"{whole(count)} {noun}s"


def _open(drawn: Drawn) -> str:
    if not drawn.drawn:
        return ""
    return f", {whole(drawn.waiting)} without an answer, {whole(drawn.undecided)} undecided"


def _stands(drawn: Drawn, weight: float | None, kind: str) -> str:
    if not drawn.answered:
        return ""
    if weight is None:
        return "; their weights differ with the shares that they were drawn with"
    return f"; an answered one stands for {weight:.3g} {kind}"
