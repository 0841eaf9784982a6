"""Signed tokens as a login service gives them, for tests of who may ask."""

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER, AUDIENCE = "https://login.example.org", "digits"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form)


def token(key: rsa.RSAPrivateKey, algorithm: str = "RS256", **claims: Any) -> str:
    """One that is good for a minute, but for what `claims` says otherwise; None leaves a claim out."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    known = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + 60}
    stated = {name: value for name, value in (known | claims).items() if value is not None}
    text = part(json.dumps({"alg": algorithm}).encode()) + "." + part(json.dumps(stated).encode())
    return f"{text}.{part(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
