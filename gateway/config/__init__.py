"""What the operator writes, and how it becomes something the gateway can use.

The *model* (`model`, its single *values* in `values`) is the shape of the file, described once. `load` turns a file, or
the flags of `serve`, into a `Config`, or says every *problem* (`problem`) at once: the text becomes a *tree* of plain
values with their lines (`tree`), the model judges each key (`words` says it in a person's words), `checks` judges what
one key alone cannot show, and what the file points to is read once (`secrets`, certificates), save what OCI keeps: its
`vault` is asked when a secret is needed. `settled` then works `defaults` into each route. `schema` and `reference`
write down the model for editors and for people.
"""
