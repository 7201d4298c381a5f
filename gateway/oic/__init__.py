"""What is known of Oracle Integration Cloud: where a reply tells which run it came from (`instances`), and which
credentials of a SOAP caller are not for it (`envelopes`).

Facts only; `proxy.forward` asks, nothing here acts.
"""
