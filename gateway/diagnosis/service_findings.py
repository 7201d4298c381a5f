"""The current problem of a service: an open circuit, refused calls, calls that wait."""

from gateway.diagnosis.catalog import MISTAKES


def service_problem(
    *, failure: str | None, open_for: float, limit: int | None, configured_limit: int | None, waiting: int
) -> dict[str, str] | None:
    """Return code, result, meaning and remedy for `/status`; None without a problem.

    `failure` is the reason why the circuit is not closed (None: it is), `open_for` the seconds until the next trial
    call; `limit` of `configured_limit` calls may be in progress, and `waiting` calls wait.
    """
    if failure is not None:
        return _problem("upstream-down", f"{failure}; the next trial call is due in {open_for:g} s")
    if limit is not None and configured_limit is not None and limit < configured_limit:
        return _problem(
            "limited-upstream", f"the service refuses calls: {limit} instead of {configured_limit} are sent at once"
        )
    if waiting:
        return _problem("overloaded", f"{waiting} calls wait for one of {limit} places")
    return None


def _problem(code: str, seen: str) -> dict[str, str]:
    entry = MISTAKES[code]
    return {"code": code, "seen": seen, "means": entry.means, "remedy": entry.remedy}
