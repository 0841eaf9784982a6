"""What is in each image, as a software bill of materials in CycloneDX: `make sbom` writes build/sbom/IMAGE.cdx.json.

`contents` reads what an image is made of (its Dockerfile, and the lock files that this installs); `bill` tells it in
CycloneDX. The same checkout gives the same bytes: there is no time in it, and its serial number follows from what it holds.
"""
