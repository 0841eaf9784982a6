"""The sidecar speaks to its operator alone: whoever cannot prove to be it learns nothing."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from gateway.config import Settings
from gateway.sync import Operator, OperatorAway

from trainyard.endpoint.certificates import Bundle, up_to_date

NOW = datetime.now(UTC)


@dataclass
class Answering:
    """An HTTPS server that keeps the Authorization of each request."""

    port: int = 0
    heard: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append(request.headers["Authorization"])
        return web.json_response({"generation": 1, "members": []})


@asynccontextmanager
async def answering(bundle: Bundle, folder: Path) -> AsyncIterator[Answering]:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(bundle.certificate)
    key.write_bytes(bundle.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    found, app = Answering(), web.Application()
    app.router.add_post("/v1/gateways", found.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0, ssl_context=tls).start()
    found.port = runner.addresses[0][1]
    try:
        yield found
    finally:
        await runner.cleanup()


async def test_the_operator_is_known_by_its_authority_and_nobody_else_gets_the_token(tmp_path: Path) -> None:
    ours, stranger = up_to_date(None, "localhost", NOW), up_to_date(None, "localhost", NOW)
    token = tmp_path / "token"
    token.write_text("projected\n")
    async with answering(ours, tmp_path) as server:
        url = f"https://localhost:{server.port}/v1/gateways"
        for authority in (stranger, ours):
            settings = Settings("s", "u", sync_url=url, sync_ca=authority.authority.decode(), token_file=token)
            async with Operator(settings) as operator:
                if authority is ours:
                    assert (await operator.sync({}, None)).generation == 1
                else:
                    with pytest.raises(OperatorAway, match="CERTIFICATE_VERIFY_FAILED"):
                        await operator.sync({}, None)
        assert server.heard == ["Bearer projected"]
