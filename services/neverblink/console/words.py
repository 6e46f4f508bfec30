"""What events' words are called on a page. A word that is not known is shown as it came."""

from neverblink.console.language import N_

DECISIONS = {"pass": N_("good"), "reject": N_("reject"), "unscored": N_("not scored")}
REASONS = {
    "anomaly": N_("anomaly"),
    "defect": N_("defect"),
    "late": N_("too late"),
    "no-image": N_("no picture"),
    "corrupt-image": N_("picture damaged"),
    "image-too-large": N_("picture too large"),
    "wrong-type": N_("wrong kind of picture"),
    "too-dark": N_("too dark"),
    "saturated": N_("overexposed"),
    "blurred": N_("blurred"),
    "low-contrast": N_("low contrast"),
    "frozen": N_("picture frozen"),
    "wrong-size": N_("wrong size"),
    "not-found": N_("no part found"),
    "no-model": N_("no model"),
    "wrong-product": N_("wrong product"),
    "object-missing": N_("picture missing"),
    "digest-mismatch": N_("picture altered"),
    "bad-event": N_("bad event"),
    "overload": N_("overload"),
    "broker-away": N_("Kafka away"),
    "store-away": N_("store away"),
    "scorer-error": N_("scorer error"),
}
OUTCOMES = {
    "confirmed": N_("told in time"),
    "late": N_("told too late"),
    "unknown": N_("not known whether told"),
    "failed": N_("could not be told"),
}
GATE = {
    "passed": N_("gate let it pass"),
    "rejected": N_("gate rejected it"),
    "fail-safe": N_("gate acted fail-safe"),
    "stale": N_("gate had an old word"),
    "confirm-fail": N_("gate did not confirm"),
}
JUDGEMENTS = {
    "normal": N_("normal"),
    "defect": N_("defective"),
    "inconclusive": N_("inconclusive"),
    "disputed": N_("disputed"),
}
ANSWERS = {"normal": N_("good"), "defect": N_("defective"), "inconclusive": N_("cannot tell")}
ACTIONS = {
    **ANSWERS,
    "type": N_("next type of defect"),
    "look": N_("what the machine saw"),
    "comment": N_("comment"),
    "region": N_("draw a region"),
    "next": N_("correct the next region"),
    "adopt": N_("take over the machine's regions"),
    "undo": N_("take the last answer back"),
    "skip": N_("leave it to somebody else"),
    "larger": N_("larger"),
    "smaller": N_("smaller"),
    "take": N_("take the next part"),
}
WAITING = {
    "challenge-miss": N_("reference parts let through"),
    "reject": N_("rejects"),
    "unscored": N_("without a score"),
    "look": N_("others to be looked at"),
}
PICTURES = {"frame": N_("picture"), "overlay": N_("anomaly map"), "thumbnail": N_("small picture")}
DRIFT = {"learning": N_("learning"), "steady": N_("steady"), "watch": N_("to be watched"), "act": N_("act now")}
GRADES = {"acceptable": N_("acceptable"), "marginal": N_("marginal"), "unacceptable": N_("unacceptable")}
ROLES = {
    "viewer": N_("viewer"),
    "operator": N_("operator"),
    "reviewer": N_("reviewer"),
    "engineer": N_("engineer"),
    "administrator": N_("administrator"),
}
JOBS = {
    "fit": N_("fit a model"),
    "calibrate": N_("choose a threshold"),
    "qualify": N_("judge the golden set"),
    "look-over": N_("look pictures over"),
    "inspect": N_("try the model on pictures"),
    "gather": N_("take pictures from the line"),
}
RUNS = {
    "running": N_("runs"),
    "done": N_("done"),
    "bad": N_("done, and the result is bad"),
    "failed": N_("failed"),
    "stopped": N_("stopped"),
    "lost": N_("ended without a word"),
}
ODDNESS = {
    "darker": N_("darker than the others"),
    "brighter": N_("brighter than the others"),
    "flatter": N_("less contrast than the others"),
    "blurred": N_("more blurred than the others"),
    "unlike": N_("shows something else"),
    "size": N_("another size"),
}
GROUPS = {
    "": N_("each on its own"),
    "folder": N_("those of one folder"),
    "minute": N_("those of one minute"),
}
ALIGNS = {
    "none": N_("not at all: they are held alike"),
    "auto": N_("where the pictures call for it and it ranks no worse"),
    "silhouette": N_("by their outline"),
    "template": N_("by what they look like, where no outline shows"),
}
REGIONS = {"rest": N_("the rest")}
REGION_KINDS = {"judged": N_("judged"), "ignored": N_("ignored"), "presence": N_("presence check")}
PRESENCE = {"present": N_("present"), "absent": N_("absent"), "wrong": N_("wrong"), "turned": N_("turned round")}
STAGES = {
    "finding parts": N_("finding the parts"),
    "checking the pictures": N_("checking the pictures"),
    "extracting features": N_("looking at the pictures through the network"),
    "choosing the memory bank": N_("choosing what to remember"),
    "calibrating": N_("finding the threshold"),
    "trying real defects": N_("trying real defects"),
    "trying synthetic defects": N_("trying drawn defects"),
    "judging the golden set": N_("judging the golden set"),
    "judging the pictures": N_("judging the pictures"),
    "inspecting": N_("judging the pictures"),
    "pictures": N_("making the report"),
    "taking frames": N_("taking pictures from the line"),
}
FACTS = {
    "artifact": N_("artifact"),
    "name": N_("name"),
    "version": N_("version"),
    "product": N_("product"),
    "digest": N_("digest"),
    "vectors": N_("vectors"),
    "dimension": N_("numbers in each"),
    "threshold": N_("threshold"),
    "promise": N_("promise"),
    "images": N_("pictures"),
    "width": N_("width"),
    "height": N_("height"),
    "layout": N_("folders"),
    "witnesses": N_("pictures that count"),
    "false reject": N_("false rejects, at most"),
    "passed": N_("passed"),
    "good": N_("good"),
    "good rejected": N_("good ones rejected"),
    "defects": N_("defects"),
    "escaped": N_("defects let through"),
}
SCOPES = {"wall": N_("the wall"), "parts": N_("parts"), "audit": N_("the audit")}
PRIORITIES = {"urgent": N_("urgent"), "high": N_("high"), "medium": N_("medium"), "low": N_("low")}
SERVICE_STATES = {
    "works": N_("works"),
    "partly": N_("works in part"),
    "silent": N_("silent"),
    "stopped": N_("stopped"),
}
ALARM_STATES = {
    "normal": N_("nothing to do"),
    "unacknowledged": N_("not acknowledged"),
    "acknowledged": N_("acknowledged"),
    "returned": N_("gone, not acknowledged"),
    "shelved": N_("shelved"),
}
ALARM_STAGES = {
    "raised": N_("raised"),
    "escalated": N_("became worse"),
    "cleared": N_("one cause is gone"),
    "returned": N_("cause gone"),
    "acknowledged": N_("acknowledged"),
    "shelved": N_("shelved"),
    "unshelved": N_("off the shelf"),
}

MODEL_ASKED = {
    "activate": N_("Let it score"),
    "shadow": N_("Put it in shadow"),
    "unshadow": N_("Take it out of shadow"),
    "threshold": N_("Set the threshold"),
    "promote": N_("Let the challenger score"),
    "rollback": N_("Roll back"),
}
MODEL_CHANGES = {
    "model": N_("another model scores"),
    "promoted": N_("the challenger scores"),
    "threshold": N_("another threshold"),
    "shadow": N_("another challenger"),
    "unshadow": N_("no challenger any longer"),
    "same": N_("nothing that scores"),
}

WORDS = {
    "drift": DRIFT, "grade": GRADES,
    "decision": DECISIONS, "reason": REASONS, "outcome": OUTCOMES, "gate": GATE, "judgement": JUDGEMENTS,
    "picture": PICTURES, "role": ROLES, "scope": SCOPES, "answer": ANSWERS, "action": ACTIONS,
    "waiting": WAITING, "job": JOBS, "run": RUNS, "fact": FACTS, "stage": STAGES, "odd": ODDNESS, "group": GROUPS,
    "align": ALIGNS, "region": REGIONS, "region_kind": REGION_KINDS, "presence": PRESENCE,
    "priority": PRIORITIES, "alarm_state": ALARM_STATES, "service_state": SERVICE_STATES, "alarm_stage": ALARM_STAGES,
    "model_change": MODEL_CHANGES, "model_asked": MODEL_ASKED,
}  # fmt: skip
