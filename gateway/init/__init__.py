"""Write the first configuration, for the command `init`.

`form` gets each value from an option, from the user at the `terminal`, or from a default, and corrects it with
`gateway.config.corrections`. `route_naming` derives names. `draft` renders the file, and `config_writer` checks it with
the loader and writes it.
"""
