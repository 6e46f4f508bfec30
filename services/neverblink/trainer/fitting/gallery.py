"""Small pictures beside a fit's result: what stands out among what it learnt from, the defects it barely sees,
and how parts lie."""

from collections.abc import Sequence
from pathlib import Path

from neverblink.reports.galleries import LABEL_COLOUR, HeatScale, heat, jpeg, small
from neverblink.reports.pages import ReportError
from neverblink.trainer.fitting.first_trial import Tried
from neverblink.trainer.fitting.placed_parts import ShownPart
from neverblink.trainer.fitting.results import AlignedPicture, LeastDefect
from neverblink.trainer.fitting.suspects import Suspect
from neverblink.vision.artifact import Artifact
from neverblink.vision.decode import Image, read_image
from neverblink.vision.overlay import outlined


class Gallery:
    """A folder of small pictures of one fit. Its methods raise ReportError where it cannot be written."""

    def __init__(self, folder: Path, artifact: Artifact, depth: int | None) -> None:
        """`depth` are the bits that values of 16-bit pictures use."""
        self._folder, self._artifact, self._depth = folder, artifact, depth
        self._scale = HeatScale.of(artifact)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReportError(f"the gallery {folder} cannot be made: {error.strerror}") from error

    def suspects(self, suspects: Sequence[Suspect]) -> dict[Path, tuple[str, str | None]]:
        """Write pictures that stand out, and return by path what they are called, without and with their map."""
        found: dict[Path, tuple[str, str | None]] = {}
        for number, one in enumerate(suspects):
            image = small(read_image(one.path, depth=self._depth))
            hot = None
            if one.anomaly_map is not None:
                drawn = heat(image, one.anomaly_map, self._scale, anomalous=True)
                hot = self._written(f"suspect-{number:03d}-heat.jpg", drawn)
            found[one.path] = (self._written(f"suspect-{number:03d}.jpg", image), hot)
        return found

    def least(self, lowest: Sequence[Tried]) -> tuple[LeastDefect, ...]:
        """Write the defects that stand out least, and return what is told of them."""
        found = []
        for number, one in enumerate(lowest):
            image = small(one.image)
            anomaly = one.inspection.anomaly
            anomalous = anomaly.score > self._artifact.threshold
            drawn = image if one.mask is None else outlined(image, one.mask, LABEL_COLOUR)
            hot = heat(image, anomaly.anomaly_map, self._scale, anomalous=anomalous)
            found.append(
                LeastDefect(
                    name=one.name,
                    kind=one.kind,
                    of_threshold=float(anomaly.score / self._artifact.threshold),
                    picture=self._written(f"least-{number:03d}.jpg", drawn),
                    heat=self._written(f"least-{number:03d}-heat.jpg", hot),
                )
            )
        return tuple(found)

    def parts(self, parts: Sequence[ShownPart]) -> tuple[AlignedPicture, ...]:
        """Write where parts lie, and pictures in which none is found, and return what is told of them."""
        return tuple(
            AlignedPicture(
                path=one.path,
                lies=self._written(f"part-{number:03d}.jpg", one.lies),
                upright=None if one.upright is None else self._written(f"part-{number:03d}-upright.jpg", one.upright),
                fit=one.fit,
                why=one.why,
            )
            for number, one in enumerate(parts)
        )

    def _written(self, name: str, image: Image) -> str:
        try:
            (self._folder / name).write_bytes(jpeg(image))
        except OSError as error:
            raise ReportError(f"the gallery {self._folder} cannot be written: {error.strerror}") from error
        return name
