"""Signing in to Azure SQL as the application's managed identity."""

from collections.abc import Callable

from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential

from shared.domain.errors import Unavailable

_SCOPE = "https://database.windows.net/.default"


def sql_token_source(client_id: str | None) -> Callable[[], str]:
    """A function that returns a current access token; the identity is looked up at the first call only.

    The ODBC driver knows no default credential of its own, so the token is fetched here. The credential keeps
    it until shortly before it expires. Raises Unavailable when the identity can't be asked, or isn't there.
    """
    credential: DefaultAzureCredential | None = None

    def token() -> str:
        nonlocal credential
        if credential is None:
            credential = DefaultAzureCredential(managed_identity_client_id=client_id)
        try:
            return credential.get_token(_SCOPE).token
        except AzureError as error:
            raise Unavailable(
                "no identity to sign in to the metadata database with", retry_after=30
            ) from error

    return token
