"""The command line: `main` runs the verb, `options` reads a configuration from flags and variables.

`init`, `sandbox`, `instances` and `probe` are verbs with flags of their own. `output` writes standard output and
standard error in any encoding.
"""
