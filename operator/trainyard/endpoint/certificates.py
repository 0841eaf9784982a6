"""The operator's own certificate authority and serving certificate: made when missing, renewed before they end. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
SERVING_DAYS = 30
RENEW_DAYS = 10
_CURVE = ec.SECP256R1()
_BACKDATE = timedelta(minutes=5)  # clocks of nodes differ


@dataclass(frozen=True, slots=True)
class Bundle:
    """PEM texts. The key of the authority never leaves the operator's Secret."""

    authority: bytes
    authority_key: bytes
    certificate: bytes
    key: bytes


def up_to_date(bundle: Bundle | None, host: str, now: datetime) -> Bundle:
    """`bundle` if it serves `host` for long enough, else one with a new serving certificate of the same authority."""
    if bundle is None:
        authority, authority_key = _authority(now)
        return _serving(authority, authority_key, host, now)
    certificate = x509.load_pem_x509_certificate(bundle.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if _name(host) in list(names) and certificate.not_valid_after_utc - now > timedelta(days=RENEW_DAYS):
        return bundle
    return _serving(bundle.authority, bundle.authority_key, host, now)


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """From when on and until when a certificate in PEM is valid."""
    read = x509.load_pem_x509_certificate(certificate)
    return read.not_valid_before_utc, read.not_valid_after_utc


def _authority(now: datetime) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(_CURVE)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trainyard operator authority")])
    builder = _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _pem(builder.sign(key, hashes.SHA256())), _key_pem(key)


def _serving(authority: bytes, authority_key: bytes, host: str, now: datetime) -> Bundle:
    issuer = x509.load_pem_x509_certificate(authority)
    signer = serialization.load_pem_private_key(authority_key, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(_CURVE)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trainyard operator")])
    builder = _builder(name, issuer.subject, key.public_key(), now, SERVING_DAYS)
    builder = builder.add_extension(x509.SubjectAlternativeName([_name(host)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    return Bundle(authority, authority_key, _pem(builder.sign(signer, hashes.SHA256())), _key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
