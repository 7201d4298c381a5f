"""A tour of the gateway, for someone who sees it for the first time: `make demo`.

`stage` runs the sandbox and the gateway as real processes and calls them as a legacy system would; `screen` is what the
terminal shows; `tour` is the list of steps, each of which shows one thing and verifies it. Standard library only.
"""
