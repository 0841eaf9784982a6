"""Writes build/sbom/IMAGE.cdx.json for every image: `python -m dev.sbom [FOLDER]`."""

import argparse
import tomllib
from pathlib import Path

from dev.images import IMAGES
from dev.sbom.bill import bill
from dev.sbom.contents import contents, licence

ROOT = Path(__file__).resolve().parents[2]


def bills() -> dict[str, str]:
    """The document of each image."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return {image: bill(contents(image, ROOT), version, licence) for image in IMAGES}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.sbom", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "sbom")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for image, text in bills().items():
        file = folder / f"{image}.cdx.json"
        file.write_text(text)
        print(file)


if __name__ == "__main__":
    main()
