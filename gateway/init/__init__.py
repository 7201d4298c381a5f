"""The first configuration, for the command `init`.

`form` gets each value from an option, from a person at the `terminal`, or from a default, and corrects it with
`gateway.config.corrections`. `route_naming` derives names. `draft` is the text of the file, and `config_writer` checks
it with the loader and writes it.
"""
