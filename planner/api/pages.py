"""The live page: our own small files, and the plotting library from its installed package."""

from __future__ import annotations

from importlib import metadata
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from planner.api.problems import Handler

_PAGE = files("planner.api") / "page"
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}

# Plotly writes inline styles and draws images from data; nothing comes from another host.
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ONE_YEAR = "public, max-age=31536000, immutable"


def plotly_script() -> Path:
    """Find plotly.min.js in the installed package without importing the package (0.3 s)."""
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package plotly is not installed; pip install plotly")
    return Path(found.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


def routes() -> list[web.RouteDef]:
    """Serve the page and what it loads; files are read once."""
    script = plotly_script()
    version = metadata.version("plotly")

    async def plotly(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(
            script, headers={"Cache-Control": _ONE_YEAR, "Content-Type": "text/javascript"}
        )

    served = [web.get("/static/plotly.min.js", plotly)]
    for file in _PAGE.iterdir():
        content_type = _TYPES.get(Path(file.name).suffix)
        if content_type is None:  # an editor's leftovers
            continue
        text = file.read_text(encoding="utf-8").replace("{plotly_version}", version)
        path = "/" if file.name == "index.html" else f"/static/{file.name}"
        served.append(web.get(path, _page_file(text, content_type)))
    return served


def _page_file(text: str, content_type: str) -> Handler:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(
            text=text, content_type=content_type, headers={**_HEADERS, "Cache-Control": "no-cache"}
        )

    return handler
