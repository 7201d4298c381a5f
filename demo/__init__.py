"""A tour of the gateway for a first look: `make demo`.

`stage` runs the sandbox and the gateway as real processes and calls them as a legacy system would; `screen` writes to
the terminal; `browser` takes a picture of the console; `tour` is the list of steps, each of which shows and verifies
one thing. Standard library only.
"""
