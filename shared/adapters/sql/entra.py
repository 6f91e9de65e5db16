"""Signing in to Azure SQL as the application's managed identity."""

from collections.abc import Callable

from azure.identity import DefaultAzureCredential

_SCOPE = "https://database.windows.net/.default"


def sql_token_source(client_id: str | None) -> Callable[[], str]:
    """A function that returns a current access token; the identity is looked up at the first call only.

    The ODBC driver knows no default credential of its own, so the token is fetched here. The credential keeps
    it until shortly before it expires.
    """
    credential: DefaultAzureCredential | None = None

    def token() -> str:
        nonlocal credential
        if credential is None:
            credential = DefaultAzureCredential(managed_identity_client_id=client_id)
        return credential.get_token(_SCOPE).token

    return token
