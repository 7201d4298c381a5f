"""An identity domain gives an application a new client secret: the verb `rotate`.

The old secret ends at once, so everything that can fail is tried before. `rotation_plan` (pure) finds the credentials
that use the secret and the files that hold it. `secret_regenerator` (pure) builds the requests to the identity domain
and reads its responses. `rotate_secret` runs the steps.
"""
