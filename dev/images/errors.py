"""What can go wrong with images.

ImageError
├── BuildError      a Dockerfile could not be built; the message ends with the builder's output and names the log
└── StoreError      the template store could not be made or cloned
"""


class ImageError(Exception):
    """The base of everything `dev.images` raises on purpose."""


class BuildError(ImageError):
    """A Dockerfile could not be built; the message ends with the builder's output and names the log."""


class StoreError(ImageError):
    """The template store could not be made or cloned."""
