"""Sentences of events and jobs, said in another language. What is not known stays as it came.

Events travel in English. Each sentence here is one of theirs, with places for what differs; a test compares both sides.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from neverblink.console.language import N_

_LONGEST: Final = 500
"""Characters beyond which nothing is looked for: events are shorter."""

SENTENCES: Final = (
    # What drift says is the cause, and what to do first.
    N_("the light: lamps age or are dirty, or the exposure was changed"),
    N_("check lighting, lens and exposure before retraining: a model that is fitted to bad light only hides it"),
    N_("the camera: out of focus, moved, vibrating, or a dirty lens"),
    N_("check mounting, focus and lens before retraining, and compare a picture with one of the days before"),
    N_("the parts: the image is as bright and sharp as before"),
    N_("the parts: the image is as bright and sharp as before; suddenly, as with another supplier, lot or setting"),
    N_("the parts: the image is as bright and sharp as before; slowly, as with a tool that wears"),
    N_("look at the newest passes and rejects; if these parts are good, confirm them in the review and retrain"),
    N_(
        "the set-up: this line's good parts lie nearer to the threshold than those that the model was calibrated with,"
        " as under other light or with other material"
    ),
    N_(
        "check light, position and material before this is taken for normal; if they are right, calibrate or retrain"
        " on this line's parts"
    ),
    N_("the model may have become blind: wrong artifact or threshold, or a picture that shows the part no longer"),
    N_("send a known defective part through the station now"),
    N_("pictures that cannot be judged, or verdicts that come too late"),
    N_("look at the reasons, then at the camera node or the scorer that gives them"),
    N_("the scorer: more stations on it, another process beside it, or a hot processor"),
    N_("compare its load with the day the change began; late parts are rejected"),
    N_("known defective parts are no longer sent, or no longer flagged as such"),
    N_("ask the shift for its check, and whether the line's program still flags these parts"),
    # What changed.
    N_("no known defective part for %(found)s parts; the longest wait that was learnt is %(expected)s"),
    N_("%(signal)s rose %(share)s %% (from %(before)s to %(after)s) since %(since)s"),
    N_("%(signal)s fell %(share)s %% (from %(before)s to %(after)s) since %(since)s"),
    N_("%(signal)s rose from %(before)s to %(after)s since %(since)s"),
    N_("%(signal)s fell from %(before)s to %(after)s since %(since)s"),
    # What the ledger says of reference parts.
    N_("reference part %(reference)s (%(defect)s) passed %(line)s (%(part)s, at %(share)s of the threshold)"),
    N_(
        "reference part %(reference)s, which is good, was rejected on %(line)s for %(defects)s (%(part)s, at"
        " %(share)s of the threshold)"
    ),
    N_(
        "reference part %(reference)s, which is good, was rejected on %(line)s (%(part)s, at %(share)s of the"
        " threshold)"
    ),
    N_("reference part %(reference)s, which is good, was rejected on %(line)s (%(part)s)"),
    N_("reference part %(reference)s, which is good, was rejected on %(line)s for %(defects)s (%(part)s)"),
    N_("%(model)s or its threshold refuses good parts; or the part is dirty or damaged, or the picture has changed"),
    N_("look at the part and its picture, then send %(reference)s again: until it passes, good parts may go"),
    N_("reference part %(reference)s (%(defect)s) passed %(line)s (%(part)s)"),
    N_("%(model)s, its threshold or the picture no longer shows this defect"),
    N_("stop releasing parts of %(line)s unseen, look at its picture, and send %(reference)s again"),
    N_("reference part %(reference)s was not scored on %(line)s (%(part)s: %(reason)s)"),
    N_("the same as for every part that is not scored: the reason says which"),
    N_("mend what the reason names, then send %(reference)s again: it has proved nothing"),
    N_("%(part)s of %(line)s is marked as reference part %(reference)s, which the plant does not describe"),
    N_("the id is misspelt where it is announced, or the file of reference parts on the ledger's host lacks it"),
    N_("add it with `neverblink challenge add %(reference)s`, or correct who announces it"),
    N_("reference part %(reference)s did not come to %(line)s between %(begins)s and %(ends)s UTC: %(because)s"),
    N_("nobody has sent it, it was not announced in time, or no camera node has marked it"),
    N_("send %(reference)s down %(line)s now: `neverblink challenge announce %(same)s`"),
    N_("nothing more to do for this alarm"),
    # How parts lie, and why none is found in a picture.
    N_("the parts of %(count)s pictures lie up to %(share)s of their length apart"),
    N_("the parts of %(count)s pictures lie up to %(share)s of their length apart and are turned by up to %(angle)s°"),
    N_(
        "parts are found by their outline and turned the same way round: upright, they have %(width)s ×"
        " %(height)s pixels"
    ),
    N_(
        "parts are found by their outline and moved to one place; no angle of them is told from others, so they"
        " are not turned: upright, they have %(width)s × %(height)s pixels"
    ),
    N_(
        "parts are found by their outline and turned alike, up to %(ways)s ways that look the same: upright, they"
        " have %(width)s × %(height)s pixels"
    ),
    N_(
        "parts are found by marks that all of them share and turned the same way round: upright, they have"
        " %(width)s × %(height)s pixels"
    ),
    N_(
        "parts are found by marks that all of them share and moved to one place; no angle of them is told from"
        " others, so they are not turned: upright, they have %(width)s × %(height)s pixels"
    ),
    N_(
        "parts are found by marks that all of them share and turned alike, up to %(ways)s ways that look the"
        " same: upright, they have %(width)s × %(height)s pixels"
    ),
    N_("no part stands out from the ground"),
    N_(
        "the largest outline has %(area)s of the searched pixels, and parts have %(least)s to %(most)s: another"
        " part, half of one, or several that touch"
    ),
    N_("a second outline has %(share)s of the area of the first: more than one part lies there"),
    N_(
        "what lies there fits a good part's outline by %(fit)s, and %(least)s is the least: another part, half of"
        " one, or several"
    ),
    N_(
        "it cannot be told which way round the part lies: one way is better than another by %(lead)s, and"
        " %(least)s is the least"
    ),
    N_("the marks of a good part are not there: another part, or none"),
    N_("what lies there fits a good part's marks by %(fit)s, and %(least)s is the least: another part, or half of one"),
    N_("the part could lie in two places: one fits better than another by %(lead)s, and %(least)s is the least"),
    N_("%(share)s of what is judged lies beyond the picture's edge"),
    N_("a picture of %(width)s × %(height)s pixels is far larger than those that were learnt from"),
)
SIGNALS: Final = (
    N_("score / threshold of passing parts"),
    N_("the highest twentieth of the passing scores"),
    N_("brightness"),
    N_("contrast"),
    N_("sharpness"),
    N_("the share of clipped pixels"),
    N_("inference time"),
    N_("the reject rate"),
    N_("the rate of unscored parts"),
    N_("the share of known defective parts that are rejected"),
    N_("the model"),
)
"""What stands in a place of those sentences and is a word itself."""

_PLACE = re.compile(r"%\((\w+)\)s")


def phrase(text: str, gettext: Callable[[str], str]) -> str:
    """Return what an event says in the language of `gettext`, or as it came."""
    if not text or len(text) > _LONGEST:
        return text
    if text in SIGNALS:
        return gettext(text)
    for sentence, pattern in _patterns():
        found = pattern.fullmatch(text)
        if found is not None:
            said = gettext(sentence)
            given = {name: gettext(one) if one in SIGNALS else one for name, one in found.groupdict().items()}
            return said % given if given else said
    return text


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((one, _pattern_of(one)) for one in SENTENCES)


def _pattern_of(sentence: str) -> re.Pattern[str]:
    """Return what a sentence with anything in its places looks like."""
    pieces = _PLACE.split(sentence.replace("%%", "%"))
    fixed = [re.escape(one) if number % 2 == 0 else f"(?P<{one}>.+?)" for number, one in enumerate(pieces)]
    return re.compile("".join(fixed), re.DOTALL)
