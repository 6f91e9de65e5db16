"""Who may do what, asked inside the transaction that does it.

A token proves who calls; whether its device, its user and the membership still stand is read from the database
each time, never from a cache. Another's namespace or file is answered exactly like one that does not exist.
"""

from dataclasses import dataclass

from shared.domain.accounts import Caller
from shared.domain.errors import FileNotFound, Forbidden, InvalidToken, NotFound
from shared.domain.ids import DeviceId, NamespaceId, NodeId, UserId
from shared.ports.metadata import Transaction


@dataclass(frozen=True, slots=True)
class Member:
    """A caller with the right that was asked for, in a namespace."""

    user_id: UserId
    device_id: DeviceId
    namespace: NamespaceId


def reader(tx: Transaction, caller: Caller, namespace: NamespaceId | None) -> Member:
    """The caller as a reader of `namespace`, by default their own; raises InvalidToken or NotFound."""
    return _member(tx, caller, namespace, write=False)


def writer(tx: Transaction, caller: Caller, namespace: NamespaceId | None) -> Member:
    """As `reader`, with the right to write; raises Forbidden too.

    The namespace is locked, and the role read behind the lock: nobody can take it away meanwhile.
    """
    if namespace is None:
        namespace = tx.namespaces.personal_of(caller.user_id)
    if namespace is not None:
        tx.namespaces.lock(namespace)
    return _member(tx, caller, namespace, write=True)


def namespace_of_file(tx: Transaction, file: NodeId) -> NamespaceId:
    """Where a file is; raises FileNotFound. The caller's right to it is still to be asked for."""
    namespace = tx.files.namespace_of(file)
    if namespace is None:
        raise FileNotFound("there is no such file")
    return namespace


def file_reader(tx: Transaction, caller: Caller, file: NodeId) -> Member:
    """The caller as a reader of the file's namespace; raises FileNotFound where `reader` raises NotFound."""
    _check_current(tx, caller)
    try:
        return reader(tx, caller, namespace_of_file(tx, file))
    except NotFound as error:
        raise FileNotFound("there is no such file") from error


def file_writer(tx: Transaction, caller: Caller, file: NodeId) -> Member:
    """The caller as a writer of the file's namespace; raises FileNotFound where `writer` raises NotFound."""
    _check_current(tx, caller)
    try:
        return writer(tx, caller, namespace_of_file(tx, file))
    except NotFound as error:
        raise FileNotFound("there is no such file") from error


def _check_current(tx: Transaction, caller: Caller) -> None:
    if not tx.accounts.is_current(caller):
        raise InvalidToken("the token was revoked; please log in again")


def _member(tx: Transaction, caller: Caller, namespace: NamespaceId | None, *, write: bool) -> Member:
    _check_current(tx, caller)
    if namespace is None:
        namespace = tx.namespaces.personal_of(caller.user_id)
    role = tx.namespaces.role(namespace, caller.user_id) if namespace else None
    if namespace is None or role is None:
        raise NotFound("there is no such namespace")
    if write and not role.may_write:
        raise Forbidden("your role in this namespace only allows reading")
    return Member(caller.user_id, caller.device_id, namespace)
