"""Looks at the files of this machine that a plant file names."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from neverblink.plant import FolderSource, GenicamSource, OpcUaSecurity, Plant, Section, VideoSource
from neverblink.surroundings.finding import At, Finding
from neverblink.surroundings.models import look_at_models
from neverblink.surroundings.secret_files import look_at_file, look_at_folder, look_at_mode, look_at_secret

_SECRETS = {"password_file": "the password", "header_file": "that header's value"}


def look(plant: Plant, now: datetime) -> list[Finding]:
    """Return what is wrong with files and folders; paths are those of a loaded plant, relative to nothing."""
    found: list[Finding] = []
    for at, section in _sections(plant, ()):
        found += _look_at(at, section, now)
    found += look_at_models(plant)
    found += _look_at_proof(plant)
    return list(dict.fromkeys(found))


def _look_at(at: At, section: Section, now: datetime) -> Iterator[Finding]:
    for name, what in _SECRETS.items():
        if (path := getattr(section, name, None)) is not None:
            yield from look_at_secret((*at, name), path, what)
    if isinstance(section, FolderSource):
        yield from look_at_folder((*at, "path"), section.path)
        if section.path.is_dir() and not any(path.is_file() for path in section.path.rglob("*")):
            yield Finding((*at, "path"), f"the folder {section.path} holds no picture")
    elif isinstance(section, VideoSource):
        yield from look_at_file((*at, "path"), section.path)
    elif isinstance(section, GenicamSource):
        yield from look_at_file((*at, "producer"), section.producer, ": the camera maker's installer puts it there")
    if (tokens := getattr(section, "tokens", None)) is not None and tokens.is_file():
        yield from look_at_mode((*at, "tokens"), tokens)
    try:
        yield from _look_at_certificates(at, section, now)
    except ModuleNotFoundError:
        yield Finding((), "certificates and keys are not looked into here: install neverblink[opcua]", wrong=False)


def _look_at_certificates(at: At, section: Section, now: datetime) -> Iterator[Finding]:
    # A camera node's machine may have no library for certificates: it is imported where there is something to read.
    settings = ("policy", "cert_file", "ca_file")
    if not any(getattr(section, name, None) not in (None, "None") for name in settings):
        return
    from neverblink.surroundings.certificate_files import look_at_certificate, look_at_pair, look_at_plc_security

    if isinstance(section, OpcUaSecurity):
        if section.policy != "None":
            yield from look_at_plc_security(at, section, now)
    elif getattr(section, "cert_file", None) is not None:
        pair: Any = section
        yield from look_at_pair(at, "cert_file", pair.cert_file, "key_file", pair.key_file, now)
    if (authority := getattr(section, "ca_file", None)) is not None:
        yield from look_at_certificate((*at, "ca_file"), authority, now)


def _look_at_proof(plant: Plant) -> Iterator[Finding]:
    holdouts = plant.proof.holdouts
    at: At = ("proof", "holdouts", "key")
    if holdouts.key.is_file():
        yield from look_at_mode(at, holdouts.key)
    elif holdouts.share or any(holdouts.products.values()):
        yield from look_at_file(at, holdouts.key, ": `neverblink holdouts key` makes it; without it no part is drawn")
    for product, place in plant.proof.golden.sets.items():
        if "://" not in place:
            yield from look_at_folder(
                ("proof", "golden", "sets", product), Path(place), ": `neverblink golden add` makes it"
            )


def _sections(value: object, at: At) -> Iterator[tuple[At, Section]]:
    """Yield every section with the steps to it."""
    if isinstance(value, Section):
        yield at, value
        for name in type(value).model_fields:
            yield from _sections(getattr(value, name), (*at, name))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _sections(item, (*at, number))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _sections(item, (*at, name))
