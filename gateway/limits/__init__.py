"""How much each caller may call: `rate`, `burst` and `quota` of `callers`.

A *permit* is the right to make one call. A `LimitGate` (`limit_gate`) of each serving process (all in `limit_gates`)
gives permits to the requests of one caller, without a message while it has spare ones. The `LimitCoordinator`
(`limit_coordinator`) of the gateway leases them to the gates: in the parent of the workers, or in the only process.
They exchange the messages of `limit_messages`°.

    request ── try_admit, request_permit ──► LimitGate ◄── limit_messages ──► LimitCoordinator

* `caller_limits`° are the limits as they are configured.
* `allowance`° counts what a caller may still do: a token bucket and the windows of its quotas.
* The coordinator leases from the allowance by a `permit_ledger`°; the gate keeps its part in a `permit_lease`°.
* While replicas share the limits in Redis (`replica_limits`), a `borrower` exchanges the allowance of the ledger for a
  `borrowed_allowance`°.
* `limit_clock`° are the clocks of coordinators.
* `ratelimit_fields`° describes limits to a caller that is refused.

° is pure: values in, values out. This is a package of its own: `callers` is pure as a whole, and `services` is about
the places of OIC services, which all callers share.
"""
