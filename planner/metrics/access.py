"""Credentials for a metrics server, read from their files anew each time: they are rotated."""

from __future__ import annotations

import ssl
from base64 import b64encode
from pathlib import Path

from planner.metrics.config import Access


def headers(access: Access) -> dict[str, str]:
    """Headers to send; OSError names a file that cannot be read, or holds no secret."""
    return {**access.headers, **_authorization(access)}


def _authorization(access: Access) -> dict[str, str]:
    if access.bearer_token_file is not None:
        token = _secret(access.bearer_token_file)
        if not token.isascii():
            raise OSError(f"{access.bearer_token_file} must hold one line, a token in ASCII")
        return {"Authorization": f"Bearer {token}"}
    if access.username is not None and access.password_file is not None:
        pair = f"{access.username}:{_secret(access.password_file)}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    return {}


def _secret(file: Path) -> str:
    """The one line of a file; it is not quoted, as libraries do with a header that they refuse."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not (text and text.isprintable()):
        raise OSError(f"{file} must hold one line of text, the secret alone")
    return text


def tls_context(access: Access) -> ssl.SSLContext:
    """TLS settings for asyncio clients; OSError if a file cannot be read or is no PEM."""
    context = ssl.create_default_context(cafile=access.ca_file)
    if not access.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.client_certificate_file is not None:
        context.load_cert_chain(access.client_certificate_file, access.client_key_file)
    return context
