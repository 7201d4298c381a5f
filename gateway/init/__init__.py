"""The verb `init`: a first configuration from what a person copies out of Oracle's console.

What is copied is seldom what a configuration needs, so each value has a pure room that turns it into what was meant and
says what was changed: the domain URL (domain), the integration's URL (integration), the scope, which depends on the
integration (scope), the client id and the secret's file (client), the route's name and path (naming). All read what was
`pasted` (pasted): `Corrected` is the value, its changes and its doubts; `Uncorrectable` says why there is none.

A `Form` (form) takes each value from its flag, else from a `Person` at a terminal (person). What they gave is a
`Draft` (draft), the text of a file. `writing` looks at the secret's file, has the product's own loader judge the draft,
and puts it in its place. `command` is the verb.
"""
