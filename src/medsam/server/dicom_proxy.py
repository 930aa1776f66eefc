"""DICOMweb of the server's PACS under /monailabel/proxy/dicom, as OHIF behind MONAI Label asks for it.

Only the address that the server was started with is ever reached; user and password stay here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from medsam.errors import InputFileError, RemoteError
from medsam.server.pacs import server_pacs
from medsam.server.state import Server

router = APIRouter(prefix="/monailabel/proxy/dicom", tags=["monailabel"], include_in_schema=False)
PART = r"[A-Za-z0-9][A-Za-z0-9.,_-]{0,127}"
PATH = re.compile(rf"(studies|series|instances|bulkdata)(/{PART}){{0,12}}/?")
TIMEOUT = httpx.Timeout(30.0, read=120.0)
KEPT = ("content-type", "etag", "last-modified")


@router.get("/wado/{path:path}")
@router.get("/qido/{path:path}")
async def pass_on(request: Request, server: Server, path: str) -> StreamingResponse:
    """Ask the PACS and pass its answer on while it comes.

    Raises:
        DataError: the server has no PACS. InputFileError: a path that DICOMweb does not know.
        RemoteError: the PACS does not answer, or sends elsewhere.
    """
    if PATH.fullmatch(path) is None or ".." in path:
        raise InputFileError("a path that DICOMweb does not know", expected="studies/...", fix="ask as OHIF does")
    address = server_pacs(server)
    signed = (address.user, address.password or "") if address.user else None
    accept = request.headers.get("accept", "*/*")
    client = httpx.AsyncClient(auth=signed, timeout=TIMEOUT, follow_redirects=False, trust_env=False)
    asked = client.build_request("GET", f"{address.url}/{path}", headers={"Accept": accept})
    asked.url = asked.url.copy_with(query=request.url.query.encode() or None)
    try:
        answer = await client.send(asked, stream=True)
    except httpx.HTTPError as error:
        await client.aclose()
        raise _silent(type(error).__name__) from None
    if answer.is_redirect:
        await answer.aclose()
        await client.aclose()
        raise _silent("it sends elsewhere")

    async def body() -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.aiter_bytes():
                yield chunk
        finally:
            await answer.aclose()
            await client.aclose()

    headers = {name: answer.headers[name] for name in KEPT if name in answer.headers}
    return StreamingResponse(body(), answer.status_code, headers=headers)


def _silent(why: str) -> RemoteError:
    return RemoteError(f"the PACS does not answer ({why})", expected="a PACS that runs", fix="check it and --pacs")
