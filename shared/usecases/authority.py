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
class Uploader:
    """A user with the right to write in a namespace."""

    user_id: UserId
    namespace: NamespaceId


@dataclass(frozen=True, slots=True)
class Member(Uploader):
    """A caller on a device with the right that was asked for, in a namespace."""

    device_id: DeviceId


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


def still_writer(tx: Transaction, user: UserId, namespace: NamespaceId) -> Uploader:
    """A user who was a writer when a grant was made, if they still are; raises NotFound or Forbidden.

    The namespace is locked, as by `writer`.
    """
    tx.namespaces.lock(namespace)
    _check_role(tx, user, namespace, write=True)
    return Uploader(user, namespace)


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
    if namespace is None:
        raise NotFound("there is no such namespace")
    _check_role(tx, caller.user_id, namespace, write=write)
    return Member(caller.user_id, namespace, caller.device_id)


def _check_role(tx: Transaction, user: UserId, namespace: NamespaceId, *, write: bool) -> None:
    role = tx.namespaces.role(namespace, user)
    if role is None:
        raise NotFound("there is no such namespace")
    if write and not role.may_write:
        raise Forbidden("your role in this namespace only allows reading")
