"""The page /docs: a list of every call of the service, made from its OpenAPI description.

The page loads nothing from other hosts, so it works without the internet. Its links are relative, so
it works behind a prefix."""

import html
from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from ..core.plain import JsonObject
from .described import API_TOKEN, SESSION

NEEDS = {API_TOKEN: "who has an api-token", SESSION: "who is logged in", "": "everybody"}
STYLE = (
    "body{font:16px system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#111;background:#fff}"
    "h2{font-size:1.1rem;margin:1.6rem 0 .2rem}code{font-size:.95rem}p{margin:.2rem 0}"
    "table{border-collapse:collapse}td{padding:.1rem .8rem .1rem 0;vertical-align:top}"
)


def install(app: FastAPI) -> None:
    """Add the page to a service that was made without FastAPI's own, which loads scripts from another host."""

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))


def page(described: JsonObject) -> str:
    """Return the page of an OpenAPI description."""
    calls = [
        _call(method, path, call) for path, methods in described["paths"].items() for method, call in methods.items()
    ]
    title = html.escape(f"{described['info']['title']} {described['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main><h1>{title}</h1>'
        f'<p>For programs: <a href="openapi.json">openapi.json</a></p>{"".join(calls)}</main></body></html>'
    )


def _about(parameter: JsonObject) -> str:
    return str(parameter.get("description") or parameter["schema"].get("description", ""))


def _call(method: str, path: str, call: JsonObject) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(each['name'])}</code></td><td>{html.escape(_about(each))}</td></tr>"
        for each in call.get("parameters", ())
    )
    said = html.escape(str(call.get("description", call.get("summary", ""))))
    needs = " or ".join(NEEDS[name] for each in call.get("security", [{}]) for name in each or [""])
    shape = html.escape(", ".join(_answers(call)))
    return (
        f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{said}</p><p>For {needs}. Answers: {shape}.</p>"
        f"<table>{rows}</table>"
    )


def _answers(call: JsonObject) -> Iterator[str]:
    """Yield each status that has words or a shape of its own."""
    for status, about in call["responses"].items():
        if status.isdigit():
            kinds = about.get("content", {}).values()
            shapes = [each.get("schema", {}) for each in kinds]
            names = [(shape.get("items") or shape).get("$ref", "").rpartition("/")[2] for shape in shapes]
            said = next(filter(None, names), about["description"])
            yield f"{status} ({said})"
