"""Roles and rights: one table of actions, and the role that groups give. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.config.console_model import ROLES, Role, RoleSettings

ActionSubject = Literal["credential", "route", "service", ""]
EVERYONE = "*"


@dataclass(frozen=True, slots=True)
class ActionRule:
    """The lowest role that may do an action, and the kind of thing that its form field `name` names."""

    role: Role
    subject: ActionSubject


ACTIONS: Mapping[str, ActionRule] = {
    "check-credential": ActionRule("operator", "credential"),
    "check-route": ActionRule("operator", "route"),
    "renew": ActionRule("operator", "credential"),
    "close-breaker": ActionRule("operator", "service"),
    "sign-in": ActionRule("admin", "credential"),
    "sign-out": ActionRule("admin", "credential"),
    "invite": ActionRule("admin", "credential"),
    "reload": ActionRule("admin", ""),
}
"""By the name in `/console/actions/NAME`. A role that is not listed here can read only."""


def may_act(role: Role, action: str) -> bool:
    """Return whether the role may do the action; False for an unknown one."""
    rule = ACTIONS.get(action)
    return rule is not None and ROLES.index(role) >= ROLES.index(rule.role)


def role_of_groups(groups: Iterable[str], settings: RoleSettings) -> Role | None:
    """Return the highest role of someone with these groups; None without one."""
    own = {*groups, EVERYONE}
    return next((role for role in reversed(ROLES) if own.intersection(getattr(settings, role) or ())), None)
