#!/bin/sh
# Fills /opt/venv from lock files while an image is built: install.sh LOCK...   (a LOCK is a file in /locks)
# One script for all images, so that each Dockerfile is a page and the trainer's and the server's first layers are equal.
set -eu

# uv and pip bring authorities of their own; the system's include those of a company's proxy.
export SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
export PIP_CERT="${PIP_CERT:-$SSL_CERT_FILE}"
# A package index other than the public one comes as --build-arg PIP_INDEX_URL=...
if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$PIP_INDEX_URL"; fi

# Our containers run as this user; libraries that ask for the user's name need the entry.
if ! grep -q '^trainyard:' /etc/passwd; then
    echo 'trainyard:x:65532:' >> /etc/group
    echo 'trainyard:x:65532:65532:trainyard:/tmp:/usr/sbin/nologin' >> /etc/passwd
fi

if [ ! -x /opt/venv/bin/python ]; then python -m venv /opt/venv; fi

# uv downloads and unpacks in parallel, which takes a third of pip's time; it does not stay in the image.
/opt/venv/bin/python -m pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
    --require-hashes --target /tmp/uv --requirement /locks/uv.txt
for lock in "$@"; do
    /tmp/uv/bin/uv pip install --quiet --python /opt/venv --no-cache --require-hashes --requirement "/locks/$lock.txt"
done
rm -rf /tmp/uv
/opt/venv/bin/python -m pip check

# Static libraries are of use to a linker only (170 MB in torch's layer).
find /opt/venv -name '*.a' -delete
# Compiled here, since a pod's root is read-only: without this every start would compile again.
# Some packages hold files that are not Python 3; those are never imported.
/opt/venv/bin/python -m compileall -q -j 0 /opt/venv > /dev/null || true
