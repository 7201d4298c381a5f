"""Run the steps of a rotation, so that a failure or a kill at any point loses nothing.

Before the old secret ends, the files have proved to be writable, and the tokens that bridge the time until the new one
is in place are in the store of the running gateway. One of them is for the identity domain's own API: after a kill, the
same command can request yet another secret with it. It is deleted at the end.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from gateway import __version__
from gateway.config.model import Config
from gateway.diagnosis import Finding
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.client_auth import NEXT_SECRET
from gateway.oauth.failures import failure_code
from gateway.oauth.refresh_rotation import run_to_completion
from gateway.oauth.store import EntryUnreadable, StoreDown
from gateway.oauth.token_source import TokenSource
from gateway.observe.metrics import Metrics
from gateway.rotation.rotation_plan import RotationPlan
from gateway.rotation.secret_regenerator import (
    OutcomeUnknown,
    RequestRefused,
    application_query,
    bearer_fields,
    read_application,
    read_new_secret,
    regeneration_request,
)
from gateway.system.files import in_thread
from gateway.system.staged_file import StagedFile, keep_privately, lock_folders
from gateway.wiring.components import Components
from gateway.wiring.credentials import credential_key

T = TypeVar("T")

ATTEMPTS = 3
"""Requests for a new secret while the outcome is unknown: each issues another one, and only the last counts."""
VERIFY_ATTEMPTS = 5
PAUSE = 1.0
"""Seconds between two attempts."""
MIN_TOKEN_TIME = 300.0
"""Seconds that the token for the identity domain must live on."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_AGAIN = "Run the command again: it needs no client secret while the token that it holds in the store is valid."
_CONSOLE = "If that fails, regenerate the secret in the console of the identity domain."


class _NotRotated(Exception):
    """The rotation ends. `seen` is what happened, `remedy` what to do."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy


async def rotate_secret(config: Config, plan: RotationPlan) -> Finding:
    """Give the application of a credential a new client secret. A running gateway that reads the same file uses it from
    its next token request.
    """
    components = Components(Metrics(__version__), environ=os.environ)
    subject = f"credential {plan.name}"
    try:
        components.configure(config)
        with lock_folders(plan.files):
            seen, means, remedy = await _Rotation(components, config, plan).run()
    except BlockingIOError:
        return Finding(ok=False, subject=subject, seen="another process changes the secret", remedy="Wait for its end.")
    except _NotRotated as problem:
        return Finding(ok=False, subject=subject, seen=problem.seen, remedy=problem.remedy)
    except (StoreDown, OSError, ValueError) as error:
        return Finding(
            ok=False,
            subject=subject,
            seen=f"nothing was changed: {error}",
            remedy="Correct it, and run the command again.",
        )
    finally:
        await components.close()
    return Finding(ok=True, subject=subject, seen=seen, means=means, remedy=remedy)


class _Rotation:
    """The steps of one rotation, under the lock of the folders."""

    def __init__(self, components: Components, config: Config, plan: RotationPlan) -> None:
        self._builder = components.credential_builder
        self._config = config
        self._plan = plan
        self._credential = config.credentials[plan.name]
        self._endpoint = self._builder.token_endpoint(plan.administrator)
        self._files: list[StagedFile] = []
        self._is_old_secret_valid = True

    async def run(self) -> tuple[str, str, str]:
        """Return what was done, what it means, and what is left to do. Raise _NotRotated; OSError if nothing was
        changed.
        """
        with ExitStack() as stack:
            for path in self._plan.files:
                file = await in_thread(partial(self._stage, path), owner="rotate")
                stack.callback(file.discard)
                self._files.append(file)
            with suppress(EntryUnreadable):
                await self._builder.store.get_refresh_token(self._administration_key)  # fail while the store is down
            await self._hold_tokens()
            token = await self._administration_token()
            try:
                app_id = await self._find_application(token)
                with _without_stops():
                    await run_to_completion(self._replace_secret(app_id, token, keep=stack.pop_all))
            except RequestRefused as error:
                raise self._unchanged(str(error)) from error
            finally:
                stack.close()
        lifetime = await self._verify()
        await self._builder.store.delete_token(self._administration_key, token)
        for file in self._files:
            file.remove_leftovers()
        return self._report(lifetime)

    def _stage(self, path: str) -> StagedFile:
        try:
            return StagedFile(path)
        except OSError as error:
            raise _NotRotated(
                f"nothing was changed: {path} cannot be replaced ({error.strerror or error})",
                "The file, and its folder, must be writable for this command; a mounted single file or a read-only "
                "volume cannot be.",
            ) from error

    async def _hold_tokens(self) -> None:
        """Put a fresh token of each credential into the store, for the time until the new secret is in place."""
        for name in self._plan.targets:
            try:
                await self._with_source(name, TokenSource.force_refresh)
            except (TokenRefused, TokenUnavailable) as error:
                if failure_code(error) not in NEXT_SECRET:
                    raise self._unchanged(f"no token for credential {name}: {error.reason}") from error
                self._is_old_secret_valid = False  # after a rotation that was killed

    async def _administration_token(self) -> str:
        """Return a token for the identity domain's API: that of an earlier rotation, or a new one."""
        source = self._builder.token_source(self._plan.administrator_name, self._plan.administrator)
        try:
            value = await source.get_token()
            left = source.token.usable_until_wall - self._builder.clock.wall() if source.token is not None else 0.0
            if left < MIN_TOKEN_TIME and self._is_old_secret_valid:
                value = await source.force_refresh()
        except (TokenRefused, TokenUnavailable) as error:
            raise self._unchanged(f"no token for the API of the identity domain: {error.reason}") from error
        finally:
            await source.close()
        return value

    async def _find_application(self, token: str) -> str:
        url = application_query(self._credential.token_url, self._credential.client_id)
        try:
            status, body = await self._endpoint.get(url, bearer_fields(token))
            return read_application(status, body, token)
        except TokenUnavailable as error:
            raise self._unchanged(error.reason) from error
        except OutcomeUnknown as error:
            raise self._unchanged(str(error)) from error

    async def _replace_secret(self, app_id: str, token: str, *, keep: Callable[[], object]) -> None:
        """Request the new secret and write it. Call `keep` if the file beside a target must stay."""
        secret = await self._request_secret(app_id, token)
        contents = [secret.encode() + (b"\n" if file.former_content.endswith(b"\n") else b"") for file in self._files]
        problems: list[_NotRotated] = []
        for file, content in zip(self._files, contents, strict=True):
            try:
                await self._write(file, content, keep)
            except _NotRotated as problem:  # the other files must get the secret nevertheless
                problems.append(problem)
        if problems:
            raise _NotRotated(
                *("; ".join(texts) for texts in zip(*map(attrgetter("seen", "remedy"), problems), strict=True))
            )

    async def _write(self, file: StagedFile, content: bytes, keep: Callable[[], object]) -> None:
        try:
            await in_thread(partial(file.write, content), owner="rotate")
        except OSError as error:
            folders = [file.target.parent, *self._state_folder(), Path(tempfile.gettempdir())]
            name = f"oic-gateway-{self._plan.name}"
            kept = await in_thread(partial(keep_privately, content, folders, name), owner="kept")
            raise _unwritten(file, error, kept) from error
        try:
            await in_thread(file.publish, owner="rotate")
        except OSError as error:
            keep()
            raise _unwritten(file, error, file.temporary) from error

    async def _request_secret(self, app_id: str, token: str) -> str:
        """Return the new secret. After a lost response, request another one: the outcome is the same."""
        request = regeneration_request(self._credential.token_url, app_id, token)
        problem = ""
        for attempt in range(ATTEMPTS):
            try:
                status, body = await self._endpoint.post(request)
                return read_new_secret(status, body, token)
            except TokenUnavailable as error:
                problem = error.reason
            except OutcomeUnknown as error:
                problem = str(error)
            except RequestRefused as error:
                if not attempt:
                    raise
                problem = str(error)
                break
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(PAUSE)
        raise await self._explain_unknown(problem)

    async def _explain_unknown(self, problem: str) -> _NotRotated:
        """Find out whether the old secret has ended although no new one arrived."""
        try:
            await self._with_source(self._plan.name, TokenSource.force_refresh)
        except (TokenRefused, TokenUnavailable) as error:
            if failure_code(error) in NEXT_SECRET:
                return _NotRotated(
                    f"the old secret has ended, and no new one has arrived ({problem})", f"{_AGAIN} {_CONSOLE}"
                )
            return _NotRotated(f"it is unknown whether the old secret has ended ({problem})", f"{_AGAIN} {_CONSOLE}")
        return self._unchanged(problem)

    async def _verify(self) -> float:
        """Get a token of each credential with the new secret; return the lifetime of the last, in seconds."""
        lifetime = 0.0
        for name, path in self._plan.targets.items():
            for attempt in range(VERIFY_ATTEMPTS):
                try:
                    lifetime = await self._with_source(name, _renew_and_measure)
                    break
                except (TokenRefused, TokenUnavailable) as error:
                    if attempt + 1 == VERIFY_ATTEMPTS:
                        raise _unverified(name, path, error.reason) from error
                await asyncio.sleep(PAUSE)
        return lifetime

    async def _with_source(self, name: str, use: Callable[[TokenSource], Awaitable[T]]) -> T:
        source = self._builder.token_source(name, self._config.credentials[name])
        try:
            return await use(source)
        finally:
            await source.close()

    def _unchanged(self, problem: str) -> _NotRotated:
        if self._is_old_secret_valid:
            return _NotRotated(f"nothing was changed: {problem}", "Correct it, and run the command again.")
        seen = f"the identity domain refuses the secret, and no new one can be requested: {problem}"
        found = [(file.find_unpublished(), file.target) for file in self._files]
        moves = "; ".join(f"`mv {path} {target}`" for path, target in found if path is not None)
        if moves:
            return _NotRotated(seen, f"An earlier rotation may have kept its secret. Move it into place: {moves}.")
        return _NotRotated(
            seen, "Regenerate the secret in the console of the identity domain, and write it into the file."
        )

    def _state_folder(self) -> Sequence[Path]:
        state = self._config.state
        return [Path(state.path).resolve().parent] if state is not None and state.path is not None else []

    @property
    def _administration_key(self) -> str:
        return credential_key(self._plan.administrator_name, self._plan.administrator)

    def _report(self, lifetime: float) -> tuple[str, str, str]:
        files = ", ".join(self._plan.files)
        others = ", ".join(self._plan.cut_off)
        more = f" Credentials {others} still have the old secret: give their owner the new one." if others else ""
        shared = f" ({', '.join(self._plan.targets)})" if len(self._plan.targets) > 1 else ""
        return (
            f"the new client secret is in {files}, and a token request with it succeeds; the old one has ended{shared}",
            "Gateways that read this file use the new secret from their next token request; they need no reload.",
            f"Copy the file to machines that have their own within {lifetime:.0f} s: tokens may expire then.{more}",
        )


async def _renew_and_measure(source: TokenSource) -> float:
    """Get a new token, and return its lifetime in seconds."""
    await source.force_refresh()
    token = source.token
    return 0.0 if token is None else token.usable_until - token.obtained_at


def _unverified(name: str, path: str, reason: str) -> _NotRotated:
    return _NotRotated(
        f"the new secret is in {path}, the old one has ended, but a token request of credential {name} fails: {reason}",
        "Find the cause with `oic-gateway check --live`.",
    )


def _unwritten(file: StagedFile, error: OSError, kept: Path | None) -> _NotRotated:
    seen = f"the old secret has ended, and the new one cannot be written to {file.target} ({error.strerror or error})"
    if kept is None:
        return _NotRotated(f"{seen}, nor to any other folder", f"{_AGAIN} {_CONSOLE}")
    return _NotRotated(f"{seen}; it is in {kept}, with mode 0600", f"Move it: `mv {kept} {file.target}`.")


@contextmanager
def _without_stops() -> Iterator[None]:
    """Ignore the signals that stop a command: the new secret is in memory only until it is written."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
