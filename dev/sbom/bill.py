"""The contents of an image in CycloneDX's words."""

import hashlib
import uuid
from collections.abc import Callable

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from dev.sbom.contents import Contents, Locked

_OURS = uuid.uuid5(uuid.NAMESPACE_DNS, "trainyard.dev")


def bill(made: Contents, version: str, licence: Callable[[Locked], str]) -> str:
    """The document, as JSON. version: Trainyard's; licence: what a package says of its own, "" for nothing."""
    whole = Component(
        name=f"trainyard/{made.image}",
        type=ComponentType.CONTAINER,
        version=version,
        bom_ref=f"trainyard/{made.image}",
        licenses=_licences("Apache-2.0"),
    )
    parts = [
        _base(made),
        *(_debian(name) for name in made.debian),
        *(_python(each, licence(each)) for each in made.python),
    ]
    told = repr((made, version, [licence(each) for each in made.python]))
    serial = uuid.uuid5(_OURS, hashlib.sha256(told.encode()).hexdigest())
    document = Bom(serial_number=serial, components=parts, metadata=BomMetaData(component=whole))
    document.metadata.timestamp = None  # type: ignore[assignment]  # the same checkout gives the same bytes
    document.register_dependency(whole, parts)
    return JsonV1Dot6(document).output_as_string(indent=2) + "\n"


def _base(made: Contents) -> Component:
    name, tag = made.base
    purl = PackageURL("docker", None, name, tag)
    return Component(
        name=name,
        type=ComponentType.CONTAINER,
        version=tag,
        purl=purl,
        bom_ref=purl.to_string(),
        description="base image",
    )


def _debian(name: str) -> Component:
    """Without a version: the base's Debian says which is installed on the day of the build."""
    purl = PackageURL("deb", "debian", name)
    return Component(name=name, type=ComponentType.APPLICATION, purl=purl, bom_ref=purl.to_string())


def _python(package: Locked, licence: str) -> Component:
    purl = PackageURL("pypi", None, package.name, package.version)
    return Component(
        name=package.name,
        type=ComponentType.LIBRARY,
        version=package.version,
        purl=purl,
        bom_ref=purl.to_string(),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.hashes],
        licenses=_licences(licence),
    )


def _licences(told: str) -> list[License]:
    if not told:
        return []
    return [LicenseFactory().make_from_string(told, license_acknowledgement=LicenseAcknowledgement.DECLARED)]
