"""How many calls each OIC service instance gets at once, and when it gets none (`services:`).

A *place* is the right to have one call in progress at a service. A `ServiceGate` (`service_gate`) of each serving
process (all in `service_gates`) gives places to its requests, without a message while it has idle ones. The
`ServiceCoordinator` (`coordinator`) of the gateway leases them to the gates: in the parent of the workers, or in the
only process. They exchange the messages of `lease_messages`°.

    request ── acquire, release ──► ServiceGate ◄── lease_messages ──► ServiceCoordinator

* The gate counts its places in a `place_lease`°, and second tries in a `retry_budget`°.
* The coordinator counts those of all workers in a `place_ledger`°, whose waiters are in a `fair_queue`°. The present
  limit is an `adaptive_limit`°, and a `circuit_breaker`° decides when no call is sent.
* `replica_places` leases a part of the places in Redis, where replicas share them.
* `recent_count`° counts events of the last ten seconds.

° is pure: values in, values out.
"""
