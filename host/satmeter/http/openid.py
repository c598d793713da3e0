"""Logging in by an OpenID Connect provider (OpenID Connect Core 1.0, with PKCE): the way there and back."""

import logging
import re
from dataclasses import dataclass, fields

from fastapi import HTTPException, Request
from fastapi.responses import Response

from ..core.errors import BadParam
from ..core.plain import JsonObject

log = logging.getLogger("satmeter.openid")

WHY = {
    "access_denied": "it was not allowed to, or you cancelled",
    "mismatching_state": "this was not asked for here, or too long ago; begin again at the login page",
}
"""Errors of OpenID Connect, in words."""


@dataclass(frozen=True, slots=True)
class OpenID:
    """A provider: how the button calls it, where it is, and what it knows us by."""

    name: str
    issuer: str
    client_id: str
    client_secret: str

    @classmethod
    def parse(cls, given: object) -> "OpenID | None":
        """Returns what a config says, None where it says nothing; BadParam for what is no provider."""
        if given is None:
            return None
        needed = {field.name for field in fields(cls)}
        whole = isinstance(given, dict) and set(given) == needed
        if (
            not isinstance(given, dict)
            or not whole
            or not all(isinstance(each, str) and each for each in given.values())
        ):
            raise BadParam(f"openid: must be a table with {', '.join(sorted(needed))}, as text", param="openid")
        if not re.fullmatch(r"https?://[^\s]+", given["issuer"]):
            raise BadParam(f"openid: issuer must be http(s)://..., got {given['issuer']!r}", param="openid")
        return cls(**given)


class Provider:
    """The client of a provider; the app has to have Starlette's SessionMiddleware."""

    def __init__(self, openid: OpenID, scope: str = "openid profile"):
        """scope: what the provider is asked to tell."""
        from authlib.integrations.starlette_client import OAuth  # here: it takes half a second to load

        self.name, self._issuer, self._client_id = openid.name, openid.issuer.rstrip("/"), openid.client_id
        oauth = OAuth()
        self._client = oauth.register(
            "openid",
            server_metadata_url=f"{openid.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_id=openid.client_id,
            client_secret=openid.client_secret,
            client_kwargs={"scope": scope, "code_challenge_method": "S256", "timeout": 15},
        )

    async def away(self, request: Request, back: str) -> Response:
        """Returns a redirect to the provider, which sends the browser to `back`; HTTPException 502 where it is away."""
        try:
            await self._issuer_said()
            return await self._client.authorize_redirect(request, back)  # type: ignore[no-any-return]
        except Exception as error:
            log.warning("%s: %s", self.name, error)
            raise HTTPException(502, f"{self.name} does not answer as it should: {type(error).__name__}") from None

    async def who(self, request: Request) -> JsonObject:
        """Returns the claims of a person who comes back, checked: `sub` and `iss` are texts, always.

        Raises:
            HTTPException: 401, the provider did not say who that is.
        """
        from authlib.integrations.base_client import OAuthError

        try:
            asked = {"iss": await self._issuer_said(), "aud": self._client_id}
            options = {name: {"essential": True, "value": value} for name, value in asked.items()}
            token = await self._client.authorize_access_token(request, claims_options=options)
            claims = dict(token["userinfo"])
            return {**claims, "sub": str(claims["sub"]), "iss": str(claims["iss"])}
        except OAuthError as error:
            log.warning("%s: %s", self.name, error)
            raise HTTPException(
                401, f"{self.name} did not say who you are: {WHY.get(error.error, error.error)}"
            ) from None
        except Exception as error:  # Authlib lets through what its own libraries raise: any error means a failed login
            log.warning("%s: %s", self.name, error)
            raise HTTPException(401, f"{self.name} did not say who you are: {_wrong(error)}") from None

    async def _issuer_said(self) -> str:
        """Returns the issuer as discovery has it, which is the config's; a token that nobody signed is never taken."""
        known = await self._client.load_server_metadata()
        issuer = str(known.get("issuer", ""))
        if issuer.rstrip("/") != self._issuer:
            raise ValueError(f"discovery names the issuer {issuer!r}, the config {self._issuer!r}")
        signed = known.get("id_token_signing_alg_values_supported") or ["RS256"]
        known["id_token_signing_alg_values_supported"] = [each for each in signed if each != "none"] or ["RS256"]
        return issuer


def _wrong(error: Exception) -> str:
    """Returns what is wrong with what a provider said, in words: Authlib names a claim."""
    claim = getattr(error, "claim_name", "")
    return f"its answer has a wrong {claim!r}" if claim else "its answer is not as it should be"
