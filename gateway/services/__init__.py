"""How many calls each OIC service instance gets at once, and when it gets none (`services:`).

A *place* is the right to have one call in progress at a service. In each serving process, a `ServiceGate`
(`service_gate`) of each service (all in `service_gates`) gives places to requests, without a message while it has idle
ones. The `ServiceCoordinator` (`coordinator`) of each service (all in `service_coordinators`) leases places to the
gates. It runs in the parent of the workers, or in the only process. They exchange the messages of `lease_messages`°.

    request ── acquire, release ──► ServiceGate ◄── lease_messages ──► ServiceCoordinator

* The gate counts its places in a `place_lease`°, and retries in a `retry_budget`°.
* The coordinator counts the places of all workers in a `place_ledger`°, which keeps waiting requests in a
  `fair_queue`°. An `adaptive_limit`° is the current limit, and a `circuit_breaker`° decides when no call is sent.
* `replica_places` leases a part of the places in Redis, where replicas share them.
* `recent_count`° counts events of the last ten seconds.

° is pure: values in, values out.
"""
