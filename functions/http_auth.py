"""Accounts and tokens. Registering, logging in and refreshing are open to anybody; the rest asks for a token."""

import azure.functions as func

from functions._http import answer, caller_of, json_of
from functions._routes import RouteTable
from functions._shapes import Credentials, Login, PasswordChange, Refresh, clean_label
from shared.container import Application
from shared.domain.ids import DeviceId, parse_id
from shared.usecases.sign_in import DeviceClaim, SignedIn


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, "api/register", "POST")
    async def register(req: func.HttpRequest) -> func.HttpResponse:
        wanted = json_of(req, Credentials)
        user = await app.register(wanted.username, wanted.password)
        return answer({"message": "Registration successful", "user_id": user}, status=201)

    @served.route(bp, "api/login", "POST")
    async def login(req: func.HttpRequest) -> func.HttpResponse:
        wanted = json_of(req, Login)
        known = DeviceId(parse_id(wanted.device_id, "device_id")) if wanted.device_id else None
        claim = DeviceClaim(clean_label(wanted.device_name, 128), clean_label(wanted.platform, 64), known)
        signed_in = await app.sign_in.log_in(wanted.username, wanted.password, claim)
        return answer({"message": "Login successful", **_tokens(signed_in)})

    @served.route(bp, "api/token/refresh", "POST")
    async def refresh_token(req: func.HttpRequest) -> func.HttpResponse:
        signed_in = await app.sign_in.refresh(json_of(req, Refresh).refresh_token)
        return answer({"message": "Token refreshed", **_tokens(signed_in)})

    @served.route(bp, "api/logout", "POST")
    async def logout(req: func.HttpRequest) -> func.HttpResponse:
        await app.sign_in.log_out(caller_of(req, app))
        return answer({"message": "Logged out"})

    @served.route(bp, "api/password", "POST")
    async def change_password(req: func.HttpRequest) -> func.HttpResponse:
        caller, wanted = caller_of(req, app), json_of(req, PasswordChange)
        await app.sign_in.change_password(caller, wanted.password, wanted.new_password)
        return answer({"message": "Password changed; log in again on every device"})

    @served.route(bp, ".well-known/jwks.json", "GET")
    async def public_keys(req: func.HttpRequest) -> func.HttpResponse:
        return answer(app.tokens.public_keys(), headers={"Cache-Control": "public, max-age=300"})

    @served.route(bp, ".well-known/openid-configuration", "GET")
    async def openid_configuration(req: func.HttpRequest) -> func.HttpResponse:
        issuer = app.settings.public_url
        return answer(
            {
                "issuer": issuer,
                "jwks_uri": f"{issuer}/.well-known/jwks.json",
                "id_token_signing_alg_values_supported": ["RS256"],
            },
            headers={"Cache-Control": "public, max-age=300"},
        )

    return bp


def _tokens(signed_in: SignedIn) -> dict[str, object]:
    return {
        "access_token": signed_in.access_token,
        "refresh_token": signed_in.refresh_token,
        "token_type": "Bearer",
        "expires_in": signed_in.expires_in,
        "device_id": signed_in.device_id,
        "user_id": signed_in.user_id,
    }
