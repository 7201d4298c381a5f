"""The actions of the console: what each calls at the running gateway, who may do it, and its audit."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from gateway.admin.console_backend import ActionResult, ConsoleBackend
from gateway.console.audit_log import AuditEntry, AuditLog, AuditResult
from gateway.console.authentication import AuthorizedRequest
from gateway.console.request_guard import HOME
from gateway.console.roles import ACTIONS, may_act
from gateway.diagnosis.finding import Finding


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """What an action did, for the page that shows it: a `message`, or the `findings` of a check. `link` is worth a
    sign-in: only the page shows it.
    """

    ok: bool
    message: str = ""
    remedy: str = ""
    details: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    link: str = field(default="", repr=False)

    @property
    def summary(self) -> str:
        """One line for the audit: the message, else the first failure, else the last finding."""
        if self.message or not self.findings:
            return self.message
        worst = next((finding for finding in self.findings if not finding.ok), self.findings[-1])
        return f"{worst.subject}: {worst.seen}"


ActionHandler = Callable[[ConsoleBackend, str, str], Awaitable[ActionOutcome]]


async def _check_credential(backend: ConsoleBackend, name: str, _: str) -> ActionOutcome:
    return _outcome_of_check(await backend.check_credential(name))


async def _check_route(backend: ConsoleBackend, name: str, _: str) -> ActionOutcome:
    return _outcome_of_check(await backend.check_route(name))


async def _renew(backend: ConsoleBackend, name: str, _: str) -> ActionOutcome:
    return _outcome(await backend.renew_token(name))


async def _close_breaker(backend: ConsoleBackend, name: str, _: str) -> ActionOutcome:
    return _outcome(await backend.close_breaker(name))


async def _sign_out(backend: ConsoleBackend, name: str, _: str) -> ActionOutcome:
    return _outcome(await backend.sign_out(name))


async def _invite(backend: ConsoleBackend, name: str, who: str) -> ActionOutcome:
    invite = await backend.create_invite(name, who)
    return replace(_outcome(invite.result), link=invite.url)


async def _reload(backend: ConsoleBackend, _name: str, _who: str) -> ActionOutcome:
    return _outcome(await backend.reload())


HANDLERS: Mapping[str, ActionHandler] = {
    "check-credential": _check_credential,
    "check-route": _check_route,
    "renew": _renew,
    "close-breaker": _close_breaker,
    "sign-out": _sign_out,
    "invite": _invite,
    "reload": _reload,
}
"""By name, as in `ACTIONS`. The arguments are the form field `name` and the name of the person. `sign_in_flow` does
`sign-in`, which leaves the console.
"""


async def run_action(
    action: str, name: str, authorized: AuthorizedRequest, backend: ConsoleBackend, audit: AuditLog
) -> ActionOutcome | None:
    """Run an action of `HANDLERS` and record it. Return its outcome; None if the role may not do it."""
    if not await is_permitted(action, name, authorized, audit):
        return None
    try:
        outcome = await HANDLERS[action](backend, name, authorized.session.identity.name)
    except Exception:
        detail = "a defect of the gateway; see its log"
        await audit.write(action_entry(authorized, action, name, "failed", detail))
        raise
    await audit.write(action_entry(authorized, action, name, "ok" if outcome.ok else "failed", outcome.summary))
    return outcome


async def is_permitted(action: str, name: str, authorized: AuthorizedRequest, audit: AuditLog) -> bool:
    """Return whether the role may do the action; record a denial."""
    if may_act(authorized.role, action):
        return True
    detail = f"the role {authorized.role} may not do this"
    await audit.write(action_entry(authorized, action, name, "denied", detail))
    return False


def action_entry(
    authorized: AuthorizedRequest, action: str, target: str, result: AuditResult, detail: str
) -> AuditEntry:
    """Return the audit entry of an action."""
    identity, client = authorized.session.identity, authorized.request.client or "unix"
    return AuditEntry(
        identity.name, identity.kind, authorized.role, client, action[:64], target[:128], result, detail[:500]
    )


def page_of_action(action: str, name: str) -> str:
    """Return the path of the page to which the outcome of an action belongs."""
    subject = ACTIONS[action].subject
    if subject in {"credential", "route"}:
        return f"{HOME}{subject}s/{quote(name, safe='')}"
    return f"{HOME}configuration" if action == "reload" else HOME


def _outcome(result: ActionResult) -> ActionOutcome:
    return ActionOutcome(result.ok, result.message, result.remedy, result.details)


def _outcome_of_check(findings: Sequence[Finding]) -> ActionOutcome:
    if not findings:
        return ActionOutcome(ok=False, message="there is nothing of that name to check")
    return ActionOutcome(ok=all(finding.ok for finding in findings), findings=tuple(findings))
