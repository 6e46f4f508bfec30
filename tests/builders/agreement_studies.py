"""Published attribute studies: what appraisers decided about each part, and what the part is. Figures only."""

import numpy as np

from neverblink.agreement.figures import Judged

# AIAG, Measurement Systems Analysis, 4th edition (2010), Table III-C 1: 50 parts, appraisers A, B and C, three trials
# each, then the reference; 1 accepts and 0 rejects. The parts on which all ten agree are left to _AIAG_ALIKE.
_AIAG = {
    6: "110 110 100 1", 7: "111 111 101 1", 12: "000 000 010 0", 14: "110 111 100 1", 21: "110 101 010 1",
    22: "001 010 110 0", 26: "010 000 001 0", 30: "000 001 000 0", 34: "001 001 011 0", 36: "110 111 101 1",
    43: "101 111 110 1",
}  # fmt: skip
_AIAG_REJECTED_BY_ALL = {3, 4, 5, 9, 25, 37, 39, 42, 45, 48, 50}

# The example data of the attribute agreement analysis in JASP's module for quality control (jaspQualityControl,
# tests/testthat/AAARow.csv): 15 plain bearings, three appraisers, three trials; Y says that there are black spots.
_JASP_REFERENCE = "YNYYYNYNNYNYYYY"
_JASP = {
    "EG": ("YNYYYYYNNYNYYNY", "YNYNYYYNNYNYYNY", "YNYNYYYNNYNYYNY"),
    "BL": ("YNYYYYNNNYNYYNY", "YNYNYYNNNYNYYNY", "YNYNYYNNNYNYYNY"),
    "MH": ("YYYYYYYNYYYYYNY", "YYYYYYYNNYNYYNY", "YYYYYYYYNYYYYNY"),
}


def aiag() -> tuple[list[bool], list[Judged]]:
    """Return which parts are defective, and what the three decided."""
    rows = []
    for part in range(1, 51):
        alike = "000 000 000 0" if part in _AIAG_REJECTED_BY_ALL else "111 111 111 1"
        rows.append([sign == "0" for sign in _AIAG.get(part, alike).replace(" ", "")])
    signs = np.array(rows)
    return signs[:, 9].tolist(), [Judged(name, signs[:, 3 * at : 3 * at + 3]) for at, name in enumerate("ABC")]


def jasp() -> tuple[list[bool], list[Judged]]:
    """Return which parts are defective, and what the three decided."""
    return [sign == "Y" for sign in _JASP_REFERENCE], [
        Judged(name, np.array([[sign == "Y" for sign in trial] for trial in trials]).T)
        for name, trials in _JASP.items()
    ]
