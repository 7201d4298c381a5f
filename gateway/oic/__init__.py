"""What is known of Oracle Integration Cloud: where a reply tells which run it came from.

Facts only; `proxy.forward` asks, nothing here acts.
"""
