"""The tenant that a request is of, by its `Authorization: Bearer …`, else by the certificate of its connection."""

from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from jackfield import Host
from jackfield.config import JwtConfig
from jackfield.errors import Unavailable
from jackfield.identity import Audit, holder
from jackfield.model.entrance import entrance
from jackfield.model.subject import canonical
from jackfield_contrib.identity.credential import NotGood

if TYPE_CHECKING:
    from jackfield.model.permissions import Permissions
    from jackfield_contrib.identity.tokens import Tokens

Authenticate = Callable[[Mapping[bytes, bytes]], str | None]
"""Headers, or metadata, by name in lower case → the tenant, or None; called on the event loop, it waits for nobody."""

_SCHEME: Final = b"bearer"
_LIMIT: Final = 8_192  # bytes of what can be a credential
_DOTS: Final = 2  # of a token
_SHOWN: Final = 200  # characters of a subject


class Memory:
    """What a connection is remembered by: the key that came over it last, and whose it is.

    To look for a key takes as long as a short call does, and nearly all that come over a connection come again. A token
    is not remembered: its time runs out.
    """

    __slots__ = ("permissions", "said", "tenant")

    def __init__(self) -> None:
        self.permissions: Permissions | None = None  # those under which it was found
        self.said, self.tenant = b"", ""


class Identity:
    """Tells whose a request is by what the host's configuration says now, whenever it was applied.

    Args:
        host: whose tenants.
    """

    def __init__(self, host: Host) -> None:
        self._host, self._audit = host, Audit()
        self._settings: JwtConfig | None = None
        self._made: Tokens | None = None

    def prepare(self) -> None:
        """Have the keys of tokens fetched before the first one comes.

        Raises:
            Unavailable: when tokens are configured, and nothing that is installed verifies them.
        """
        if (tokens := self._tokens()) is not None:
            tokens.prepare()

    def __call__(self, headers: Mapping[bytes, bytes], memory: Memory | None = None) -> str | None:
        """Tell the tenant; None when the request has no good credential, of which there is a record.

        Args:
            headers: of the request.
            memory: of the connection that it came over, if that is kept.

        Raises:
            Unavailable: while a token cannot be verified, since the keys of its issuer have not come.
        """
        try:
            return self._tenant(headers.get(b"authorization"), memory)
        except NotGood as refused:
            self._audit.refused(refused.reason)
            return None

    def _tenant(self, said: bytes | None, memory: Memory | None) -> str:
        if said is None:
            return self._certified()
        permissions = self._host.snapshot.permissions
        # In constant time: behind a proxy the one before may have been somebody else.
        if memory is not None and memory.permissions is permissions and compare_digest(memory.said, said):
            return memory.tenant
        scheme, _, token = said.partition(b" ")
        if scheme.lower() != _SCHEME or len(said) > _LIMIT:
            raise NotGood("it is no bearer token" if len(said) <= _LIMIT else f"it has more than {_LIMIT:,} bytes")
        token = token.strip()
        tenant = holder(permissions.keys, token)
        if tenant is not None:
            if memory is not None:
                memory.permissions, memory.said, memory.tenant = permissions, said, tenant
            return tenant
        if token.count(b".") != _DOTS or (tokens := self._tokens()) is None:
            raise NotGood("nobody has this key")
        tenant = tokens.tenant(token)
        if tenant not in (permissions.known or ()):
            raise NotGood("it names a tenant that there is not")
        return tenant

    def _certified(self) -> str:
        """Tell whose the certificate is that the connection has; a request that has a credential is judged by that."""
        subject = entrance.get().subject
        if not subject:
            raise NotGood("it has none")
        subjects = self._host.snapshot.permissions.subjects
        tenant = subjects.get(subject) or subjects.get(_canonical(subject))
        if tenant is None:
            raise NotGood(f"nobody has the subject {subject[:_SHOWN]} of its certificate")
        return tenant

    def _tokens(self) -> "Tokens | None":
        """Give what verifies tokens, if that is configured: the same as long as the same is."""
        configuration = self._host.configuration
        settings = None if configuration is None else configuration.auth.jwt
        if settings is not self._settings:
            if settings != self._settings:  # else it was applied anew, and says the same
                self._made = None if settings is None else _verifier(settings)
            self._settings = settings
        return self._made


def _canonical(subject: str) -> str:
    """Bring what a door has written to the form that subjects are kept in; what is none is nobody's."""
    try:
        return canonical(subject)
    except ValueError:
        return ""


def _verifier(settings: JwtConfig) -> "Tokens":
    try:
        from jackfield_contrib.identity.tokens import Tokens  # noqa: PLC0415  # a library for those who have tokens
    except ImportError as error:
        why = "nothing that is installed verifies the tokens of [auth.jwt]: pip install 'jackfield-contrib[jwt]'"
        raise Unavailable("identity", why, ran=False) from error
    return Tokens(settings)
