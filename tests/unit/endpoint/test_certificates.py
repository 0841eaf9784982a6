"""The operator's own certificates: made, kept, renewed in time, and trusted by whoever has the authority."""

import ssl
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from cryptography import x509

from tests.simulation.fake_api import FakeApi
from trainyard.api.names import OPERATOR_TLS
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import SECRETS
from trainyard.endpoint.certificates import RENEW_DAYS, SERVING_DAYS, Bundle, up_to_date, validity
from trainyard.endpoint.identity import ensure_bundle
from trainyard.runtime.clock import LoopClock

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CLOCK = LoopClock(NOW)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return up_to_date(None, "operator.ns.svc", NOW)


def test_a_certificate_that_serves_the_host_for_long_enough_is_kept(bundle: Bundle) -> None:
    assert up_to_date(bundle, "operator.ns.svc", NOW + timedelta(days=SERVING_DAYS - RENEW_DAYS - 1)) is bundle


@pytest.mark.fault(21)
def test_a_certificate_is_renewed_before_it_ends_by_the_same_authority(bundle: Bundle) -> None:
    renewed = up_to_date(bundle, "operator.ns.svc", NOW + timedelta(days=SERVING_DAYS - RENEW_DAYS, hours=1))
    assert (renewed.authority, renewed.authority_key) == (bundle.authority, bundle.authority_key)
    assert renewed.certificate != bundle.certificate


def test_a_certificate_tells_from_when_until_when_it_is_valid(bundle: Bundle) -> None:
    start, end = validity(bundle.certificate)
    assert start < NOW < end
    assert end == NOW + timedelta(days=SERVING_DAYS)


@pytest.mark.parametrize("host", ["other.ns.svc", "10.0.0.7", "::1"])
def test_another_host_gets_a_certificate_of_its_own(bundle: Bundle, host: str) -> None:
    made = x509.load_pem_x509_certificate(up_to_date(bundle, host, NOW).certificate)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == [host]


def test_the_authority_signs_what_is_served(bundle: Bundle) -> None:
    authority = x509.load_pem_x509_certificate(bundle.authority)
    x509.load_pem_x509_certificate(bundle.certificate).verify_directly_issued_by(authority)
    context = ssl.create_default_context(cadata=bundle.authority.decode())
    assert context.cert_store_stats()["x509_ca"] == 1


@pytest.mark.looptime
async def test_operators_share_one_bundle_in_a_secret() -> None:
    api = FakeApi(CLOCK)
    client = ClusterClient(api.connect(), CLOCK, Random(1))
    first = await ensure_bundle(client, "ns", "host", CLOCK)
    assert await ensure_bundle(client, "ns", "host", CLOCK) == first
    moved = await ensure_bundle(client, "ns", "elsewhere", CLOCK)
    assert moved.authority == first.authority
    assert await ensure_bundle(client, "ns", "elsewhere", CLOCK) == moved


@pytest.mark.fault(21)
@pytest.mark.looptime
@pytest.mark.parametrize("data", [{"ca.crt": "x"}, dict.fromkeys(("ca.crt", "ca.key", "tls.crt", "tls.key"), "%%")])
async def test_a_secret_that_cannot_be_read_is_made_anew(data: dict[str, str]) -> None:
    api = FakeApi(CLOCK)
    api.put(SECRETS, {"metadata": {"name": OPERATOR_TLS, "namespace": "ns"}, "data": data})
    client = ClusterClient(api.connect(), CLOCK, Random(1))
    made = await ensure_bundle(client, "ns", "host", CLOCK)
    assert await ensure_bundle(client, "ns", "host", CLOCK) == made
