"""The models that a plant file names: there, whole as far as their manifest goes, and of the right product."""

from collections.abc import Iterator

from pydantic import ValidationError

from neverblink.plant import Plant
from neverblink.surroundings.finding import Finding
from neverblink.surroundings.secret_files import look_at_file
from neverblink.vision.artifact_manifest import MANIFEST, MAX_MANIFEST_BYTES, Sealed


def look_at_models(plant: Plant) -> Iterator[Finding]:
    """Yield what is wrong with the artifact of each product; digests of its files are `artifact verify`'s to check."""
    for number, product in enumerate(plant.products):
        at = ("products", number, "artifact")
        folder = plant.artifact_folder(product)
        if product.weights is not None:
            yield from look_at_file(("products", number, "weights"), product.weights)
        if not folder.is_dir():
            yield Finding(at, f"there is no model {folder}: `neverblink fit` makes one, `artifact import` brings one")
            continue
        try:
            with (folder / MANIFEST).open("rb") as file:
                manifest = Sealed.model_validate_json(file.read(MAX_MANIFEST_BYTES)).manifest
        except FileNotFoundError:
            yield Finding(at, f"{folder} is no model: it has no {MANIFEST}")
        except OSError as error:
            yield Finding(at, f"{folder / MANIFEST} cannot be read: {error.strerror}")
        except ValidationError:
            yield Finding(at, f"{folder / MANIFEST} is not a manifest: `neverblink artifact verify {folder}` says why")
        else:
            if manifest.product != product.name:
                yield Finding(
                    at,
                    f"the model {folder} was fitted for product {manifest.product!r} and stands at {product.name!r}:"
                    " its threshold means nothing there",
                )
