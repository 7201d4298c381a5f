"""The way of a request: from a caller's plain HTTP to the upstream and back.

`CallerConnection`s (server) read requests and hand each to `Forward` (forward), which walks it: an `Exchange`
(exchange) holds what is known of it on the way and makes its one record; whether it is served at all, and where it
goes, is settled on its arrival. Pure modules decide: who may call (admission), which route and target (routing),
which fields pass (headers), deliver or try again (attempts), whose names a reply's URLs carry (rewriting), what an
error of ours looks like (problems). What the bytes of either side mean is settled by pure readers too (requests,
replies), on one strict grammar (fields, chunks). The others act: `Upstream` (upstream) keeps the `Connection`s
(connection) that dialing makes, over TLS where it must be (tls); `CallerBody` (body) streams a request up, `Delivery`
(delivery) streams its reply down, neither faster than the other side takes it (pace).

Two rules run through all of it: what goes out is byte for byte what came in, save for the fields that the contract
names; and whoever is slow slows only the other end of his own exchange, in bounded memory.
"""
